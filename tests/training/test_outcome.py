"""Records of runs: how they ended, and what they contain."""

import numpy as np
import torch
from sample_training import assert_equal_numbers, execute

from goodinit import records, studies
from goodinit.datasets import sets, tensors
from goodinit.methods import initializers, models
from goodinit.report.frame import from_records
from goodinit.report.measures import measure, metric_rows
from goodinit.seeds import stream_seed


def test_a_record_has_the_options_series_and_origin_of_its_run(study, data_root):
    runs = study.runs("paper")
    trained = execute(runs, data_root)
    assert [record.id for record in trained] == [run.id for run in runs]
    record = trained[-1]
    assert (record.status, record.diverged_at, record.steps) == ("finished", None, 40)
    assert record.filled == studies.fill(runs[-1].parts)
    assert record.series["loss"].steps.tolist() == list(range(1, 41))
    assert {name: record.series[name].steps.tolist() for name in ("test_accuracy", "validation_loss")} == {
        "test_accuracy": [0, 20, 40],
        "validation_loss": [0, 20, 40],
    }
    assert record.series["test_accuracy"].values[-1] > 0.3 > record.series["test_accuracy"].values[0]
    assert record.provenance["data_sha256"]
    assert record.provenance["instructions"].startswith(torch.backends.cpu.get_cpu_capability())
    assert record.provenance["packages"]["torch"] == torch.__version__.split("+")[0]


def test_rescalings_of_lsuv_are_recorded_before_the_first_update(workspace, data_root):
    inits = {"LSUV": {"name": "lsuv", "batch_size": 512, "batches": 1}, "He": "he_normal"}
    study = workspace.study(compare={"init": inits}, seeds=2)
    runs = study.runs("laptop")
    for run, record in zip(runs, execute(runs, data_root), strict=True):
        if run.labels["init"] == "He":
            assert "rescalings" not in record.series
            continue
        splits = sets.digits(data_root, torch.Generator())
        probe = splits.preprocessing.normalize(next(tensors.batches(splits.train, 1024)))
        generator = torch.Generator().manual_seed(stream_seed(run.seed, "init"))
        net = models.mlp((1, 28, 28), 10, hidden=[8])
        expected = initializers.lsuv(net, probe, generator, batch_size=512, batches=1).rescalings.tolist()
        series = record.series["rescalings"]
        assert series.dimensions == ("layer",)
        assert series.steps.tolist() == [0]
        assert series.values.tolist() == [expected]
        assert 1 <= min(expected) <= max(expected) <= 5
        assert_equal_numbers(record, execute([run], data_root)[0])


def test_rescalings_and_seconds_go_from_the_record_to_the_frame(workspace, data_root):
    study = workspace.study(compare={"init": ["lsuv", "he_normal"]}, seeds=2)
    (job,) = study.jobs("laptop")
    trained = execute(job.runs, data_root)
    records.write(records.path(workspace.results, "laptop", study, job), trained)
    tidy = from_records(study, "laptop", workspace.results)
    rows = metric_rows(tidy, "rescalings")
    assert set(rows["init"]) == {"lsuv"}
    assert set(rows["step"]) == {0}
    assert sorted(rows["layer"]) == [1, 1, 2, 2]
    kinds = ("initializing", "training", "evaluating", "diagnosing")
    for record in trained:
        assert record.seconds.keys() == set(kinds)
        for kind in kinds:
            assert 0 <= record.seconds[kind] < 60
            (row,) = metric_rows(tidy[tidy["run"] == record.id], f"{kind}_seconds").to_dict("records")
            assert (row["step"], row["layer"], row["value"]) == (4, -1, record.seconds[kind])
    assert len(measure(tidy, "initializing_seconds")) == 4


def test_a_diverged_run_has_a_record(study, data_root):
    run = study.runs("paper")[-1]
    wild = studies.Run(run.parts | {"optimizer": {"name": "sgd", "lr": 1e15}}, 0, {})
    record = execute([wild], data_root)[0]
    assert record.status == "diverged"
    assert 0 < record.diverged_at <= 40


def test_a_record_has_the_precision_of_the_device(study, data_root, monkeypatch):
    parts = study.runs("laptop")[0].parts
    run = studies.Run(parts | {"training": parts["training"] | {"steps": 20, "precision": "bf16"}}, 0, {})
    single = studies.Run(parts | {"training": parts["training"] | {"steps": 20}}, 0, {})
    losses = {}
    for native in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda native=native: {"avx512_bf16": native})
        (record,) = execute([run], data_root)
        assert record.provenance["precision"] == ("bf16" if native else "fp32")
        losses[native] = record.series["loss"].values
    (plain,) = execute([single], data_root)
    np.testing.assert_array_equal(losses[False], plain.series["loss"].values)
    assert not np.array_equal(losses[True], losses[False])
