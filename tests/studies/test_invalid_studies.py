"""Each mistake in the file of a study is reported in one line that says what is wrong, where, and what is allowed."""

import pytest
from sample_study import STUDY

from goodinit import studies
from goodinit.errors import MAX_LENGTH, InputError

REPORTED = "reported:\n  - {where: {init: He}"
ACTIVATION = "model.activation: [relu, tanh]"

# id, text in the study, what replaces it, part of the message
CASES = [
    ("unknown-key", "seeds: 1", "sedes: 1", "'sedes'; did you mean seeds?"),
    ("unknown-part", "  optimizer:", "  optimiser:",
     "fixed: unknown key 'optimiser'; did you mean optimizer?"),
    ("unknown-data", "digits", "digit", "data: unknown name 'digit'; did you mean digits?"),
    ("unknown-model", "name: mlp", "name: mpl", "model: unknown name 'mpl'; did you mean mlp?"),
    ("unknown-init", "he_normal", "he_norml", "init: unknown name 'he_norml'; did you mean he_normal?"),
    ("unknown-optimizer", "name: sgd", "name: sdg", "optimizer: unknown name 'sdg'; did you mean sgd?"),
    ("unknown-curriculum", "name: full", "name: ful", "curriculum: unknown name 'ful'; did you mean full?"),
    ("unknown-objective", "  curr", "  objective: entropy\n  curr",
     "objective: unknown name 'entropy'; did you mean cross_"),
    ("unknown-update", "  curr", "  update: synchron\n  curr",
     "update: unknown name 'synchron'; did you mean synchronous?"),
    ("unknown-diagnostics", "  curr", "  diagnostics: [gradient]\n  curr",
     "diagnostics: unknown name 'gradient'; did you mean"),
    ("data-option", "train_examples", "train_exampels",
     "data.digits: unknown option 'train_exampels'; did you mean train_"),
    ("model-option", "hidden:", "hiden:", "model.mlp: unknown option 'hiden'; did you mean hidden?"),
    ("init-option", "std:", "sdt:", "init.gaussian: unknown option 'sdt'; did you mean std?"),
    ("optimizer-option", "lr:", "rl:", "optimizer.sgd: unknown option 'rl'"),
    ("curriculum-option", "replacement:", "replace:",
     "curriculum.full: unknown option 'replace'; did you mean replacement?"),
    ("training-option", "batch_size", "batchsize",
     "training: unknown option 'batchsize'; did you mean batch_size?"),
    ("compare-part", ACTIVATION, "modle.activation: [relu]",
     "compare: unknown key 'modle.activation'; did you mean model?"),
    ("compare-option", ACTIVATION, "model.activatoin: [relu]",
     "unknown option 'activatoin'; did you mean activation?"),
    ("condition-part", "seeds: 1", "conditions: {a: {optim.lr: 1}}",
     "conditions.a: unknown key 'optim.lr'; did you mean opt"),
    ("scale-key", "training.steps: 1", "sedes: 2", "scales.demo: unknown key 'sedes'; did you mean seeds?"),
    ("scale-part", "training.steps: 1", "trainin.steps: 2",
     "scales.demo: unknown key 'trainin.steps'; did you mean training?"),
    ("scale-axis", "training.steps: 1", "compare.inti: [he_normal]",
     "scales.demo: unknown key 'compare.inti'; did you mean"),
    ("scale-seeds", "training.steps: 1", "seeds: many", "scales.demo.seeds: 'many' is not of type 'integer'"),
    ("scale-pack", "training.steps: 1", "pack: 0", "scales.demo.pack: 0 is less than the minimum of 1"),
    ("scale-unknown", "  demo:", "  dmeo:", "scales: unknown key 'dmeo'; did you mean demo?"),
    ("text-for-int", "steps: 2", "steps: two", "training: steps: 'two' is not int"),
    ("bool-for-int", "batch_size: 16", "batch_size: true", "training: batch_size: True is not int"),
    ("float-for-int", "seeds: 1", "seeds: 1.5", "seeds: 1.5 is not of type 'integer'"),
    ("int-for-bool", "replacement: false", "replacement: 0", "curriculum.full: replacement: 0 is not bool"),
    ("int-for-list", "hidden: [8]", "hidden: 8", "model.mlp: hidden: 8 is not list[int]"),
    ("list-item", "hidden: [8]", "hidden: [8, 8.5]", "model.mlp: hidden: [8, 8.5] is not list[int]"),
    ("list-for-name", "name: digits", "name: [digits]", "data: unknown name ['digits']"),
    ("number-for-part", "  data: {name: digits, train_examples: 64, test_examples: 32}", "  data: 3",
     "fixed.data: 3 is not"),
    ("number-compared", "He: he_normal", "He: 3", "init: 3 is neither a name nor options"),
    ("text-for-values", ACTIVATION, "model.activation: relu",
     "'relu' is not a list of values or {label: value}"),
    ("activation", "[relu, tanh]", "[relu, tanhh]",
     "activation: 'tanhh' is not ['relu', 'sigmoid', 'tanh']; did you mean tanh?"),
    ("infinite", "steps: 2", "diverged_above: .inf",
     "training.diverged_above: inf cannot be recorded: write a finite"),
    ("factor", "lr: 0.1", "lr: 0.1, layer_factors: {'1': fast}",
     "optimizer.sgd: layer_factors: {'1': 'fast'} is not dict[str, float] | None"),
    ("date", "lr: 0.1", "lr: 2026-13-45", "optimizer.sgd: lr: '2026-13-45' is not float"),
    ("key-twice", "lr: 0.1", "lr: 0.1, lr: 0.2", 'line 7: found duplicate key "lr"'),
    ("not-yaml", "lr: 0.1}", "lr: 0.1", "not YAML: ", "line 7"),
    ("empty", STUDY, "", "expected keys and values, not nothing"),
    ("list", STUDY, "- title\n", "expected keys and values, not list"),
    ("no-title", "title: A title\n", "", "'title' is a required property"),
    ("no-kind", "kind: curves, ", "", "figures.loss: 'kind' is a required property"),
    ("no-lr", ", lr: 0.1", "", "optimizer.sgd: lr is missing"),
    ("no-model", "  model: {name: mlp, hidden: [8]}\n", "",
     "model: the name is missing; allowed: caffenet"),
    ("schedule-without-optimizer", "  optimizer: {name: sgd, lr: 0.1}\n", "  schedule: {name: step, at: [2]}\n",
     "optimizer is missing; a schedule is of its learning rate"),
    ("no-optimizer", "  optimizer: {name: sgd, lr: 0.1}\n", "",
     "optimizer is missing; only a study of 0 steps needs none"),
    ("steps-and-epochs", "steps: 2", "steps: 2, epochs: 1", "training: give either steps or epochs"),
    ("no-steps", "steps: 2, ", "", "training: give either steps or epochs"),
    ("work", "work: work", "work: wrok", "source.work: 'wrok' is not the name of the folder, 'work'"),
    ("claim-axis", "where: {init: He}, metric: loss, below", "where: {inti: He}, metric: loss, below",
     "claims.low.where: unknown", "'inti'; did you mean init?"),
    ("claim-label", "better: {init: He}", "better: {init: Hee}",
     "claims.first.better.init: unknown value 'Hee'; did you mean He?"),
    ("claim-start", "{within: {where: {init: He}, metric: loss, below: 3}}",
     "{trend: {metric: loss, start: {layr: 1}, end: {}}}",
     "claims.low.start: unknown axis 'layr'; did you mean layer?"),
    ("claim-at", "below: 3", "at: {lats: 3}",
     "claims.1.test.within.at: {'lats': 3} is not last, lowest, a step, {last: how many steps}"),
    ("deviation-twice", "pack: 4", "pack: 4\ndeviations: [One., Two., One.]",
     "deviations.2: the same as deviations.0 ('One.'): remove one of the two"),
    ("claim-twice", "id: low", "id: first", "claims.1: the same as claims.0 ('first'): remove one of the two"),
    ("claim-id", "id: low", "id: Low!", "claims.1.id: 'Low!' is not lowercase letters, digits and hyphens"),
    ("predicate", " beats:", " beat:", "claims.first: test: unknown name 'beat'; did you mean beats?"),
    ("predicates", "below: 3}}", "below: 3}, beats: {}}", "claims.1.test: ",
     "is not one predicate with its options"),
    ("predicate-option", "best: lowest", "best: low",
     "test.beats: best: 'low' is not ['lowest', 'highest']; did you mean lowest?"),
    ("reported-axis", REPORTED, REPORTED.replace("init", "inti"),
     "reported.0.where: unknown axis 'inti'; did you mean init?"),
    ("reported-label", REPORTED, REPORTED.replace("He", "Hee"),
     "reported.0.where.init: unknown value 'Hee'; did you mean He?"),
    ("reported-list", REPORTED, REPORTED.replace("He", "{a: 1}"),
     "reported.0.where.init: unknown value {'a': 1}; allowed: He, small"),
    ("figure-kind", "kind: curves", "kind: curve",
     "figures.loss: figure: unknown name 'curve'; did you mean curves?"),
    ("figure-option", "hue: init", "hue: init, smoth: 3",
     "figure.curves: unknown option 'smoth'; did you mean smooth?"),
    ("figure-axis", "hue: init", "hue: intt", "figures.loss.hue: unknown axis 'intt'; did you mean init?"),
    ("figure-where", "hue: init", "hue: init, where: {inti: He}",
     "figures.loss.where: unknown axis 'inti'; did you mean init?"),
    ("figure-label", "hue: init", "hue: init, where: {init: Hee}",
     "figures.loss.where.init: unknown value 'Hee'; did you mean He?"),
    ("figure-each", "hue: init", "hue: init, each: intt",
     "figures.loss.each: unknown axis 'intt'; did you mean init?"),
    ("figure-wrap", "hue: init", "hue: init, wrap: 0", "figures.loss.wrap: 0 is not at least 1"),
    ("figure-smooth", "hue: init", "hue: init, smooth: -1", "figures.loss.smooth: -1 is not at least 0"),
    ("figure-limits", "hue: init", "hue: init, y_limits: [0, 1, 2]",
     "figures.loss.y_limits: [0, 1, 2] is not a list of two"),
    ("figure-of-nothing", "y: loss, hue: init", "y: [], hue: metric", "figures.loss.y: give at least one metric"),
    ("figure-curvatures", "{kind: curves, y: loss, hue: init}", "{kind: path, col: init, curvatures: [1]}",
     "figures.loss.curvatures: [1] is not a list of two"),
    ("figure-of-one-parameter", "{kind: curves, y: loss, hue: init}", "{kind: scatter, x: [loss], y: loss}",
     "figures.loss.x: ['loss'] is not a list of two"),
    ("figure-name", "  loss:", "  Loss!:", "figures: 'Loss!' is not lowercase letters, digits and underscores"),
    ("tune-range", "seeds: 1", "tune: {trials: 2, draw: {optimizer.lr: {uniform: [0.2, 0.1]}}}",
     "tune.draw.optimizer.lr: uniform: [0.2, 0.1] is not a range"),
    ("tune-empty-range", "seeds: 1", "tune: {trials: 2, draw: {optimizer.lr: {log_uniform: [0.1, 0.1]}}}",
     "tune.draw.optimizer.lr: log_uniform: [0.1, 0.1] is not a range"),
    ("tune-logarithm-of-0", "seeds: 1", "tune: {trials: 2, draw: {optimizer.lr: {log_uniform: [0, 0.1]}}}",
     "tune.draw.optimizer.lr: log_uniform: [0, 0.1] is not a range above 0"),
    ("tune-range-of-three", "seeds: 1", "tune: {trials: 2, draw: {optimizer.lr: {uniform: [1, 2, 3]}}}",
     "tune.draw.optimizer.lr.uniform: [1, 2, 3]"),
    ("tune-distribution", "seeds: 1", "tune: {trials: 2, draw: {optimizer.lr: {loguniform: [0.1, 1]}}}",
     "tune.draw.optimizer.lr: unknown key 'loguniform'; did you mean log_uniform?"),
    ("tune-trials", "seeds: 1", "tune: {trials: 0, draw: {optimizer.lr: {uniform: [1, 2]}}}",
     "tune.trials: 0 is less than the minimum of 1"),
    ("tune-trials-missing", "seeds: 1", "tune: {draw: {optimizer.lr: {uniform: [1, 2]}}}",
     "tune: 'trials' is a required property"),
    ("tune-part", "seeds: 1", "tune: {trials: 2, draw: {optimiser.lr: {uniform: [1, 2]}}}",
     "tune.draw: unknown key 'optimiser.lr'; did you mean optimizer?"),
    ("tune-option", "seeds: 1", "tune: {trials: 2, draw: {optimizer.lrr: {uniform: [1, 2]}}}",
     "optimizer.sgd: unknown option 'lrr'; did you mean lr?"),
    ("tune-number-for-int", "seeds: 1", "tune: {trials: 2, draw: {training.batch_size: {uniform: [1, 2]}}}",
     "training: batch_size: 1.", "is not int"),
    ("tune-best", "seeds: 1",
     "tune: {trials: 2, draw: {optimizer.lr: {uniform: [1, 2]}}, choose: {metric: loss, best: low}}",
     "tune.choose.best: 'low' is not"),
    ("scale-trials", "training.steps: 1", "tune.trials: 2", "scales.demo: unknown key 'tune.trials'"),
    ("rank-without-choose", "{where: {init: He}, metric: loss, below",
     "{where: {init: He, rank: 1}, metric: loss, below", "claims.low.where: unknown axis 'rank'"),
    ("table-where", "- {metric: loss", "- {metric: loss, where: {inti: He}",
     "table.0.where: unknown axis 'inti'; did you mean init?"),
    ("table-label", "- {metric: loss", "- {metric: loss, where: {init: [He, Hee]}",
     "table.0.where.init: unknown value 'Hee'; did you mean He?"),
    ("table-rank", "- {metric: loss", "- {metric: loss, where: {rank: 1}",
     "table.0.where: unknown axis 'rank'"),
    ("table-at", "- {metric: loss}", "- {metric: loss, at: lats}",
     "table.0.at: 'lats' is not last, lowest, a step, {last: how many steps}, or {from: step, to: step}"),
    ("diagnostics-nothing", "training.steps: 1", "diagnostics: ",
     "diagnostics: None is not a list of diagnostics: [] for none"),
    ("diagnostics-number", "training.steps: 1", "diagnostics: 5", "diagnostics: 5 is not a list"),
    ("diagnostics-name", "training.steps: 1", "diagnostics: gradients",
     "diagnostics: {'name': 'gradients'} is not a list"),
    ("order-empty", "        better: {init: He}\n        worse: {init: small}", "        better: {}\n        worse: {}",
     "claims.first: beats: give at least two conditions to compare, none of them empty"),
    ("order-of-one", "within: {where: {init: He}, metric: loss, below: 3}",
     "ranks: {order: [{init: He}], metric: loss, best: lowest}", "claims.low: ranks: give at least two conditions"),
    ("order-empty-list", "within: {where: {init: He}, metric: loss, below: 3}",
     "ranks: {order: [{init: He}, []], metric: loss, best: lowest}", "claims.low: ranks: give at least two conditions"),
    ("no-bound", "metric: loss, below: 3", "metric: loss", "claims.low: within: no bound: give above, below or both"),
    ("no-bound-share", "within: {where: {init: He}, metric: loss, below: 3}", "share: {metric: converged}",
     "claims.low: share: no bound: give above, below or both"),
    ("no-bound-trend", "within: {where: {init: He}, metric: loss, below: 3}",
     "trend: {metric: loss, start: {init: He}, end: {init: He}}", "claims.low: trend: no bound"),
    ("nothing-between", "metric: loss, below: 3", "metric: loss, above: 2, below: 1",
     "claims.low: within: above 2 and below 1 leave nothing between them"),
    ("share-in-percent", "within: {where: {init: He}, metric: loss, below: 3}", "share: {metric: converged, below: 95}",
     "claims.low: share: [95] is not within 0 and 1, as shares are"),
    ("ratio-of-nothing", "within: {where: {init: He}, metric: loss, below: 3}",
     "trend: {metric: loss, start: {init: He}, end: {init: He}, above: 0}",
     "claims.low: trend: [0] is not more than 0, as ratios are"),
    ("agrees-exactly", "within: {where: {init: He}, metric: loss, below: 3}",
     "agrees: {where: {init: He}, metric: loss, within: 0}", "claims.low: agrees: within: 0 is not more than 0"),
    ("between-of-three", "within: {where: {init: He}, metric: loss, below: 3}",
     "share: {between: [1, 2, 3], metric: loss, above: 0.5}", "share: between: [1, 2, 3] is not [low, high]"),
    ("between-descending", "within: {where: {init: He}, metric: loss, below: 3}",
     "share: {between: [3, 1], metric: loss, below: 0.5}", "claims.low: share: between: [3, 1] is not [low, high]"),
    ("axis-replaced", "  init: {small", "  init.std: [1, 2]\n  init: {small",
     "compare.init: it would replace init.std of compare: set it in one place"),
    ("condition-replaced", "seeds: 1", "conditions: {a: {model.activation: tanh}}",
     "compare.model.activation: it would replace model.activation of conditions.a"),
    ("axis-drawn", "seeds: 1", "tune: {trials: 2, draw: {model.activation: {uniform: [1, 2]}}}",
     "tune.draw.model.activation: it would replace model.activation of compare"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "replacement", "messages"),
    [pytest.param(text, replacement, messages, id=name) for name, text, replacement, *messages in CASES],
)
def test_a_mistake_in_a_study_is_one_clear_line(tmp_path, text, replacement, messages):
    assert text in STUDY
    message = _error(tmp_path, STUDY.replace(text, replacement, 1))
    assert not [part for part in messages if part not in message], message
    assert len(message) <= MAX_LENGTH
    assert message.isprintable()


def test_figures_whose_labels_give_the_same_name_are_rejected(tmp_path):
    text = STUDY.replace(
        "small: {name: gaussian, std: 0.01}", "ガウス: gaussian, 正規: glorot_normal, small: lecun_normal"
    )
    text = text.replace("hue: init}", "hue: model.activation, each: init}")
    assert "figures.1: the same as figures.0 ('loss_')" in _error(tmp_path, text)


def test_the_published_protocol_is_checked_if_all_scales_replace_it(tmp_path):
    scales = "".join(f"  {scale}: {{data: digits}}\n" for scale in studies.SCALES)
    text = STUDY.replace("name: digits, train_examples: 64", "name: digts").replace(
        "  demo: {training.steps: 1}\n", scales
    )
    assert "data: unknown name 'digts'; did you mean digits?" in _error(tmp_path, text)


def _error(folder, text):
    """Return the message about a study with this text, without the path of the file."""
    file = folder / "work" / "study.yaml"
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        studies.load(file)
    assert str(raised.value).startswith(f"{file}: ")
    return str(raised.value)
