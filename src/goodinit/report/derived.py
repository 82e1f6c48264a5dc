"""Metrics that follow from what a record holds, such as the generalization gap and the number of epochs."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from goodinit import records, studies
from goodinit.steps import steps_per_epoch

__all__ = ["with_derived"]

LOSS_WINDOW = 40  # updates over which the loss is averaged, as the loss of one mini-batch varies


def with_derived(record: records.RunRecord, tuned: Sequence[str] = ()) -> dict[str, records.Series]:
    """Return the series of a run, and the metrics that follow from them.

    Series with axes other than those of `records.AXES`, such as those of an image, are left out.  What was observed of
    a run after the update at which it diverged and stopped is NaN, as are the losses of later updates.  The derived
    metrics:

    - `generalization_gap`: the accuracy on the training set minus that on the test set.
    - `oscillation`: the distance that a path has moved along each coordinate beyond the net displacement.
    - At step 0, each hyper-parameter that a random search drew, such as `optimizer.lr`.
    - `gradient_variance_spread` and `weight_gradient_variance_spread`: the standard deviation over the layers of the
      decimal logarithm of the variance, 0 if all layers have the same; NaN where a variance is 0.
    - At the last step of a run that trains, `converged`, 1 if it finished and the mean loss of its last 40 updates is
      below `records.guessing_bound` where there is one, else 0; `diverged`, 1 or 0; `loss_spread`, the standard
      deviation of the loss over the last fifth of the updates on the full data set, NaN if these are fewer than 10;
      seconds, such as `training_seconds`; `epochs`, if the record holds the number of examples; and `flat_epochs`, if
      there is a bound: the epochs until the mean loss of 40 updates first falls below `records.guessing_bound`, NaN if
      it never does.

    Args:
        record: of the run.
        tuned: the dotted paths of the hyper-parameters that were drawn.
    """
    series = {name: values for name, values in record.series.items() if set(values.dimensions) <= set(records.AXES)}
    if record.diverged_at is not None and record.filled["training"]["stop_when_diverged"]:
        series = {name: _before_divergence(values, record.diverged_at, name) for name, values in series.items()}
    train, test = series.get("train_accuracy"), series.get("test_accuracy")
    if train and test and np.array_equal(train.steps, test.steps):
        series["generalization_gap"] = records.Series(train.steps, train.values - test.values)
    if position := series.get("position"):
        series["oscillation"] = position._replace(values=_oscillation(position.values))
    for name in ("gradient_variance", "weight_gradient_variance"):
        if variances := series.get(name):
            series[f"{name}_spread"] = records.Series(variances.steps, _spread(variances.values))
    last = {f"{activity}_seconds": seconds for activity, seconds in record.seconds.items()}
    if record.steps:
        last |= _at_end(record, series["loss"].values if "loss" in series else None)
    for name, value in last.items():
        series[name] = records.Series(np.array([record.steps]), np.array([value]))
    for path in tuned:
        drawn: Any = functools.reduce(lambda part, key: part[key], path.split("."), record.parts)
        series[path] = records.Series(np.array([0]), np.array([drawn]))
    return series


def _before_divergence(series: records.Series, diverged_at: int, name: str) -> records.Series:
    """Return a series with NaN from the step at which the run diverged, the loss after it; integers are unchanged."""
    if not np.issubdtype(series.values.dtype, np.floating):
        return series
    last = diverged_at if name == "loss" else diverged_at - 1  # the loss at that step is the one that is too large
    before = (series.steps <= last).reshape(-1, *[1] * (series.values.ndim - 1))
    return series._replace(values=np.where(before, series.values, np.nan))


def _at_end(record: records.RunRecord, losses: np.ndarray | None) -> dict[str, float]:
    """Return the metrics of a run that trained as a whole."""
    classes = record.provenance.get("classes") or studies.number_of_classes(record.parts)  # earlier records lack it
    bound = records.guessing_bound(record.parts, classes)
    converged = record.status == "finished"
    if bound is not None and losses is not None:
        with np.errstate(invalid="ignore", over="ignore"):  # the losses of a run that diverged
            converged &= bool(np.mean(losses[-LOSS_WINDOW:], dtype=np.float64) < bound)
    metrics = {"converged": float(converged), "diverged": float(record.status == "diverged")}
    if losses is not None:
        updates_on_subsets = sum(record.filled["curriculum"].get("stage_steps", []))
        window = (record.steps - updates_on_subsets) // 5
        with np.errstate(invalid="ignore"):  # the losses of a run that diverged
            metrics["loss_spread"] = float(np.std(losses[-window:], dtype=np.float64)) if window >= 2 else np.nan
    if examples := record.provenance.get("train_examples"):
        updates = steps_per_epoch(examples, record.filled["training"]["batch_size"])
        metrics["epochs"] = record.steps / updates
        if bound is not None and losses is not None:
            metrics["flat_epochs"] = _first_below(losses, bound) / updates
    return metrics


def _spread(variances: np.ndarray) -> np.ndarray:
    """Return the standard deviation of the decimal logarithms of variances over the layers.

    Args:
        variances: shape (T, L).

    Returns:
        Shape (T,).
    """
    with np.errstate(divide="ignore", invalid="ignore"):  # a variance of 0
        return np.asarray(np.std(np.log10(variances, dtype=np.float64), axis=1, ddof=1))


def _oscillation(positions: np.ndarray) -> np.ndarray:
    r"""Return the distance that was moved along each coordinate beyond the net displacement.

    .. math:: \sum_{s \le t} |x_s - x_{s-1}| - |x_t - x_0|

    It is 0 as long as a coordinate only increases or only decreases.

    Args:
        positions: shape (T, D), the first one being the start.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # the positions of a run that diverged
        distances = np.abs(np.diff(positions, axis=0, prepend=positions[:1])).cumsum(axis=0)
        return np.asarray(distances - np.abs(positions - positions[0]))


def _first_below(losses: np.ndarray, bound: float) -> float:
    """Return the number of updates after which the mean of the last 40 losses, or of all so far, is below a bound."""
    count = np.arange(1, len(losses) + 1)
    with np.errstate(invalid="ignore", over="ignore"):  # the losses of a run that diverged
        sums = np.concatenate([[0.0], np.cumsum(losses, dtype=np.float64)])
        means = (sums[1:] - sums[np.maximum(count - LOSS_WINDOW, 0)]) / np.minimum(count, LOSS_WINDOW)
    below = np.flatnonzero(means < bound)
    return int(below[0]) + 1 if len(below) else np.nan
