"""A small valid study, as text, for tests that change something in it."""

VALID_STUDY = """\
title: A title
source: {work: work, where: here}
question: Why?
fixed:
  data: {name: digits, train_examples: 64, test_examples: 32}
  model: {name: mlp, hidden: [8]}
  optimizer: {name: sgd, lr: 0.1}
  curriculum: {name: full, replacement: false}
  training: {steps: 2, batch_size: 16}
compare:
  model.activation: [relu, tanh]
  init: {small: {name: gaussian, std: 0.01}, He: he_normal}
seeds: 1
pack: 4
scales:
  demo: {training.steps: 1}
table:
  - {metric: loss}
figures:
  loss: {kind: curves, y: loss, hue: init, col: model.activation}
reported:
  - {where: {init: He}, metric: loss, value: 2.3, source: here, verified: true}
claims:
  - id: first
    says: He is first.
    source: here
    test:
      beats:
        where: {model.activation: relu}
        better: {init: He}
        worse: {init: small}
        metric: loss
        best: lowest
  - {id: low, says: It is low., source: here, test: {within: {where: {init: He}, metric: loss, below: 3}}}
"""
