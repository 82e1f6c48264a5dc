"""A job from its runs to records: the same numbers twice, whoever is trained beside whom."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml

from goodinit import records, studies
from goodinit.cli.main import main
from goodinit.datasets import sets, tensors
from goodinit.errors import InputError
from goodinit.methods import initializers, models
from goodinit.report.frame import from_records
from goodinit.report.measures import measure, metric_rows
from goodinit.seeds import stream_seed
from goodinit.training import build, precision, trainer

torch.set_num_threads(1)  # as the command line does: with more, sums are split by how many there are

STUDY = """
title: Two initializers on digits
source: {work: work, where: here}
question: Which is better?
fixed:
  data: {name: digits, train_examples: 300, validation_examples: 60}
  model: {name: mlp, hidden: [20, 20]}
  optimizer: {name: sgd, lr: 0.1}
  training: {steps: 40, batch_size: 30, evaluate_every: 20}
compare: {init: {small: {name: gaussian, std: 0.01}, He: he_normal}}
seeds: 3
pack: 6
table: [{metric: test_accuracy}]
"""

WATCH = [{"name": name} for name in ("activations", "gradients", "layer_outputs", "update_size")]


@pytest.fixture
def study(tmp_path):
    """Return a small study below tmp_path/configs."""
    file = tmp_path / "configs" / "work" / "study.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(STUDY)
    return studies.load(file)


def _execute(runs, data_root):
    return list(trainer.execute(runs, data_root=data_root, device=torch.device("cpu")))


def _same(one, other):
    assert one.id == other.id
    assert one.series.keys() == other.series.keys()
    for name, series in one.series.items():
        np.testing.assert_array_equal(series.values, other.series[name].values)
        np.testing.assert_array_equal(series.steps, other.series[name].steps)


@pytest.mark.parametrize(("init", "seen"), [({"name": "lsuv", "batch_size": 24}, 24), ({"name": "he_normal"}, 16)])
def test_what_looks_at_data_gets_as_many_large_images_as_it_names(init, seen, data_root, monkeypatch):
    found = []
    monkeypatch.setattr(initializers, init["name"], lambda model, batch, generator, **more: found.append(batch.images))
    parts = studies.DEFAULTS | {
        "data": {"name": "shapes", "size": 256},
        "model": {"name": "convnet3", "channels": [1, 1, 1]},
        "init": init,
        "training": {"steps": 0, "evaluate_on": []},
    }
    _execute([studies.Run(parts, 0, {})], data_root)
    assert [images.shape for images in found] == [(seen, 3, 256, 256)]


def test_what_a_run_leaves_behind(study, data_root):
    runs = study.runs("paper")
    found = _execute(runs, data_root)
    assert [one.id for one in found] == [run.id for run in runs]
    one = found[-1]
    assert (one.status, one.diverged_at, one.steps) == ("finished", None, 40)
    assert one.filled == studies.fill(runs[-1].parts)
    assert one.series["loss"].steps.tolist() == list(range(1, 41))
    assert {name: one.series[name].steps.tolist() for name in ("test_accuracy", "validation_loss")} == {
        "test_accuracy": [0, 20, 40],
        "validation_loss": [0, 20, 40],
    }
    assert one.series["test_accuracy"].values[-1] > 0.3 > one.series["test_accuracy"].values[0]
    assert one.provenance["data_sha256"]
    assert one.provenance["packages"]["torch"] == torch.__version__.split("+")[0]


def test_the_same_twice_and_whatever_stands_beside_it(study, data_root):
    runs = study.runs("paper")
    together = _execute(runs, data_root)
    for one, other in zip(together, _execute(runs, data_root), strict=True):
        _same(one, other)
    for one, run in zip(together, runs, strict=True):
        _same(one, _execute([run], data_root)[0])


def test_masks_of_dropout_are_the_same_together_and_in_turn(study, data_root, monkeypatch):
    runs = [
        studies.Run(run.parts | {"model": run.parts["model"] | {"dropout": 0.2}}, run.seed, run.labels)
        for run in study.runs("paper")[3:]
    ]
    assert [run.seed for run in runs] == [0, 1, 2]
    found = {}
    for together in (3, 1):
        monkeypatch.setattr(trainer, "MAX_STACK_SIZE", together)
        found[together] = _execute(runs, data_root)
        assert [one.provenance["trained_together"] for one in found[together]] == [together] * 3
    for one, other in zip(found[3], found[1], strict=True):
        _same(one, other)
    plain = _execute(study.runs("paper")[3:4], data_root)[0]
    assert plain.series["test_loss"].values[0] != found[1][0].series["test_loss"].values[0]  # times 1 - ratio


def test_seeds_differ(study, data_root):
    one, other = _execute(study.runs("paper")[:2], data_root)
    assert (one.series["loss"].values != other.series["loss"].values).any()


def test_diagnostics_change_no_number(study, data_root):
    run = study.runs("paper")[-1]
    watched = studies.Run(run.parts | {"diagnostics": WATCH}, run.seed, {})
    plain, other = _execute([run], data_root)[0], _execute([watched], data_root)[0]
    for name in ("gradient_variance", "output_variance", "weight_sd", "update_size"):
        assert other.series[name].dimensions == ("layer",)
        assert other.series[name].values.shape == (2, 3)  # before the first update and after the last
    assert other.series["batch_loss"].dimensions == ()
    for name, series in plain.series.items():
        np.testing.assert_allclose(series.values, other.series[name].values, rtol=1e-5, atol=1e-6)


def test_rescalings_of_lsuv_are_recorded_before_the_first_update(house, data_root):
    inits = {"LSUV": {"name": "lsuv", "batch_size": 512, "batches": 1}, "He": "he_normal"}
    study = house.study(compare={"init": inits}, seeds=2)
    runs = study.runs("laptop")
    found = _execute(runs, data_root)
    for run, one in zip(runs, found, strict=True):
        if run.labels["init"] == "He":
            assert "rescalings" not in one.series
            continue
        splits = sets.digits(data_root, torch.Generator())
        probe = splits.preprocessing.normalize(next(tensors.batches(splits.train, 1024)))
        generator = torch.Generator().manual_seed(stream_seed(run.seed, "init"))
        net = models.mlp((1, 28, 28), 10, hidden=[8])
        expected = initializers.lsuv(net, probe, generator, batch_size=512, batches=1).rescalings.tolist()
        series = one.series["rescalings"]
        assert series.dimensions == ("layer",)
        assert series.steps.tolist() == [0]
        assert series.values.tolist() == [expected]
        assert 1 <= min(expected) <= max(expected) <= 5
        _same(one, _execute([run], data_root)[0])


def test_rescalings_and_seconds_go_from_the_record_to_the_frame(house, data_root):
    study = house.study(compare={"init": ["lsuv", "he_normal"]}, seeds=2)
    (job,) = study.jobs("laptop")
    found = {one.id: one for one in _execute(job.runs, data_root)}
    records.write(records.path(house.results, "laptop", study, job), list(found.values()))
    tidy = from_records(study, "laptop", house.results)
    rows = metric_rows(tidy, "rescalings")
    assert set(rows["init"]) == {"lsuv"}
    assert set(rows["step"]) == {0}
    assert sorted(rows["layer"]) == [1, 1, 2, 2]
    kinds = ("initializing", "training", "evaluating", "diagnosing")
    for one in found.values():
        assert one.seconds.keys() == set(kinds)
        for kind in kinds:
            assert 0 <= one.seconds[kind] < 60
            (row,) = metric_rows(tidy[tidy["run"] == one.id], f"{kind}_seconds").to_dict("records")
            assert (row["step"], row["layer"], row["value"]) == (4, -1, one.seconds[kind])
    assert len(measure(tidy, "initializing_seconds")) == 4


def test_runs_with_learning_rates_of_layers_are_trained_together_as_alone(study, data_root):
    """The last layer, `5`, moves a thousand times less than it would."""
    optimizer = {"name": "momentum", "lr": 0.05, "layer_factors": {"5": 0.001}}
    runs = [studies.Run(run.parts | {"optimizer": optimizer}, run.seed, {}) for run in study.runs("paper")[3:]]
    found, (alone,) = _execute(runs, data_root), _execute(runs[1:2], data_root)
    assert [one.provenance["trained_together"] for one in found] == [3] * 3
    assert np.array_equal(found[1].series["loss"].values, alone.series["loss"].values)
    plain = studies.Run(runs[1].parts | {"optimizer": {"name": "momentum", "lr": 0.05}}, runs[1].seed, {})
    assert not np.array_equal(_execute([plain], data_root)[0].series["loss"].values, alone.series["loss"].values)


@pytest.mark.parametrize(("clip", "together"), [({}, 3), ({"clip_norm": 1e9}, 1)])
def test_runs_with_clipping_are_not_stacked(study, data_root, clip, together):
    """The norm is that of a net, and a stack has several."""
    optimizer = {"name": "momentum", "lr": 0.05}
    runs = [studies.Run(run.parts | {"optimizer": optimizer | clip}, run.seed, {}) for run in study.runs("paper")[3:]]
    found = _execute(runs, data_root)
    assert [one.provenance["trained_together"] for one in found] == [together] * 3
    plain = _execute([studies.Run(runs[0].parts | {"optimizer": optimizer}, 0, {})], data_root)[0]
    np.testing.assert_allclose(found[0].series["loss"].values, plain.series["loss"].values, rtol=1e-4)


def test_clipping_in_a_run_bounds_what_moves(study, data_root):
    run = study.runs("paper")[-1]
    optimizer = {"name": "momentum", "lr": 1.0, "momentum": 0.0, "clip_norm": 1e-3}
    parts = run.parts | {"optimizer": optimizer, "diagnostics": [{"name": "path"}]}
    short = studies.Run(parts | {"training": run.parts["training"] | {"steps": 5, "diagnose_every": 1}}, run.seed, {})
    length = _execute([short], data_root)[0].series["path_length"].values
    np.testing.assert_allclose(length, 1e-3 * np.arange(6), rtol=1e-2)


def test_semi_synchronous_runs_of_a_job_are_trained_one_by_one(study, data_root):
    parts = study.runs("paper")[-1].parts | {
        "model": {"name": "mlp", "hidden": [16, 25]},
        "optimizer": {"name": "momentum", "lr": 0.01},
        "update": {"name": "semi_synchronous"},
    }
    runs = [studies.Run(parts, seed, {}) for seed in range(3)]
    together = _execute(runs, data_root)
    assert [found.provenance["trained_together"] for found in together] == [1, 1, 1]
    (alone,) = _execute(runs[2:], data_root)
    np.testing.assert_array_equal(alone.series["loss"].values, together[2].series["loss"].values)
    plain = studies.Run(parts | {"update": {"name": "synchronous"}}, 2, {})
    assert (_execute([plain], data_root)[0].series["loss"].values != alone.series["loss"].values)[1:].all()


def test_divergence_is_a_result(study, data_root):
    run = study.runs("paper")[-1]
    wild = studies.Run(run.parts | {"optimizer": {"name": "sgd", "lr": 1e15}}, 0, {})
    found = _execute([wild], data_root)[0]
    assert found.status == "diverged"
    assert 0 < found.diverged_at <= 40


def test_a_loss_that_never_comes_below_that_of_guessing_is_a_result(study, data_root):
    run = study.runs("paper")[-1]
    still = studies.Run(run.parts | {"optimizer": {"name": "sgd", "lr": 1e-12}}, 0, {})
    none = studies.Run(run.parts | {"training": run.parts["training"] | {"steps": 0}}, 0, {})
    statuses = [_execute([one], data_root)[0].status for one in (still, run, none)]
    assert statuses == ["did not learn", "finished", "finished"]


def test_learning_is_judged_by_what_came_after_the_subset(study, data_root):
    parts = study.runs("paper")[-1].parts | {
        "curriculum": {"name": "progressive", "fractions": [0.01], "stage_steps": [100]},
        "schedule": {"name": "step", "at": [100], "factor": 1e-9},
        "optimizer": {"name": "sgd", "lr": 0.1},
        "training": {"steps": 103, "batch_size": 50},
    }
    (found,) = _execute([studies.Run(parts, 0, {})], data_root)
    assert found.series["loss"].values[:100].min() < 0.1
    assert found.series["loss"].values[100:].min() > 2.2
    assert found.status == "did not learn"


@pytest.mark.parametrize("objective", ["cross_entropy", "hinge"])
@pytest.mark.parametrize("update", ["synchronous", "semi_synchronous"])
def test_low_precision_learns(study, data_root, objective, update):
    parts = study.runs("paper")[-1].parts | {
        "model": {"name": "mlp", "hidden": [64]},
        "objective": {"name": objective},
        "optimizer": {"name": "momentum", "lr": 0.005},
        "update": {"name": update},
    }
    training = {"steps": 200, "batch_size": 50, "evaluate_on": ["test"], "precision": "bf16"}
    (found,) = _execute([studies.Run(parts | {"training": training}, 0, {})], data_root)
    losses = found.series["loss"].values
    assert losses[-10:].mean() < 0.6 * losses[:10].mean()
    assert found.series["test_accuracy"].values[-1] > 0.7


def test_large_images_are_looked_at_in_smaller_batches():
    small, large = torch.Size((3, 32, 32)), torch.Size((3, 1024, 1024))
    assert [build.evaluation_batch("cpu", shape, 16) for shape in (small, large)] == [500, 16]
    assert [build.evaluation_batch("cuda", shape, 1) for shape in (small, large)] == [5000, 4]
    assert build.evaluation_batch("cpu", torch.Size((784,)), 16) == 500
    assert build.evaluation_batch("cpu", torch.Size((1, 28, 28)), 16) == 500


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"objective": {"name": "elbo"}}, "model mlp with objective elbo with data digits: "),
        ({"objective": {"name": "elbo", "beta": -1.0}}, "beta must be at least 0"),
        (
            {"data": {"name": "shapes"}, "model": {"name": "resnet_vae", "blocks": 3, "width": 4}},
            "model resnet_vae with objective cross_entropy with data shapes: ",
        ),
        ({"data": {"name": "gaussian"}, "model": {"name": "convnet3"}}, "convnet3: images must be at least 8 x 8"),
        (
            {"model": {"name": "mlp", "hidden": [20]}, "update": {"name": "semi_synchronous"}},
            "the nearest are 16 and 25",
        ),
        (
            {"optimizer": {"name": "sgd", "lr": 0.1, "layer_factors": {"fc1": 0.5}}},
            "sgd: layer_factors: no module with parameters is called 'fc1'; allowed: ",
        ),
        ({"diagnostics": [{"name": "reconstructions"}]}, "needs a variational auto-encoder"),
        ({"diagnostics": [{"name": "gradients", "examples": 0}]}, "examples must be at least 1"),
    ],
)
def test_what_does_not_fit_is_one_line_before_anything_is_trained(study, data_root, parts, message):
    run = studies.Run(study.runs("paper")[-1].parts | parts, 0, {})
    with pytest.raises(InputError, match=message) as raised:
        _execute([run], data_root)
    assert "\n" not in str(raised.value)


def test_a_net_without_classes_may_be_trained(data_root):
    parts = {"data": {"name": "gaussian"}, "model": {"name": "mlp", "hidden": [10]}, "init": {"name": "he_normal"},
             "optimizer": {"name": "sgd", "lr": 0.1}, "training": {"steps": 3, "batch_size": 10}}  # fmt: skip
    (found,) = _execute([studies.Run(studies.DEFAULTS | parts, 0, {})], data_root)
    assert found.status == "finished"


def test_train_keeps_what_is_recorded_and_adds_what_is_missing(study, data_root, tmp_path, capsys, monkeypatch):
    command = ["--configs", f"{tmp_path}/configs", "--results", f"{tmp_path}/results", "--scale", "laptop"]

    def train():
        main(["train", *command, "--data-root", str(data_root)])

    train()
    (first,) = (tmp_path / "results").rglob("*.json")
    before = {run.id: run for run in records.read(first)}
    train()
    assert "1 of them recorded already" in capsys.readouterr().err

    body = yaml.safe_load(STUDY)
    body["compare"]["init"]["LeCun"] = "lecun_normal"
    body["pack"] = 9
    study.path.write_text(yaml.safe_dump(body, sort_keys=False))
    trained = []
    execute = trainer.execute
    monkeypatch.setattr(trainer, "execute", lambda runs, **more: (trained.extend(runs), execute(runs, **more))[1])
    train()
    assert [run.labels["init"] for run in trained] == ["LeCun"] * 3
    (second,) = set((tmp_path / "results").rglob("*.json")) - {first}
    after = {run.id: run for run in records.read(second)}
    assert after.keys() > before.keys()
    for run_id, run in before.items():
        _same(run, after[run_id])
    main(["list", "--runs", *command])
    shown = capsys.readouterr().out
    assert "9 runs in 1 jobs; 9 recorded" in shown
    main(["show", trained[0].id[:8], "--results", f"{tmp_path}/results"])
    assert "lecun_normal" in capsys.readouterr().out


def test_training_again_keeps_the_old_record_until_the_new_one_is_whole(study, tmp_path, data_root):
    """Ended in the middle, by a request and then by a kill, and given again until it is done."""
    place = ["--configs", f"{tmp_path}/configs", "--results", f"{tmp_path}/results", "--data-root", str(data_root)]
    main(["train", *place])
    (file,) = (tmp_path / "results").rglob("*.json")
    before = [part.read_bytes() for part in (file, file.with_suffix(".npz"))]
    command = [sys.executable, "-m", "goodinit", "train", "--force", "--checkpoint-minutes", "0.0001", *place]
    for ending in (signal.SIGTERM, signal.SIGKILL):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            while not list(file.parent.glob(".*checkpoint*")) + list(file.parent.glob(".*unfinished*")):
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.002)
            process.send_signal(ending)
        assert process.returncode in (0, 128 + ending, -ending)
        if process.returncode:
            assert [part.read_bytes() for part in (file, file.with_suffix(".npz"))] == before
    main(["train", "--force", *place])
    assert file.read_bytes() != before[0]  # the seconds are others
    for one, other in zip(records.read(file), _read(before, tmp_path), strict=True):
        _same(one, other)
    assert not list(file.parent.glob(".*"))


def _read(content, folder):
    """Return the runs of a record of which the content of both files is given."""
    file = folder / "before.json"
    for part, one in zip((file, file.with_suffix(".npz")), content, strict=True):
        part.write_bytes(one)
    return records.read(file)


@pytest.mark.real_data
def test_the_first_updates_on_mnist_are_those_of_the_committed_records(real_data):
    study = studies.find("configs", "xavier_he/mnist")
    job = study.jobs("laptop")[0]
    file = records.path("results", "laptop", study, job)
    if not file.exists():
        pytest.skip("no committed records")
    recorded = {run.id: run for run in records.read(file)}
    run = job.runs[-1]
    short = studies.Run(run.parts | {"training": run.parts["training"] | {"steps": 50}}, run.seed, {})
    found = _execute([short], real_data)[0].series["loss"].values
    np.testing.assert_allclose(found, recorded[run.id].series["loss"].values[:50], rtol=1e-4)


def test_precision_is_set_before_a_model_is_built(study, data_root, monkeypatch):
    """A GPU would otherwise compute what initializers look at in another precision than training."""
    flags = []
    original = build.build_model

    def look(*arguments):
        flags.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
        return original(*arguments)

    monkeypatch.setattr(build, "build_model", look)
    for wanted in ("tf32", "fp32"):
        parts = study.runs("laptop")[0].parts
        _execute([studies.Run(parts | {"training": parts["training"] | {"precision": wanted}}, 0, {})], data_root)
    assert flags == [(True, True), (False, False)]


@pytest.mark.parametrize(
    ("asked", "device", "capabilities", "used"),
    [
        ("fp32", "cpu", {"avx512_bf16": True}, "fp32"),
        ("bf16", "cpu", {"avx512_bf16": True}, "bf16"),
        ("bf16", "cpu", {"amx_bf16": True}, "bf16"),
        ("bf16", "cpu", {"bf16": True}, "bf16"),
        ("bf16", "cpu", {"avx512_bf16": False, "avx2": True}, "fp32"),
        ("bf16", "cpu", {}, "fp32"),
        ("tf32", "cpu", {"avx512_bf16": True}, "fp32"),
        ("bf16", "cuda", {}, "bf16"),
        ("tf32", "cuda", {}, "tf32"),
    ],
)
def test_a_cpu_computes_in_bf16_only_where_it_has_instructions_for_it(monkeypatch, asked, device, capabilities, used):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert precision.effective_precision(asked, torch.device(device)) == used


def test_a_record_has_the_precision_that_the_device_computed_in(study, data_root, monkeypatch):
    parts = study.runs("laptop")[0].parts
    run = studies.Run(parts | {"training": parts["training"] | {"steps": 20, "precision": "bf16"}}, 0, {})
    single = studies.Run(parts | {"training": parts["training"] | {"steps": 20}}, 0, {})
    losses = {}
    for native in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda native=native: {"avx512_bf16": native})
        (made,) = _execute([run], data_root)
        assert made.provenance["precision"] == ("bf16" if native else "fp32")
        losses[native] = made.series["loss"].values
    (plain,) = _execute([single], data_root)
    np.testing.assert_array_equal(losses[False], plain.series["loss"].values)
    assert not np.array_equal(losses[True], losses[False])


def test_on_a_cpu_no_gpu_is_touched(study, data_root, monkeypatch):
    """Where a GPU's random state is read, CUDA starts, which takes its time and its memory."""

    def touched(*arguments):
        raise AssertionError("a GPU's random state is read")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_rng_state", touched)
    _execute(study.runs("laptop"), data_root)
