"""A job from its runs to records: the same numbers twice, whoever is trained beside whom."""

import numpy as np
import pytest
import torch
import yaml

from goodinit import cli, record, runner, spec

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


@pytest.fixture
def study(tmp_path):
    """Return a small study below tmp_path/configs."""
    file = tmp_path / "configs" / "work" / "study.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(STUDY)
    return spec.load(file)


def _execute(runs, data_root):
    return list(runner.execute(runs, data_root=data_root, device=torch.device("cpu")))


def _same(one, other):
    assert one.id == other.id
    assert one.series.keys() == other.series.keys()
    for name, series in one.series.items():
        np.testing.assert_array_equal(series.values, other.series[name].values)
        np.testing.assert_array_equal(series.steps, other.series[name].steps)


def test_what_a_run_leaves_behind(study, data_root):
    runs = study.runs("paper")
    found = _execute(runs, data_root)
    assert [one.id for one in found] == [run.id for run in runs]
    one = found[-1]
    assert (one.status, one.diverged_at, one.steps) == ("finished", None, 40)
    assert one.filled == spec.fill(runs[-1].parts)
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
        spec.Run(run.parts | {"model": run.parts["model"] | {"dropout": 0.2}}, run.seed, run.labels)
        for run in study.runs("paper")[3:]
    ]
    assert [run.seed for run in runs] == [0, 1, 2]
    found = {}
    for together in (3, 1):
        monkeypatch.setattr(runner, "TOGETHER", together)
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
    watched = spec.Run(run.parts | {"diagnostics": [{"name": "activations"}, {"name": "gradients"}]}, run.seed, {})
    plain, other = _execute([run], data_root)[0], _execute([watched], data_root)[0]
    assert other.series["gradient_variance"].dimensions == ("layer",)
    for name, series in plain.series.items():
        np.testing.assert_allclose(series.values, other.series[name].values, rtol=1e-5, atol=1e-6)


def test_divergence_is_a_result(study, data_root):
    run = study.runs("paper")[-1]
    wild = spec.Run(run.parts | {"optimizer": {"name": "sgd", "lr": 1e15}}, 0, {})
    found = _execute([wild], data_root)[0]
    assert found.status == "diverged"
    assert 0 < found.diverged_at <= 40


def test_train_keeps_what_is_recorded_and_adds_what_is_missing(study, data_root, tmp_path, capsys, monkeypatch):
    command = ["--configs", f"{tmp_path}/configs", "--results", f"{tmp_path}/results", "--scale", "laptop"]

    def train():
        cli.main(["train", *command, "--data-root", str(data_root)])

    train()
    (first,) = (tmp_path / "results").rglob("*.json")
    before = {run.id: run for run in record.read(first)}
    train()
    assert "1 of them recorded already" in capsys.readouterr().err

    body = yaml.safe_load(STUDY)
    body["compare"]["init"]["LeCun"] = "lecun_normal"
    body["pack"] = 9
    study.path.write_text(yaml.safe_dump(body, sort_keys=False))
    trained = []
    execute = runner.execute
    monkeypatch.setattr(runner, "execute", lambda runs, **more: (trained.extend(runs), execute(runs, **more))[1])
    train()
    assert [run.labels["init"] for run in trained] == ["LeCun"] * 3
    (second,) = set((tmp_path / "results").rglob("*.json")) - {first}
    after = {run.id: run for run in record.read(second)}
    assert after.keys() > before.keys()
    for run_id, run in before.items():
        _same(run, after[run_id])
    cli.main(["list", "--runs", *command])
    shown = capsys.readouterr().out
    assert "9 runs in 1 jobs; 9 recorded" in shown
    cli.main(["show", trained[0].id[:8], "--results", f"{tmp_path}/results"])
    assert "lecun_normal" in capsys.readouterr().out


@pytest.mark.real_data
def test_the_first_updates_on_mnist_are_those_of_the_committed_records(real_data):
    study = spec.find("configs", "xavier_he/mnist")
    job = study.jobs("laptop")[0]
    file = record.path("results", "laptop", study, job)
    if not file.exists():
        pytest.skip("no committed records")
    recorded = {run.id: run for run in record.read(file)}
    run = job.runs[-1]
    short = spec.Run(run.parts | {"training": run.parts["training"] | {"steps": 50}}, run.seed, {})
    found = _execute([short], real_data)[0].series["loss"].values
    np.testing.assert_allclose(found, recorded[run.id].series["loss"].values[:50], rtol=1e-4)
