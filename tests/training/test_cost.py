"""Estimated costs, against operations and bytes counted by hand."""

import gc
import re

import pytest
import torch
from checkout import CONFIGS, RESULTS, ROOT

from goodinit import studies
from goodinit.cli.commands import report
from goodinit.datasets import cache, catalog
from goodinit.errors import InputError
from goodinit.methods import models, objectives, optimizers
from goodinit.report import costs
from goodinit.training import cost, operations

PARTS = {
    "data": {"name": "mnist", "train_examples": 300, "test_examples": 1000},
    "model": {"name": "mlp", "hidden": [100]},
    "init": {"name": "he_normal"},
    "objective": {"name": "cross_entropy"},
    "optimizer": {"name": "adam", "lr": 0.1},
    "training": {"steps": 7, "batch_size": 50, "evaluate_every": 3, "evaluate_on": ["test"]},
}
FORWARD = 2 * (784 * 100 + 100 * 10)  # operations an example; the gradient of the inputs is not needed
BACKWARD = 2 * (784 * 100 + 2 * 100 * 10)


def _estimate(**changes):
    return cost.estimate([studies.Run(PARTS | changes, seed, {}) for seed in range(2)])


def test_operations_and_memory_are_those_counted_by_hand():
    total = _estimate()
    assert total.training == 2 * 7 * 50 * (FORWARD + BACKWARD)
    assert total.evaluation == 2 * 4 * 1000 * FORWARD  # after 0, 3, 6 and 7 updates
    weights = 4 * (784 * 100 + 100 + 100 * 10 + 10)
    kept = weights * 3 + 784 * 1300  # with Adam's two moments, and the images
    looking = 1000 * 4 * 784 + 1000 * 4 * (100 + 100 + 10)  # the float images, which the count leaves out, and outputs
    assert kept + 1000 * 4 * 200 <= total.memory < kept + looking


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
def test_an_optimizer_of_torch_is_estimated_like_adam(optimizer, monkeypatch):
    expected = _estimate()
    monkeypatch.setattr(optimizers, "adam", lambda parameters, *, lr: optimizer([value for _, value in parameters], lr))
    assert _estimate() == expected


def test_memory_is_that_of_weights_and_images_plus_a_multiple_of_the_batch_size():
    parts = PARTS | {"training": PARTS["training"] | {"evaluate_on": []}}
    small, large, larger = (cost.estimate([studies.Run(parts, 0, {})], size).memory for size in (100, 200, 300))
    assert larger - large == large - small >= 100 * 4 * 100
    assert cost.estimate([studies.Run(PARTS, 0, {})], 50) == cost.estimate([studies.Run(PARTS, 0, {})])


def test_dropout_costs_nothing():
    assert _estimate(model=PARTS["model"] | {"dropout": 0.2})[:2] == _estimate()[:2]


def test_learning_rates_of_layers_cost_nothing_and_their_names_are_checked():
    optimizer = PARTS["optimizer"] | {"layer_factors": {"1": 0.5}}
    assert _estimate(optimizer=optimizer) == _estimate()
    with pytest.raises(InputError, match="adam: layer_factors: no module with parameters is called 'fc1'"):
        _estimate(optimizer=PARTS["optimizer"] | {"layer_factors": {"fc1": 0.5}})


def test_a_loss_after_the_update_costs_a_forward_pass():
    training = PARTS["training"] | {"loss_after_update": True}
    assert _estimate(training=training).training - _estimate().training == 2 * 7 * 50 * FORWARD


def test_an_evaluation_at_the_end_counts_once():
    training = PARTS["training"] | {"evaluate_on": [], "evaluate_at_end_on": ["test"]}
    assert _estimate(training=training).evaluation == 2 * 1000 * FORWARD


def test_fitnet4_costs_the_multiplications_of_its_layers():
    """382 million multiplications an image with maxout, 191 with any other activation."""
    for activation, millions in (("maxout", 382), ("relu", 191)):
        model = {"name": "fitnet4", "activation": activation}
        training = {"steps": 0, "evaluate_on": ["test"]}
        total = _estimate(data={"name": "cifar10"}, model=model, training=training)
        assert total.evaluation / (2 * 10000 * 2) == pytest.approx(millions * 1e6, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("scale", studies.SCALES[1:])
def test_the_committed_estimates_are_current(scale):
    committed = (RESULTS / scale / "costs.csv").read_text().splitlines()[1:]
    every = studies.load_all(CONFIGS)
    assert len(committed) == len(every)
    for study, row in zip(every, committed, strict=True):
        runs = study.runs(scale)
        total = cost.estimate(runs)
        assert row == ",".join(map(str, costs.CostEstimate.of(study, runs, total.operations, total.memory)))


@pytest.mark.slow
def test_smaller_batches_need_less_memory():
    for study in studies.load_all(CONFIGS):
        runs = study.runs("demo")[:2]
        assert cost.estimate(runs, 2).memory <= cost.estimate(runs).memory


@pytest.mark.parametrize("name", ["digits", "shapes"])
def test_sizes_are_those_of_the_prepared_data_sets(name, data_root):
    arrays, _ = cache.load(name, str(data_root))
    shape, classes, train_examples, test_examples = catalog.SIZES[name]
    assert [array.shape for array in arrays[::2]] == [(train_examples, *shape), (test_examples, *shape)]
    assert set(arrays[1]) == set(range(classes))


def test_parameters_are_counted_once(capsys):
    model = {"name": "mlp", "hidden": [2000]}
    parts = PARTS | {"model": model, "training": {"steps": 0}, "data": {"name": "mnist", "train_examples": 1,
                                                                        "test_examples": 1}}  # fmt: skip
    weights = 4 * (784 * 2000 + 2000 + 2000 * 10 + 10)
    assert weights < cost.estimate([studies.Run(parts, 0, {})], 1).memory < 1.01 * weights


def test_memory_does_not_depend_on_when_garbage_is_collected():
    """Recomputed activations are in reference cycles, which hold tensors until the next collection."""

    def build_model():
        return models.resnet_vae((3, 64, 64), 10, blocks=6, width=8, latent=8, checkpointing=True)

    counts, threshold = [], gc.get_threshold()
    for first in (0, 50, 2000):
        gc.set_threshold(first)
        try:
            counts.append(operations.count(build_model, objectives.elbo, torch.Size((3, 64, 64)), 50, backward=True))
        finally:
            gc.set_threshold(*threshold)
    assert len(set(counts)) == 1


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0.0 seconds"), (59, "59.0 seconds"), (90, "1.5 minutes"), (108000, "30.0 hours"), (216000, "2.5 days")],
)
def test_a_duration_has_a_suitable_unit(seconds, expected):
    assert cost.format_duration(seconds) == expected


@pytest.mark.slow
def test_cluster_resources_suffice_for_the_published_scale():
    """Memory, were there no GPU to hold it, and time on a device that reaches a tenth of a large one's rate."""
    rule = (ROOT / "workflow" / "train.smk").read_text()
    defaults = {name: int(amount) for name, amount in re.findall(r'requested\("(\w+)", (\d+)\)', rule)}
    for study in studies.load_all(CONFIGS):
        requested = defaults | study.resources_at("paper")
        for job in study.jobs("paper"):
            if job.runs[0].seed > 0:
                continue  # costs what the first seed did
            total = cost.estimate(job.runs)
            assert total.memory / 1e6 + 1000 <= requested["mem_mb"], (study.path, job.name)
            assert total.operations / (report.GPU_RATE / 10) / 60 <= requested["runtime"], (study.path, job.name)
