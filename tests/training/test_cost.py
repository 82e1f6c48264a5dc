"""What runs cost, against operations counted by hand."""

import gc
import re
from pathlib import Path

import pytest
import torch

from goodinit import studies
from goodinit.cli.commands import report
from goodinit.cli.main import main
from goodinit.datasets import cache, catalog
from goodinit.errors import InputError
from goodinit.report import costs
from goodinit.training import cost, timing

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


def _of(**changes):
    return cost.estimate([studies.Run(PARTS | changes, seed, {}) for seed in range(2)])


def test_operations_and_memory_are_those_counted_by_hand():
    found = _of()
    assert found.training == 2 * 7 * 50 * (FORWARD + BACKWARD)
    assert found.evaluation == 2 * 4 * 1000 * FORWARD  # after 0, 3, 6 and 7 updates
    weights = 4 * (784 * 100 + 100 + 100 * 10 + 10)
    kept = weights * 3 + 784 * 1300  # with Adam's two moments, and the images
    looking = 1000 * 4 * 784 + 1000 * 4 * (100 + 100 + 10)  # the float images, which the count leaves out, and outputs
    assert kept + 1000 * 4 * 200 <= found.memory < kept + looking


def test_memory_grows_with_the_batch_but_for_weights_and_images():
    parts = PARTS | {"training": PARTS["training"] | {"evaluate_on": []}}
    small, large, larger = (cost.estimate([studies.Run(parts, 0, {})], size).memory for size in (100, 200, 300))
    assert larger - large == large - small >= 100 * 4 * 100
    assert cost.estimate([studies.Run(PARTS, 0, {})], 50) == cost.estimate([studies.Run(PARTS, 0, {})])


def test_dropout_costs_nothing():
    assert _of(model=PARTS["model"] | {"dropout": 0.2})[:2] == _of()[:2]


def test_learning_rates_of_layers_cost_nothing_and_their_names_are_checked():
    optimizer = PARTS["optimizer"] | {"layer_factors": {"1": 0.5}}
    assert _of(optimizer=optimizer) == _of()
    with pytest.raises(InputError, match="adam: layer_factors: no module with parameters is called 'fc1'"):
        _of(optimizer=PARTS["optimizer"] | {"layer_factors": {"fc1": 0.5}})


def test_a_loss_after_the_update_is_a_forward_pass_more():
    training = PARTS["training"] | {"loss_after_update": True}
    assert _of(training=training).training - _of().training == 2 * 7 * 50 * FORWARD


def test_an_evaluation_at_the_end_counts_once():
    training = PARTS["training"] | {"evaluate_on": [], "evaluate_at_end_on": ["test"]}
    assert _of(training=training).evaluation == 2 * 1000 * FORWARD


def test_fitnet4_costs_what_its_layers_say():
    """382 million multiplications an image with maxout, 191 with any other activation."""
    for activation, millions in (("maxout", 382), ("relu", 191)):
        model = {"name": "fitnet4", "activation": activation}
        training = {"steps": 0, "evaluate_on": ["test"]}
        found = _of(data={"name": "cifar10"}, model=model, training=training)
        assert found.evaluation / (2 * 10000 * 2) == pytest.approx(millions * 1e6, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("scale", studies.SCALES[1:])
def test_the_committed_estimates_are_today_s(scale):
    committed = Path("results", scale, "costs.csv").read_text().splitlines()[1:]
    every = studies.load_all("configs")
    assert len(committed) == len(every)
    for study, row in zip(every, committed, strict=True):
        runs = study.runs(scale)
        found = cost.estimate(runs)
        assert row == ",".join(map(str, costs.Estimate.of(study, runs, found.operations, found.memory)))


@pytest.mark.slow
def test_smaller_batches_take_less_memory():
    for study in studies.load_all("configs"):
        runs = study.runs("demo")[:2]
        assert cost.estimate(runs, 2).memory <= cost.estimate(runs).memory


@pytest.mark.parametrize("name", ["digits", "shapes"])
def test_sizes_are_those_of_the_prepared_sets(name, data_root):
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
    """Recomputing activations makes cycles, which hold tensors until the next collection."""
    model = {"name": "resnet_vae", "blocks": 6, "width": 8, "latent": 8, "checkpointing": True}
    data = {"name": "cifar10", "size": 64}
    parts = PARTS | {"model": model, "objective": {"name": "elbo"}, "data": data}
    run = studies.Run(parts | {"training": {"steps": 1, "batch_size": 50, "evaluate_on": []}}, 0, {})
    found = []
    for threshold in (0, 50, 2000):
        before = gc.get_threshold()
        gc.set_threshold(threshold)
        try:
            cost._count.cache_clear()
            found.append(cost.estimate([run]).memory)
        finally:
            gc.set_threshold(*before)
    assert len(set(found)) == 1


def test_seconds_grow_with_updates_and_evaluations(monkeypatch):
    """What is timed is one update and one evaluation of a model; a run's time follows from its numbers of both."""
    monkeypatch.setattr(timing, "_measure", lambda *_: timing._Seconds(2.0, 0.5))
    training = {"steps": 30, "batch_size": 100, "evaluate_every": 10, "evaluate_on": ["test"]}
    run = studies.Run(PARTS | {"data": {"name": "mnist", "test_examples": 7}, "training": training}, 0, {})
    assert timing.measure_seconds([run], torch.device("cpu")) == 30 * 2.0 + 7 * 4 * 0.5
    assert timing.measure_seconds([run, run], torch.device("cpu")) == 2 * timing.measure_seconds(
        [run], torch.device("cpu")
    )
    untrained = studies.Run(run.parts | {"training": {"steps": 0, "evaluate_on": []}}, 0, {})
    assert timing.measure_seconds([untrained], torch.device("cpu")) == 0


@pytest.mark.parametrize("study", ["semisync/table2", "pdi/vae", "textbook/optimizer_paths", "lsuv/initial_state"])
def test_every_kind_of_model_can_be_timed(study):
    runs = studies.find("configs", study).runs("demo")[:1]
    timing._measure.cache_clear()
    assert timing.measure_seconds(runs, torch.device("cpu")) > (0 if runs[0].parts["training"]["steps"] else -1)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0.0 seconds"), (59, "59.0 seconds"), (90, "1.5 minutes"), (108000, "30.0 hours"), (216000, "2.5 days")],
)
def test_a_time_has_the_unit_that_fits(seconds, expected):
    assert cost.format_duration(seconds) == expected


def test_a_timed_estimate_says_so(capsys):
    main(["estimate", "xavier_he/mnist", "--timed"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "demo scale, a few updates of each model timed on cpu, one thread"
    assert float(re.search(r"([\d.]+) seconds", lines[2])[1]) > 0
    with pytest.raises(SystemExit):
        main(["estimate", "xavier_he/mnist", "--timed", "--rate", "2"])
    assert "give one of them" in capsys.readouterr().err


def test_runs_that_studies_share_are_counted_once(capsys):
    main(["estimate", "lsuv/cifar10_fitnet4", "lsuv/batch_norm", "--scale", "paper", "--rate", "20"])
    grid, normalized, both = (line.split() for line in capsys.readouterr().out.splitlines()[2:])
    ids = [{run.id for run in studies.find("configs", line[0]).runs("paper")} for line in (grid, normalized)]
    assert int(both[4]) == len(ids[0] | ids[1])
    assert float(both[5]) <= float(grid[2]) + float(normalized[2])


def test_a_batch_too_small_for_a_net_is_a_dash(capsys):
    main(["estimate", "semisync/table1", "--scale", "laptop", "--rate", "20"])
    assert re.search(r"MiB, -, \d+, \d+$", capsys.readouterr().out.splitlines()[2])


def test_the_command_prints_a_line_for_each_study(capsys):
    main(["estimate", "textbook", "--scale", "paper", "--rate", "20"])
    lines = capsys.readouterr().out.splitlines()
    assert "20 TFLOP/s (as given)" in lines[0]
    assert [line.split()[0] for line in lines[2:-1]] == [
        f"textbook/{study.name}" for study in studies.load_all("configs", ["textbook"])
    ]
    assert lines[-1].startswith("all")


@pytest.mark.slow
def test_a_cluster_is_asked_for_what_the_published_scale_needs():
    """Memory, were there no GPU to hold it, and time on a device that reaches a tenth of a large one's rate."""
    rule = (Path("workflow") / "train.smk").read_text()
    defaults = {name: int(amount) for name, amount in re.findall(r'requested\("(\w+)", (\d+)\)', rule)}
    for study in studies.load_all("configs"):
        requested = defaults | study.resources_at("paper")
        for job in study.jobs("paper"):
            if job.runs[0].seed > 0:
                continue  # costs what the first seed did
            found = cost.estimate(job.runs)
            assert found.memory / 1e6 + 1000 <= requested["mem_mb"], (study.path, job.name)
            assert found.operations / (report.GPU_RATE / 10) / 60 <= requested["runtime"], (study.path, job.name)
