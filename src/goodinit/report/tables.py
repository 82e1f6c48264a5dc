"""Records to one tidy frame, to values of a measure, to a summary with intervals."""

import functools

import numpy as np
import pandas as pd

from goodinit import records, studies
from goodinit.errors import InputError, nearest

__all__ = [
    "NotRun",
    "against",
    "frame",
    "interval",
    "measure",
    "of",
    "pictures",
    "rank",
    "select",
    "summarise",
    "table",
]

RESAMPLES = 2000
FLAT_WINDOW = 40  # updates


class NotRun(InputError):
    """What is asked for has not been run at this scale: no record at all, or too few steps."""


def frame(study, scale, results):
    """Return everything that the records of a study hold, one number a row.

    Jobs without a record are left out, so a part of a study can be looked at.

    What has further axes, such as a picture's, is left out.  Four kinds of metric are added: `generalization_gap`,
    the accuracy on the training examples less that on the test examples; at step 0, what a random search drew, such
    as `optimizer.lr`; and, at the last step of a run that trains, how it ended: `converged`, 1 unless it diverged or
    did not learn, and `loss_spread`, the standard deviation of the loss over the last fifth of the updates; and what
    it took: `epochs`, where its record says of how many examples, and seconds, such as `training_seconds`; and where
    it also says of how many classes, `flat_epochs`, how long the loss was that of guessing: until the mean of 40
    updates first fell below 95 % of it, not a number where it never did.

    Returns:
        A frame with a column for each axis of what is compared, `seed`, `run`, `status`, `metric`,
        `step`, a column for each further axis (those of `record.AXES`; -1 where a metric has none) and `value`;
        of a random search that says how it chooses, also `rank`, the trial's, where 1 is the best.  Its
        `attrs["complete"]` says whether every job has a record.

    Raises:
        NotRun: no job has a record.
        InputError: a record is damaged or stale.
    """
    columns, names = {}, {"run": {}, "status": {}, "metric": {}}
    runs = study.runs(scale)  # a scale may compare other values
    axes = {
        axis: list(dict.fromkeys([*labels, *(run.labels[axis] for run in runs)])) for axis, labels in study.axes.items()
    }

    def add(name, value, rows):
        """Add rows to a column; text as its number in `names`, for there may be millions of rows."""
        if name in names:
            value = names[name].setdefault(value, len(names[name]))
        columns.setdefault(name, []).append(np.broadcast_to(np.asarray(value, np.int32), rows))

    for run, recorded in _recorded(study, scale, results):
        for metric, series in _with_derived(recorded, study.tuned).items():
            shape = series.values.shape
            rows = series.values.size
            for axis, label in run.labels.items():
                add(axis, axes[axis].index(label), rows)
            add("seed", run.seed, rows)
            add("run", run.id, rows)
            add("status", recorded.status, rows)
            add("metric", metric, rows)
            places = np.indices(shape).reshape(len(shape), -1)
            add("step", series.steps[places[0]], rows)
            for dimension, first in records.AXES.items():
                if dimension in series.dimensions:
                    add(dimension, places[1 + series.dimensions.index(dimension)] + first, rows)
                else:
                    add(dimension, -1, rows)
            columns.setdefault("value", []).append(series.values.reshape(-1).astype(float))
    if not columns:
        mend = f"goodinit train {study.work}/{study.name} --scale {scale}" if runs else "its file has `seeds: 0` there"
        raise NotRun(f"{study.work}/{study.name}: no records at scale {scale} in {results}: {mend}")
    tidy = pd.DataFrame({name: np.concatenate(parts) for name, parts in columns.items()})
    for axis, labels in axes.items():
        tidy[axis] = pd.Categorical.from_codes(tidy[axis], categories=labels, ordered=True)
    for name, known in names.items():
        tidy[name] = pd.Categorical.from_codes(tidy[name], categories=list(known)).reorder_categories(sorted(known))
    tidy.attrs["complete"] = all(records.path(results, scale, study, job).exists() for job in study.jobs(scale))
    if study.search is not None and study.search.ranking is not None:
        ranking = study.search.ranking
        tidy["rank"] = rank(tidy, study.axes, metric=ranking.metric, best=ranking.best, at=ranking.at)
    return tidy


def pictures(study, scale, results, metric):
    """Return the last picture of each run of a study: a frame with its labels, its seed, its status, and the array.

    Args:
        metric: the series of pictures; each becomes an object in the column `picture`, None where a run diverged
            before its first picture.

    Raises:
        NotRun: no job has a record with such a series; InputError: as in `frame`.
    """
    rows = []
    for run, recorded in _recorded(study, scale, results):
        series = recorded.series.get(metric)
        last = series.values[-1] if series and len(series.steps) else None
        if last is not None or recorded.status == "diverged":
            rows.append(run.labels | {"seed": run.seed, "status": recorded.status, "picture": last})
    if all(row["picture"] is None for row in rows):
        raise NotRun(f"{study.work}/{study.name}: no records with {metric} at scale {scale} in {results}")
    return pd.DataFrame(rows)


def rank(tidy, axes, *, metric, best, at="last"):
    """Return each row's place, 1 for the best, by its trial's metric among the trials of its search; ties by trial.

    Each seed, and each label of the other axes, is a random search of its own.  A trial that has no number at that
    step, because it diverged, stands last.

    Raises:
        InputError: as in `measure`.
    """
    search = ["seed", *(axis for axis in axes if axis != "trial")]
    runs = tidy[[*search, "trial", "run"]].drop_duplicates().set_index("run").sort_values("trial", kind="stable")
    runs["value"] = measure(tidy, metric, at).set_index("run")["value"]
    ordered = runs.sort_values("value", ascending=best == "lowest", kind="stable")  # not a number: last
    places = ordered.groupby(search, observed=True).cumcount() + 1
    return tidy["run"].astype(str).map(places.rename(index=str)).astype(int).astype("category")


def condition_columns(values):
    """Return the columns that tell one condition from another: everything but a run's own.

    Where trials are ranked, that is the rank: the trials of different seeds have nothing in common.
    """
    own = {"seed", "run", "status", "metric", "step", "value"} | ({"trial"} if "rank" in values else set())
    return [name for name in values.columns if name not in own]


def select(tidy, where):
    """Return the rows whose columns have the given values, or one of the given values."""
    for column, value in (where or {}).items():
        if column not in tidy:
            raise InputError(f"where: no axis {column!r} here{nearest(column, tidy.columns)}")
        tidy = tidy[tidy[column].isin(value if isinstance(value, list) else [value])]
    return tidy


def of(tidy, metric):
    """Return the rows of a metric, or of several.

    Raises:
        InputError: the records do not hold it; NotRun: those that there are do not, but others are missing.
    """
    metrics = metric if isinstance(metric, list) else [metric]
    for name in metrics:
        if not (tidy["metric"] == name).any():
            error = InputError if tidy.attrs.get("complete", True) else NotRun
            raise error(f"metric: {name!r} is not in the records{nearest(name, tidy['metric'].unique())}")
    return tidy[tidy["metric"].isin(metrics)]


def measure(tidy, metric, at="last"):
    """Return one value a run (and layer) of a metric.

    Args:
        tidy: from `frame`.
        metric: its name.
        at: `last`, the last step; a step; {"last": k}, the mean over the last k recorded steps, or fewer where there
            are no more, without step 0; {"from": a, "to": b}, the mean over the recorded steps from a to b, or to the
            end without `to`; or `lowest`, the smallest value.  Of a run that diverged before a, the last value is
            taken.

    Raises:
        InputError: the records do not hold that metric; NotRun: not at that step, or not up to b.
    """
    rows = of(tidy, metric)
    rows = rows.drop(columns=[name for name in records.AXES if (rows[name] < 0).all()])
    keys = [name for name in rows.columns if name not in ("step", "value")]
    if isinstance(at, dict):
        groups = (_last(rows, at["last"]) if "last" in at else _between(rows, at)).groupby(
            keys, observed=True, as_index=False
        )["value"]
        return groups.agg(lambda values: values.to_numpy().mean())  # pandas's own would leave NaN out
    if at == "lowest":
        return rows.groupby(keys, observed=True, as_index=False)["value"].min()
    wanted = rows.groupby("run", observed=True)["step"].transform("max") if at == "last" else at
    found = rows[rows["step"] == wanted]
    if found.empty:
        raise NotRun(f"metric: {metric!r} has no value at step {at}; the last is {rows['step'].max()}")
    return found


def _last(rows, count):
    """Return the rows of each run's last so many recorded steps; step 0 only where there is no other."""
    trained = rows[rows["step"] > 0]
    trained = rows if trained.empty else trained
    return trained[trained.groupby("run", observed=True)["step"].rank("dense", ascending=False) <= count]


def _between(rows, at):
    """Return the rows from a step to another, both included; of a run that diverged before, those of its last step."""
    first, to = at["from"], at.get("to", np.inf)
    if rows["step"].max() < at.get("to", first):
        words = f"{first} to {at['to']}" if "to" in at else f"from {first}"
        raise NotRun(f"metric: no value at steps {words}; the last is {rows['step'].max()}")
    last = rows.groupby("run", observed=True)["step"].transform("max")
    ended = (rows["status"] == "diverged") & (rows["step"] == last) & (last < first)
    return rows[rows["step"].between(first, to) | ended]


def against(tidy, metric, whole):
    """Return the rows of a metric with a column `whole`: how much of it was spent up to each row's step.

    Args:
        tidy: from `frame`.
        metric: the rows' metric, or several.
        whole: a metric of the whole run, such as `training_seconds` or `epochs`, of which each update has the
            same share, the mean over the seeds.

    Raises:
        InputError: the records do not hold one of these metrics.
    """
    rows, spent = of(tidy, metric), measure(tidy, whole)
    axes = [name for name in spent.select_dtypes("category") if name not in ("run", "status", "metric")]
    share = (spent["value"] / spent["step"]).groupby([spent[axis] for axis in axes], observed=True).transform("mean")
    return rows.assign(
        **{whole: rows["step"] * rows["run"].map(dict(zip(spent["run"], share, strict=True))).astype(float)}
    )


def interval(values):
    """Return the 95 % percentile-bootstrap interval of each row's mean: values (G, n) -> low, high (G,).

    With fewer than two values there is none: NaN.
    """
    from scipy import stats  # half a second, which a figure need not wait for

    values = np.asarray(values, dtype=float)
    if values.shape[1] < 2:
        return np.full((2, len(values)), np.nan)
    found = stats.bootstrap(
        (values,), np.mean, axis=1, n_resamples=RESAMPLES, batch=200, method="percentile", rng=0
    ).confidence_interval
    return np.stack([found.low, found.high])


def summarise(values, by):
    """Return n, mean, sample sd and interval of the finite values in each group.

    Args:
        values: from `measure`.
        by: the columns that name a group.

    Returns:
        A frame with `by`, `n`, `not_finite` (how many values are not), `mean`, `sd`, `low`, `high`.
    """
    rows = []
    for key, group in values.groupby(by, observed=True)["value"]:
        finite = group[np.isfinite(group)].to_numpy()
        rows.append((key, finite, len(group) - len(finite)))
    summary = pd.DataFrame([key for key, _, _ in rows], columns=by)
    summary["n"] = [len(finite) for _, finite, _ in rows]
    summary["not_finite"] = [lost for _, _, lost in rows]
    summary["mean"] = [finite.mean() if len(finite) else np.nan for _, finite, _ in rows]
    summary["sd"] = [finite.std(ddof=1) if len(finite) > 1 else np.nan for _, finite, _ in rows]
    summary[["low", "high"]] = np.nan
    for count, places in summary.groupby("n").groups.items():
        if count > 1:
            bounds = interval(np.stack([rows[place][1] for place in places]))
            summary.loc[places, ["low", "high"]] = bounds.T
    return summary


def table(study, tidy):
    """Return the study's table: each measure, summarised over the seeds, with the reported value beside it.

    A measure at a step that this scale does not reach is left out.
    """
    parts = []
    for item in study.table:
        metric, at = item.metric, item.at
        try:
            values = measure(tidy, metric, at)
        except NotRun:
            continue
        except InputError as error:
            raise InputError(f"{study.path}: table: {error}") from None
        values = select(values, item.where)
        by = condition_columns(values)
        part = summarise(values, by)
        place = part.columns.get_loc("n")
        part.insert(place, "metric", metric)
        part.insert(place + 1, "at", _steps_in_words(tidy, metric, at))
        part["reported"], part["source"], part["verified"] = np.nan, "", ""
        for said in study.reported:
            if said.metric == metric and said.at == at:
                rows = select(part, said.where).index
                part.loc[rows, ["reported", "source"]] = [said.value, said.source]
                part.loc[rows, "verified"] = "yes" if said.verified else "no"
        parts.append(part.astype({axis: object for axis in study.axes if axis in part}))
    if not parts:
        raise NotRun(f"{study.path}: table: no measure is at a step that was recorded at this scale")
    return pd.concat(parts, ignore_index=True)


def _steps_in_words(tidy, metric, at):
    """Return what a table calls the steps of a measure."""
    if not isinstance(at, dict):
        return str(at)
    if "from" in at:
        return f"mean of steps {at['from']} to {at['to']}" if "to" in at else f"mean from step {at['from']}"
    rows = _last(of(tidy, metric), at["last"])
    return f"mean of last {rows.groupby('run', observed=True)['step'].nunique().max()}"


def _recorded(study, scale, results):
    """Yield each run that has a record, with its RunRecord."""
    for job in study.jobs(scale):
        file = records.path(results, scale, study, job)
        if file.exists():
            recorded = records.read_current(file, {run.id: studies.fill(run.parts) for run in job.runs})
            yield from ((run, recorded[run.id]) for run in job.runs)


def _with_derived(run, tuned):
    """Return {name: Series} of a run, with the metrics that follow from others."""
    series = {name: one for name, one in run.series.items() if set(one.dimensions) <= set(records.AXES)}
    train, test = (series.get(f"{part}_accuracy") for part in ("train", "test"))
    if train and test and np.array_equal(train.steps, test.steps):
        series["generalization_gap"] = records.Series(train.steps, train.values - test.values)
    last = {f"{what}_seconds": seconds for what, seconds in run.seconds.items()}
    if run.steps:
        last["converged"] = float(run.status == "finished")
        if "loss" in series and run.steps >= 10:
            with np.errstate(invalid="ignore"):  # of a run that diverged
                last["loss_spread"] = float(np.std(series["loss"].values[-(run.steps // 5) :], dtype=np.float64))
        if examples := run.provenance.get("train_examples"):
            updates = max(examples // run.filled["training"]["batch_size"], 1)
            last["epochs"] = run.steps / updates
            guesses = run.provenance.get("classes", 0) > 1 and run.parts["objective"]["name"] == "cross_entropy"
            if guesses and "loss" in series:
                bound = records.LEARNED_BELOW * np.log(run.provenance["classes"])
                last["flat_epochs"] = _first_below(series["loss"].values, bound) / updates
    for name, value in last.items():
        series[name] = records.Series(np.array([run.steps]), np.array([value]))
    for path in tuned:
        value = functools.reduce(lambda part, key: part[key], path.split("."), run.parts)
        series[path] = records.Series(np.array([0]), np.array([value]))
    return series


def _first_below(losses, bound):
    """Return after how many updates the mean of the last 40, or of fewer at first, is below a bound."""
    count = np.arange(1, len(losses) + 1)
    with np.errstate(invalid="ignore", over="ignore"):  # of a run that diverged
        sums = np.concatenate([[0.0], np.cumsum(losses, dtype=np.float64)])
        means = (sums[1:] - sums[np.maximum(count - FLAT_WINDOW, 0)]) / np.minimum(count, FLAT_WINDOW)
    below = np.flatnonzero(means < bound)
    return int(below[0]) + 1 if len(below) else np.nan
