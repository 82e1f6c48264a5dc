"""A condition whose runs diverged is never left out of a comparison."""

import numpy as np
import pytest
from sample_results import loss_frame

from goodinit.report import measures, predicates

LOSSES = {"A": [1.0, 1.1, 1.2], "B": [2.0, 2.1, 2.2], "C": [3.0, 3.1, 3.2]}
SIDES = {"better": {"condition": "A"}, "worse": {"condition": "B"}, "metric": "loss", "best": "lowest"}


def test_a_difference_is_a_median_where_both_sides_diverged(workspace):
    """Two of six seeds diverged in both conditions: their difference is 0, but nobody measured it."""
    diverged = [np.nan] * 2
    frame = loss_frame(workspace, {"A": [*diverged, 1.0, 1.1, 1.2, 1.3], "B": [*diverged, 3.0, 3.1, 3.2, 3.3]})
    evidence = predicates.beats(frame, **SIDES)
    assert (evidence.method, evidence.low, evidence.decision) == ("median, order statistics", 0, "inconclusive")


@pytest.mark.parametrize("diverged", [False, True])
def test_a_condition_that_diverged_before_it_recorded_a_metric_is_not_left_out(workspace, diverged):
    """A condition that has no values of a metric because its runs do not record it is left out."""
    metrics = {"loss": {label: np.array(values)[:, None] for label, values in LOSSES.items()}}
    frame = workspace.conditions(metrics | {"accuracy": metrics["loss"]})[1]
    frame = frame[(frame["metric"] == "loss") | (frame["condition"] != "C")]
    if diverged:
        status = frame["status"].astype(str).where(frame["condition"] != "C", "diverged").astype("category")
        frame = frame.assign(status=status)
        with pytest.raises(measures.NotRun, match="metric: 'accuracy' has no value in 3 of 9 runs"):
            predicates.within(frame, metric="accuracy", below=9)
    else:
        assert predicates.within(frame, metric="accuracy", below=9).decision == "replicated"
