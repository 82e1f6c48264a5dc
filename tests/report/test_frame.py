"""The frame holds every number of the records once, under the labels of the study."""

import re

import numpy as np
import pytest
from sample_results import numbers

from goodinit import records
from goodinit.errors import InputError
from goodinit.report import measures, statistics
from goodinit.report.frame import from_records

COLUMNS = ["model.activation", "init", "seed", "run", "status", "metric", "step", *records.AXES, "value"]


def _pick(frame, **where):
    """Return the rows with these labels."""
    axes = {"activation": "model.activation"}
    return measures.select(frame, {axes.get(name, name): value for name, value in where.items()})


def test_frame_holds_every_number_once(study, frame):
    assert list(frame.columns) == COLUMNS
    assert len(frame) == 18 * (4 + 3 + 2 * 3 + 2 * 3 * 4 + 4)  # 4 of the whole run
    of_run = ("training_seconds", "converged", "diverged", "loss_spread")
    assert all((frame["metric"] == metric).sum() == 18 for metric in of_run)
    assert set(frame.loc[frame.isna().any(axis=1), "metric"]) == {"loss_spread"}  # of too few updates
    assert set(frame["run"]) == {run.id for run in study.runs("laptop")}
    for run in study.runs("laptop"):
        rows = frame[frame["run"] == run.id]
        assert len(rows) == 41
        assert set(rows["seed"]) == {run.seed}
        assert {axis: set(rows[axis]) for axis in run.labels} == {axis: {label} for axis, label in run.labels.items()}
        for metric, series in numbers(run).items():
            assert rows[rows["metric"] == metric]["value"].tolist() == series.values.reshape(-1).tolist()
    # 30 (Mu) + 1 (relu) + 0.6 (step 4, layer 3) + 2 (seed)
    (value,) = _pick(frame, init="Mu", activation="relu", metric="spread", step=4, layer=3, seed=2)["value"]
    assert value == pytest.approx(33.6)
    (value,) = _pick(frame, init="Mu", activation="relu", metric="count", step=4, layer=1, bin=3, seed=0)["value"]
    assert value == 12 + 3


def test_layers_count_from_1_and_bins_from_0(frame):
    assert sorted(_pick(frame, metric="spread")["layer"].unique()) == [1, 2, 3]
    assert sorted(_pick(frame, metric="count")["layer"].unique()) == [1, 2, 3]
    assert sorted(_pick(frame, metric="count")["bin"].unique()) == [0, 1, 2, 3]
    assert set(_pick(frame, metric="loss")["step"]) == {1, 2, 3, 4}


def test_labels_are_in_the_order_of_the_study(frame):
    assert list(frame["init"].cat.categories) == ["zeta", "alpha", "Mu"]
    assert list(frame["model.activation"].cat.categories) == ["tanh", "relu"]
    summary = statistics.summarize(measures.measure(frame, "loss"), ["model.activation", "init"])
    expected = [(activation, init) for activation in ("tanh", "relu") for init in ("zeta", "alpha", "Mu")]
    assert list(summary[["model.activation", "init"]].itertuples(index=False, name=None)) == expected


def test_labels_are_those_of_the_study_not_of_the_records(workspace, frame):
    renamed = {"zeta": "he_normal", "A new name": "glorot_normal", "Mu": {"name": "gaussian", "std": 0.01}}
    study = workspace.study(compare={"model.activation": ["tanh", "relu"], "init": renamed})
    assert not any("alpha" in file.read_text() for file in workspace.files(study))
    relabeled = from_records(study, "laptop", workspace.results)
    assert list(relabeled["init"].cat.categories) == ["zeta", "A new name", "Mu"]
    np.testing.assert_array_equal(
        relabeled[relabeled["init"] == "A new name"]["value"], frame[frame["init"] == "alpha"]["value"]
    )


def test_labels_can_differ_between_scales(workspace):
    study = workspace.study(scales={"demo": {"compare.init": ["he_uniform", "glorot_normal"], "seeds": 1}})
    frame = workspace.frame(study, numbers, "demo")
    assert set(frame["init"]) == {"he_uniform", "glorot_normal"}
    assert len(_pick(frame, metric="loss", step=1)) == 4


def test_missing_jobs_are_left_out(workspace, study):
    assert len(study.jobs("laptop")) == 2
    workspace.fill(study, numbers, jobs=slice(1, None))
    frame = from_records(study, "laptop", workspace.results)
    assert set(frame["run"]) == {run.id for run in study.jobs("laptop")[1].runs}
    assert set(frame["model.activation"]) == {"relu"}
    assert list(frame["model.activation"].cat.categories) == ["tanh", "relu"]  # so that colors do not change
    assert not frame.attrs["complete"]


def test_a_study_without_records_is_an_error(workspace, study):
    workspace.fill(study, numbers, scale="demo")
    with pytest.raises(measures.NotRun, match=re.escape("goodinit train work/study --scale laptop")):
        from_records(study, "laptop", workspace.results)


def test_a_stale_record_is_an_error(workspace, study):
    workspace.fill(study, numbers)
    runs = records.read(workspace.files(study)[1])
    runs[3].filled["training"]["batch_size"] = 64
    records.write(workspace.files(study)[1], runs)
    with pytest.raises(InputError, match=r"stale: training\.batch_size was 64 .* is 128 now") as caught:
        from_records(study, "laptop", workspace.results)
    assert str(workspace.files(study)[1]) in str(caught.value)
    assert not isinstance(caught.value, measures.NotRun)


def test_a_record_without_one_of_its_runs_is_an_error(workspace, study):
    workspace.fill(study, numbers)
    file = workspace.files(study)[0]
    records.write(file, records.read(file)[1:])
    with pytest.raises(InputError, match=f"run {study.runs('laptop')[0].id} is missing"):
        from_records(study, "laptop", workspace.results)
