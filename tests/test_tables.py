"""From records to a frame, to values, to a summary: against numbers worked out by hand."""

import io
import itertools
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from goodinit import records
from goodinit.cli.main import main
from goodinit.errors import InputError
from goodinit.report import measures, statistics, tables
from goodinit.report.frame import from_records

COLUMNS = ["model.activation", "init", "seed", "run", "status", "metric", "step", *records.AXES, "value"]
BASE = {"zeta": 10.0, "alpha": 20.0, "Mu": 30.0}
REPORTED = [
    {"where": {"init": "alpha", "model.activation": "relu"}, "metric": "loss", "at": 2, "value": 7.5,
     "source": "a book", "verified": True},
    {"where": {"init": "Mu", "model.activation": "tanh"}, "metric": "spread", "value": 0.25,
     "source": "an article, figure 1", "verified": False},
]  # fmt: skip


def _numbers(run):
    """Loss: base, plus the square of the step, plus the seed; and numbers with layers and with bins."""
    steps = np.arange(1, 5)
    base = BASE.get(run.labels["init"], 0) + (run.labels["model.activation"] == "relu")
    spread = base + np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    counts = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    return {
        "loss": records.Series(steps, base + steps**2.0 + run.seed),
        "accuracy": records.Series(np.array([0, 3, 4]), np.array([1.0, 2.0, 4.0]) + run.seed),
        "spread": records.Series(np.array([0, 4]), spread + run.seed, ("layer",)),
        "count": records.Series(np.array([0, 4]), counts, ("layer", "bin")),
    }


@pytest.fixture
def study(house):
    return house.study()


@pytest.fixture
def tidy(house, study):
    return house.frame(study, _numbers)


def _pick(frame, **where):
    axes = {"activation": "model.activation"}
    return measures.select(frame, {axes.get(name, name): value for name, value in where.items()})


def test_frame_holds_every_number_once(study, tidy):
    assert list(tidy.columns) == COLUMNS
    assert len(tidy) == 18 * (4 + 3 + 2 * 3 + 2 * 3 * 4 + 2)  # the last: seconds, and whether it converged
    assert not tidy.isna().any().any()
    assert set(tidy["run"]) == {run.id for run in study.runs("laptop")}
    for run in study.runs("laptop"):
        rows = tidy[tidy["run"] == run.id]
        assert len(rows) == 39
        assert set(rows["seed"]) == {run.seed}
        assert {axis: set(rows[axis]) for axis in run.labels} == {axis: {label} for axis, label in run.labels.items()}
        for metric, series in _numbers(run).items():
            assert rows[rows["metric"] == metric]["value"].tolist() == series.values.reshape(-1).tolist()
    # 30 (Mu) + 1 (relu) + 0.6 (step 4, layer 3) + 2 (seed)
    (value,) = _pick(tidy, init="Mu", activation="relu", metric="spread", step=4, layer=3, seed=2)["value"]
    assert value == pytest.approx(33.6)
    (value,) = _pick(tidy, init="Mu", activation="relu", metric="count", step=4, layer=1, bin=3, seed=0)["value"]
    assert value == 12 + 3


def test_layers_count_from_1_and_bins_from_0(tidy):
    assert sorted(_pick(tidy, metric="spread")["layer"].unique()) == [1, 2, 3]
    assert sorted(_pick(tidy, metric="count")["layer"].unique()) == [1, 2, 3]
    assert sorted(_pick(tidy, metric="count")["bin"].unique()) == [0, 1, 2, 3]
    assert set(_pick(tidy, metric="loss")["step"]) == {1, 2, 3, 4}


def test_labels_stand_in_the_study_s_order(tidy):
    assert list(tidy["init"].cat.categories) == ["zeta", "alpha", "Mu"]
    assert list(tidy["model.activation"].cat.categories) == ["tanh", "relu"]
    summary = statistics.summarize(measures.measure(tidy, "loss"), ["model.activation", "init"])
    expected = [(activation, init) for activation in ("tanh", "relu") for init in ("zeta", "alpha", "Mu")]
    assert list(summary[["model.activation", "init"]].itertuples(index=False, name=None)) == expected


def test_labels_are_today_s(house, tidy):
    renamed = {"zeta": "he_normal", "A new name": "glorot_normal", "Mu": {"name": "gaussian", "std": 0.01}}
    study = house.study(compare={"model.activation": ["tanh", "relu"], "init": renamed})
    assert not any("alpha" in file.read_text() for file in house.files(study))
    found = from_records(study, "laptop", house.results)
    assert list(found["init"].cat.categories) == ["zeta", "A new name", "Mu"]
    assert found[found["init"] == "A new name"]["value"].tolist() == tidy[tidy["init"] == "alpha"]["value"].tolist()


def test_labels_that_only_one_scale_has(house):
    study = house.study(scales={"demo": {"compare.init": ["he_uniform", "glorot_normal"], "seeds": 1}})
    found = house.frame(study, _numbers, "demo")
    assert set(found["init"]) == {"he_uniform", "glorot_normal"}
    assert len(_pick(found, metric="loss", step=1)) == 4


def test_missing_jobs_are_left_out(house, study):
    assert len(study.jobs("laptop")) == 2
    house.fill(study, _numbers, jobs=slice(1, None))
    found = from_records(study, "laptop", house.results)
    assert set(found["run"]) == {run.id for run in study.jobs("laptop")[1].runs}
    assert set(found["model.activation"]) == {"relu"}
    assert list(found["model.activation"].cat.categories) == ["tanh", "relu"]  # so that colors stay


def test_no_record_at_all(house, study):
    house.fill(study, _numbers, scale="demo")
    with pytest.raises(measures.NotRun, match=re.escape("goodinit train work/study --scale laptop")):
        from_records(study, "laptop", house.results)


def test_stale_record_is_refused(house, study):
    house.fill(study, _numbers)
    then = records.read(house.files(study)[1])
    then[3].filled["training"]["batch_size"] = 64
    records.write(house.files(study)[1], then)
    with pytest.raises(InputError, match=r"stale: training\.batch_size was 64 .* is 128 today") as caught:
        from_records(study, "laptop", house.results)
    assert str(house.files(study)[1]) in str(caught.value)
    assert not isinstance(caught.value, measures.NotRun)


def test_record_without_one_of_its_runs_is_refused(house, study):
    house.fill(study, _numbers)
    file = house.files(study)[0]
    records.write(file, records.read(file)[1:])
    with pytest.raises(InputError, match=f"run {study.runs('laptop')[0].id} is missing"):
        from_records(study, "laptop", house.results)


def test_select(tidy):
    both = measures.select(tidy, {"init": ["zeta", "Mu"], "seed": 1})
    assert set(both["init"]) == {"zeta", "Mu"}
    assert set(both["seed"]) == {1}
    assert len(both) == len(tidy) * 2 // 9
    assert len(measures.select(tidy, None)) == len(tidy)


@pytest.mark.parametrize(
    ("metric", "at", "expected"),
    [
        ("loss", "last", 10 + 16),
        ("loss", 2, 10 + 4),
        ("loss", {"last": 3}, 10 + (4 + 9 + 16) / 3),
        ("loss", {"last": 1}, 10 + 16),
        ("loss", {"last": 99}, 10 + (1 + 4 + 9 + 16) / 4),
        ("accuracy", "last", 4),
        ("accuracy", 0, 1),
        ("accuracy", {"last": 2}, 3),
        ("accuracy", {"last": 3}, 3),  # recorded steps, not updates: they are 0, 3 and 4; the first is of no training
        ("loss", {"from": 2, "to": 3}, 10 + (4 + 9) / 2),
        ("loss", {"from": 4, "to": 4}, 10 + 16),
        ("loss", {"from": 3}, 10 + (9 + 16) / 2),
        ("accuracy", {"from": 1, "to": 3}, 2),
        ("accuracy", {"from": 0}, 7 / 3),
    ],
)
def test_measure(tidy, metric, at, expected):
    values = measures.measure(tidy, metric, at)
    assert len(values) == 18
    assert not {"layer", "bin"} & set(values.columns)
    mine = _pick(values, init="zeta", activation="tanh").sort_values("seed")
    assert mine["value"].to_numpy() == pytest.approx(np.array([0, 1, 2]) + expected)


def test_measure_of_layers(tidy):
    values = _pick(measures.measure(tidy, "spread"), init="zeta", activation="tanh", seed=0)
    assert dict(zip(values["layer"], values["value"], strict=True)) == pytest.approx({1: 10.4, 2: 10.5, 3: 10.6})
    values = _pick(measures.measure(tidy, "spread", {"from": 0}), init="zeta", activation="tanh", seed=0)
    assert dict(zip(values["layer"], values["value"], strict=True)) == pytest.approx({1: 10.25, 2: 10.35, 3: 10.45})


def test_measure_at_each_run_s_own_last_step(house):
    study = house.study()

    def numbers(run):
        length = 2 + run.seed
        return {"loss": records.Series(np.arange(1, length + 1), 10.0 * np.arange(1, length + 1))}

    found = house.frame(study, numbers)
    assert set(zip(*(measures.measure(found, "loss")[name] for name in ("seed", "value")), strict=True)) == {
        (0, 20), (1, 30), (2, 40)
    }  # fmt: skip
    assert set(measures.measure(found, "loss", {"last": 2})["value"]) == {15, 25, 35}
    assert set(measures.measure(found, "loss", 3)["seed"]) == {1, 2}


@pytest.mark.parametrize("at", [{"from": 5}, {"from": 2, "to": 5}, {"from": 5, "to": 6}])
def test_measure_over_steps_that_were_not_reached(tidy, at):
    with pytest.raises(measures.NotRun, match="no value at steps"):
        measures.measure(tidy, "loss", at)


def test_measure_from_a_step_on_takes_the_last_value_of_a_run_that_diverged_before(house):
    study, _ = house.arms({"loss": {"a": [[1, 2, 3, 5], [1, 2, 3, 5]]}})

    def numbers(run):
        values = np.array([1.0, 2.0, 3.0, 5.0]) if run.seed else np.array([1.0, np.nan])
        return {"loss": records.Series(np.arange(1, len(values) + 1), values)}

    for job in study.jobs("laptop"):
        made = [house.run_record(run, numbers(run), status="finished" if run.seed else "diverged") for run in job.runs]
        records.write(records.path(house.results, "laptop", study, job), made)
    found = measures.measure(from_records(study, "laptop", house.results), "loss", {"from": 3, "to": 4})
    values = found.set_index("seed")["value"]
    assert np.isnan(values[0])
    assert values[1] == 4


def test_mean_over_steps_hides_no_nan(house):
    _, found = house.arms({"loss": {"a": [[1, 2, 3], [1, 2, np.nan]], "b": [[1, np.inf, 3], [3, 3, 3]]}})
    means = measures.measure(found, "loss", {"last": 2}).set_index(["condition", "seed"])["value"]
    assert means["a", 0] == 2.5
    assert np.isnan(means["a", 1])
    assert np.isinf(means["b", 0])
    assert means["b", 1] == 3


def test_measure_of_what_is_not_there(tidy):
    with pytest.raises(InputError, match="'los' is not in the records; did you mean loss") as caught:
        measures.measure(tidy, "los")
    assert not isinstance(caught.value, measures.NotRun)
    with pytest.raises(measures.NotRun, match="no value at step 5; the last is 4"):
        measures.measure(tidy, "loss", 5)


def _values(groups):
    rows = [(name, value) for name, values in groups.items() for value in values]
    return pd.DataFrame(rows, columns=["arm", "value"])


def test_summary_by_hand():
    summary = statistics.summarize(_values({"a": [1.0, 2.0, 3.0, 6.0], "b": [5.0, 5.0, 5.0]}), ["arm"])
    assert list(summary.columns) == ["arm", "n", "not_finite", "mean", "sd", "low", "high"]
    assert summary["n"].tolist() == [4, 3]
    assert summary["mean"].tolist() == [3, 5]
    assert summary["sd"].tolist() == pytest.approx([np.sqrt((4 + 1 + 0 + 9) / 3), 0])
    assert summary["low"][0] < 3 < summary["high"][0]
    assert summary.loc[1, ["low", "high"]].tolist() == [5, 5]


def test_summary_counts_what_is_not_finite_and_leaves_it_out():
    groups = {"a": [1.0, np.nan, 3.0, np.inf, -np.inf], "b": [np.nan, 4.0], "c": [np.nan, np.nan]}
    summary = statistics.summarize(_values(groups), ["arm"]).set_index("arm")
    assert summary["n"].to_dict() == {"a": 2, "b": 1, "c": 0}
    assert summary["not_finite"].to_dict() == {"a": 3, "b": 1, "c": 2}
    assert summary["mean"].tolist() == pytest.approx([2, 4, np.nan], nan_ok=True)
    assert summary["sd"].tolist() == pytest.approx([np.sqrt(2), np.nan, np.nan], nan_ok=True)
    assert summary[["low", "high"]].isna().all(axis=1).tolist() == [False, True, True]


def test_interval_is_scipy_s_whatever_stands_beside():
    drawn = np.random.default_rng(3)
    values = drawn.gamma(2, size=(4, 5))
    low, high = statistics.bootstrap_interval(values)
    np.testing.assert_array_equal(statistics.bootstrap_interval(values), [low, high])
    for row, *bounds in zip(values, low, high, strict=True):
        expected = stats.bootstrap(
            (row,), np.mean, n_resamples=statistics.RESAMPLES, method="percentile", rng=0
        ).confidence_interval
        assert bounds == pytest.approx(list(expected), rel=1e-12)
        assert bounds[0] < row.mean() < bounds[1]
    summary = statistics.summarize(_values(dict(zip("abcd", values, strict=True)) | {"e": [1.0, 2.0, 4.0]}), ["arm"])
    np.testing.assert_array_equal(summary[["low", "high"]].to_numpy()[:4].T, [low, high])


def test_interval_widens_with_the_spread():
    values = np.array([[-2.0, -1, 0, 1, 2], [-20.0, -10, 0, 10, 20]])
    low, high = statistics.bootstrap_interval(values)
    assert high[1] - low[1] == pytest.approx(10 * (high[0] - low[0]))
    # The 95 % interval of a normal mean of five is 1.96 sd / sqrt(5) on either side; the bootstrap's is of that size.
    assert high[0] == pytest.approx(1.96 * np.sqrt(2) / np.sqrt(5), rel=0.1)


@pytest.mark.parametrize("size", [0, 1])
def test_fewer_than_two_have_no_interval(size):
    found = statistics.bootstrap_interval(np.ones((3, size)))
    assert found.shape == (2, 3)
    assert np.isnan(found).all()


def test_table_names_the_steps_that_it_takes(house):
    asked = [{"last": 2}, {"last": 9}, {"from": 2, "to": 3}, {"from": 3}, {"from": 3, "to": 9}]
    study = house.study(table=[{"metric": "loss", "at": at} for at in asked])
    found = tables.table(study, house.frame(study, _numbers))
    assert found["at"].unique().tolist() == [
        "mean of last 2", "mean of last 4", "mean of steps 2 to 3", "mean from step 3"
    ]  # fmt: skip


def test_table_puts_the_reported_value_on_its_row_alone(house):
    asked = [{"metric": "loss", "at": 2}, {"metric": "loss"}, {"metric": "spread"}]
    study = house.study(table=[*asked, {"metric": "loss", "at": {"last": 2}}], reported=REPORTED)
    found = tables.table(study, house.frame(study, _numbers))
    assert found[["metric", "at"]].drop_duplicates().to_numpy().tolist() == [
        ["loss", "2"], ["loss", "last"], ["spread", "last"], ["loss", "mean of last 2"]
    ]  # fmt: skip
    assert len(found) == 6 * 3 + 6 * 3
    said = found[found["reported"].notna()]
    assert (found[found["reported"].isna()][["source", "verified"]] == "").all(axis=None)
    loss = said[said["metric"] == "loss"]
    columns = ["init", "model.activation", "at", "reported", "source", "verified"]
    assert loss[columns].to_numpy().tolist() == [["alpha", "relu", "2", 7.5, "a book", "yes"]]
    assert loss["mean"].tolist() == [20 + 1 + 4 + 1]
    layers = said[said["metric"] == "spread"]
    assert layers["layer"].tolist() == [1, 2, 3]
    assert set(layers["verified"]) == {"no"}
    assert set(zip(layers["init"], layers["model.activation"], strict=True)) == {("Mu", "tanh")}


def test_table_leaves_out_what_this_scale_does_not_reach(house):
    study = house.study(table=[{"metric": "loss", "at": 1901}, {"metric": "loss", "at": 4}])
    tidy = house.frame(study, _numbers)
    assert set(tables.table(study, tidy)["at"]) == {"4"}
    study = house.study(table=[{"metric": "loss", "at": 1901}])
    with pytest.raises(measures.NotRun, match="no measure"):
        tables.table(study, tidy)


HIGHEST = {"metric": "accuracy", "best": "highest", "at": 1}
# Four trials, two seeds, the steps 1 and 2.
ACCURACY = [[[3.0, 9], [1.0, 9]], [[4.0, 1], [6.0, 1]], [[2.0, 5], [8.0, 5]], [[2.0, 7], [0.0, 7]]]


@pytest.mark.parametrize(
    ("choose", "expected"),
    [
        (HIGHEST, [{1: 2, 2: 1, 3: 3, 4: 4}, {1: 3, 2: 2, 3: 1, 4: 4}]),  # of equals the first trial is before
        (HIGHEST | {"best": "lowest"}, [{3: 1, 4: 2, 1: 3, 2: 4}, {4: 1, 1: 2, 2: 3, 3: 4}]),
        ({"metric": "accuracy", "best": "highest"}, [{1: 1, 4: 2, 3: 3, 2: 4}] * 2),
        ({"metric": "accuracy", "best": "lowest"}, [{2: 1, 3: 2, 4: 3, 1: 4}] * 2),
    ],
)
def test_rank_is_a_trial_s_place_among_those_of_its_seed(house, choose, expected):
    _, found = house.trials({"accuracy": ACCURACY}, choose)
    assert list(found["rank"].cat.categories) == [1, 2, 3, 4]
    for seed, places in enumerate(expected):
        pairs = found.loc[found["seed"] == seed, ["trial", "rank"]].drop_duplicates()
        assert dict(zip(pairs["trial"], pairs["rank"], strict=True)) == places
    assert found["rank"].notna().all()


def test_trials_are_ranked_within_each_of_what_is_compared(house):
    study, _ = house.trials({"accuracy": ACCURACY}, HIGHEST, compare={"training.batch_size": [10, 20]})

    def numbers(run):
        sign = 1 if run.labels["training.batch_size"] == 10 else -1
        return {"accuracy": records.Series(np.array([1]), np.array([1.0 * sign * run.labels["trial"]]))}

    found = house.frame(study, numbers)[["training.batch_size", "trial", "rank"]].drop_duplicates()
    for size, places in ((10, [4, 3, 2, 1]), (20, [1, 2, 3, 4])):
        assert found.loc[found["training.batch_size"] == size].sort_values("trial")["rank"].tolist() == places


def test_there_is_no_rank_unless_the_search_says_how_to_choose(house):
    assert "rank" not in house.trials({"accuracy": ACCURACY})[1]


def test_a_trial_that_diverged_before_the_step_is_the_last(house):
    study, _ = house.trials({"accuracy": ACCURACY}, HIGHEST | {"at": 2})

    def numbers(run):
        length = 1 if run.labels["trial"] == 2 else 2
        return {"accuracy": records.Series(np.arange(1, length + 1), np.ones(length))}

    found = house.frame(study, numbers)
    assert set(found[found["trial"] == 2]["rank"]) == {4}


def test_a_step_that_this_scale_does_not_reach_ranks_nothing(house):
    with pytest.raises(measures.NotRun, match="no value at step 99"):
        house.trials({"accuracy": ACCURACY}, HIGHEST | {"at": 99})


def test_what_was_drawn_is_a_metric_at_step_0(house):
    study, found = house.trials({"accuracy": ACCURACY})
    for path in ("optimizer.lr", "optimizer.weight_decay"):
        rows = measures.metric_rows(found, path)
        assert set(rows["step"]) == {0}
        assert len(rows) == 4 * 2
        for seed, trial in itertools.product((0, 1), (1, 2, 3, 4)):
            drawn = study.draws("laptop", seed)[trial][path]
            assert rows[(rows["trial"] == trial) & (rows["seed"] == seed)]["value"].tolist() == [drawn]


def test_seconds_are_a_metric_at_each_run_s_own_last_step(house):
    study = house.study()
    steps = {run.id: 4 + run.seed for run in study.runs("laptop")}
    seconds = {"initializing": 0.25, "training": 0.5}
    for job in study.jobs("laptop"):
        made = [house.run_record(run, _numbers(run), seconds=seconds, steps=steps[run.id]) for run in job.runs]
        records.write(records.path(house.results, "laptop", study, job), made)
    found = from_records(study, "laptop", house.results)
    for what, expected in seconds.items():
        rows = measures.metric_rows(found, f"{what}_seconds")
        assert dict(zip(rows["run"], rows["step"], strict=True)) == steps
        assert set(rows["value"]) == {expected}
        assert (rows[list(records.AXES)] == -1).all(axis=None)


def test_whether_a_run_converged_and_its_epochs_are_metrics_at_its_last_step(house):
    study = house.study()
    statuses = {run.id: ("finished", "diverged", "did not learn")[run.seed] for run in study.runs("laptop")}
    for job in study.jobs("laptop"):
        made = [
            house.run_record(run, _numbers(run), status=statuses[run.id], provenance={"train_examples": 1024})
            for run in job.runs
        ]
        records.write(records.path(house.results, "laptop", study, job), made)
    found = from_records(study, "laptop", house.results)
    converged = measures.measure(found, "converged")
    assert dict(zip(converged["seed"], converged["value"], strict=True)) == {0: 1, 1: 0, 2: 0}
    epochs = measures.measure(found, "epochs")
    assert (set(epochs["value"]), set(epochs["step"])) == ({4 * 128 / 1024}, {4})


def test_the_spread_of_the_loss_is_that_of_its_last_fifth(house):
    loss = np.arange(20.0) ** 2
    study = house.study()
    for job in study.jobs("laptop"):
        made = [house.run_record(run, {"loss": records.Series(np.arange(1, 21), loss)}, steps=20) for run in job.runs]
        records.write(records.path(house.results, "laptop", study, job), made)
    found = measures.metric_rows(from_records(study, "laptop", house.results), "loss_spread")
    assert set(found["step"]) == {20}
    np.testing.assert_allclose(found["value"], loss[16:].std())


def test_the_flat_phase_ends_where_the_mean_of_forty_losses_is_below_that_of_guessing(house):
    guessing = np.log(10)
    losses = {
        0: np.where(np.arange(1, 101) <= 50, guessing, 0.1 * guessing),
        1: np.full(100, 0.96 * guessing),
        2: np.append([2 * guessing, 0.1], np.full(98, np.inf)),  # of two the mean is more than 95 %
    }
    study = house.study()
    made_of = {"train_examples": 1280, "classes": 10}  # ten updates an epoch
    for job in study.jobs("laptop"):
        made = [
            house.run_record(
                run, {"loss": records.Series(np.arange(1, 101), losses[run.seed])}, steps=100, provenance=made_of
            )
            for run in job.runs
        ]
        records.write(records.path(house.results, "laptop", study, job), made)
    found = measures.measure(from_records(study, "laptop", house.results), "flat_epochs")
    assert (found.loc[found["seed"] == 0, "value"] == 5.3).all()  # 37 and three tenths of 40 are less than 95 %
    assert found.loc[found["seed"] > 0, "value"].isna().all()


def test_each_update_has_its_share_of_what_the_run_took(house):
    study = house.study()
    for job in study.jobs("laptop"):
        made = [
            house.run_record(run, _numbers(run), seconds={"training": run.seed + len(run.labels["init"])})
            for run in job.runs
        ]
        records.write(records.path(house.results, "laptop", study, job), made)
    found = measures.metric_against(from_records(study, "laptop", house.results), "loss", "training_seconds")
    for init in ("zeta", "alpha"):  # the mean over the seeds 0, 1 and 2 of the seconds of 4 updates
        mine = found[found["init"] == init]
        np.testing.assert_allclose(mine["training_seconds"], mine["step"] * (1 + len(init)) / 4)


def test_generalization_gap_is_a_difference_where_both_were_evaluated(house):
    trained, tested = [[0.5, 1.0], [0.25, 0.75]], [[0.25, 0.25], [0.5, 0.5]]
    metrics = {"train_accuracy": {"a": trained}, "test_accuracy": {"a": tested}}
    _, found = house.arms(metrics)
    gap = measures.metric_rows(found, "generalization_gap").sort_values(["seed", "step"])
    assert gap["value"].tolist() == [0.25, 0.75, -0.25, 0.25]
    assert gap["step"].tolist() == [1, 2, 1, 2]
    study = house.study()
    late = {
        "train_accuracy": records.Series(np.array([0, 4]), np.ones(2)),
        "test_accuracy": records.Series(np.array([4]), np.ones(1)),
    }
    for numbers in (late, {"train_accuracy": late["train_accuracy"]}):
        with pytest.raises(InputError, match="'generalization_gap' is not in the records"):
            measures.metric_rows(house.frame(study, lambda run, numbers=numbers: numbers), "generalization_gap")


def test_table_of_the_best_trials_with_what_was_reported_of_them(house):
    asked = [
        {"metric": "accuracy", "at": 1, "where": {"rank": [1, 2]}},
        {"metric": "optimizer.lr", "where": {"rank": 1}},
    ]
    said = {"source": "slides", "verified": True}
    study, found = house.trials(
        {"accuracy": ACCURACY},
        HIGHEST,
        table=[*asked, {"metric": "optimizer.weight_decay"}],
        reported=[
            {"where": {"rank": 2}, "metric": "accuracy", "at": 1, "value": 0.5, **said},
            {"where": {"rank": 1}, "metric": "optimizer.lr", "value": 0.25, **said},
        ],
    )
    table = tables.table(study, found)
    assert "trial" not in table
    assert table[["metric", "rank"]].to_numpy().tolist() == [
        ["accuracy", 1],
        ["accuracy", 2],
        ["optimizer.lr", 1],
        *[["optimizer.weight_decay", rank] for rank in (1, 2, 3, 4)],
    ]
    best = [study.draws("laptop", seed)[trial]["optimizer.lr"] for seed, trial in ((0, 2), (1, 3))]
    assert table["mean"].tolist()[:3] == pytest.approx([(4 + 8) / 2, (3 + 6) / 2, sum(best) / 2])
    assert table["n"].tolist() == [2] * 7
    assert table["reported"].tolist() == pytest.approx([np.nan, 0.5, 0.25, *[np.nan] * 4], nan_ok=True)
    assert table["source"].tolist() == ["", "slides", "slides", *[""] * 4]


def test_where_in_a_table_chooses_its_rows(house):
    study = house.study(table=[{"metric": "loss", "where": {"init": ["Mu", "zeta"], "model.activation": "relu"}}])
    found = tables.table(study, house.frame(study, _numbers))
    assert found[["model.activation", "init"]].to_numpy().tolist() == [["relu", "zeta"], ["relu", "Mu"]]
    study = house.study(table=[{"metric": "spread", "where": {"layer": 2}}])
    assert set(tables.table(study, house.frame(study, _numbers))["layer"]) == {2}


def test_command_writes_the_same_table_twice(house, capsys):
    study = house.study(table=[{"metric": "loss", "at": 2}, {"metric": "spread"}], reported=REPORTED)
    house.fill(study, _numbers)
    arguments = ["--scale", "laptop", "--configs", str(house.configs), "--results", str(house.results)]
    main(["table", "work/study", *arguments])
    file = house.results / "laptop" / "tables" / "work" / "study.csv"
    assert capsys.readouterr().out == f"{file}\n"
    first = file.read_bytes()
    file.unlink()
    main(["table", "work/study", *arguments])
    assert file.read_bytes() == first
    assert b"\r" not in first
    read = pd.read_csv(io.BytesIO(first))
    assert len(read) == 6 + 6 * 3
    row = read[read["reported"] == 7.5].iloc[0]
    assert [row["init"], row["metric"], row["n"], row["mean"], row["sd"]] == ["alpha", "loss", 3, 26, 1]


def test_command_without_records_names_the_command_that_is_missing(house, capsys):
    house.study()
    with pytest.raises(SystemExit) as caught:
        main(["table", "work/study", "--configs", str(house.configs), "--results", str(house.results)])
    assert caught.value.code == 2
    assert "goodinit train work/study --scale demo" in capsys.readouterr().err


def test_a_study_that_is_not_run_at_a_scale_is_passed_over_unless_it_is_named(house, capsys):
    house.fill(house.study(), _numbers)
    house.study("never", scales={"laptop": {"seeds": 0}})
    places = ["--configs", str(house.configs), "--results", str(house.results), "--scale", "laptop"]
    main(["table", "work", *places])
    assert capsys.readouterr().out.split() == [f"{house.results}/laptop/tables/work/study.csv"]
    with pytest.raises(SystemExit):
        main(["table", "work/never", *places])
    error = capsys.readouterr().err
    assert "work/never: no records at scale laptop" in error
    assert "its file has `seeds: 0` there" in error


def test_the_lowest_value_of_a_run(house):
    _, found = house.arms({"loss": {"a": [[3, 1, 2], [5, 6, np.nan]], "b": [[4, 4, 4], [7, 8, 9]]}})
    lowest = measures.measure(found, "loss", "lowest")
    assert {(row.condition, row.seed): row.value for row in lowest.itertuples()} == {
        ("a", 0): 1, ("a", 1): 5, ("b", 0): 4, ("b", 1): 7}  # fmt: skip
