"""Samples for the tests of the report: numbers of runs, figures and claims."""

import numpy as np

from goodinit import records
from goodinit.report import claims

BASE = {"zeta": 10.0, "alpha": 20.0, "Mu": 30.0}


def numbers(run):
    """Return numbers that follow from labels, step and seed: without further axes, with layers, and with bins."""
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


# Figures of each kind except images.
INITS = ["zeta", "alpha", "Mu"]
LAST = [[0, 1, 7, 2, 0, 0], [2, 2, 2, 2, 1, 1], [0, 0, 0, 0, 1, 9]]  # counts of the first seed in each layer
FIGURES = {
    "loss": {"kind": "curves", "title": "Loss of a batch", "y": "loss", "hue": "init", "col": "model.activation",
             "smooth": 11, "y_limits": [0, 9]},
    "relu_alone": {"kind": "curves", "y": "loss", "hue": "init", "where": {"model.activation": "relu"}},
    "seconds": {"kind": "curves", "x": "training_seconds", "y": "loss", "hue": "init",
                "where": {"model.activation": "relu"}},
    "spread": {"kind": "curves", "x": "layer", "y": "spread", "hue": "init", "col": "model.activation", "log_y": True},
    "histogram": {"kind": "histogram", "each": "model.activation", "counts": "count", "edges": "edge", "row": "init",
                  "col": "layer"},
    "both": {"kind": "curves", "y": ["test_loss", "loss"], "hue": "metric", "col": "init", "wrap": 2,
             "where": {"model.activation": "relu"}},
    "path": {"kind": "path", "col": "init", "curvatures": [0.1, 2.0], "where": {"model.activation": "tanh"}},
    "cells": {"kind": "heat_map", "metric": "spread", "row": "init", "col": "layer",
              "where": {"model.activation": "tanh"}},
    "rates": {"kind": "scatter", "x": ["rate", "decay"], "y": "loss", "at": 3},
}  # fmt: skip


def numbers_of_figures(run):
    """Return numbers for `FIGURES`, different for each label and seed; the spread of zeta is 0 in layer 2."""
    offset = INITS.index(run.labels["init"]) + 3 * (run.labels["model.activation"] == "relu")
    noise = np.random.default_rng([offset, run.seed])
    spread = 10.0 ** -np.arange(3) * (1 + offset + run.seed) * np.ones((2, 1))
    spread[:, 1] *= run.labels["init"] != "zeta"
    counts = np.stack([np.ones((3, 6)), np.roll(LAST, offset + run.seed, axis=1)])
    return {
        "loss": records.Series(np.arange(1, 41), offset + noise.random(40)),
        "test_loss": records.Series(np.array([1, 20, 40]), 3 * offset + noise.random(3)),
        "rate": records.Series(np.array([0]), np.array([10.0**-offset])),
        "decay": records.Series(np.array([0]), np.array([2.0**-offset])),
        "position": records.Series(np.arange(5), noise.normal(size=(5, 2)), ("coordinate",)),
        "spread": records.Series(np.array([0, 4]), spread, ("layer",)),
        "count": records.Series(np.array([0, 4]), counts, ("layer", "bin")),
        "edge": records.Series(np.array([0, 4]), np.broadcast_to(np.arange(6) / 6, (2, 3, 6)), ("layer", "bin")),
    }


def lines_of(axis):
    """Return {label: line} of the curves of a panel, without the marks of zeros and ends."""
    return {line.get_label(): line for line in axis.get_lines() if line.get_marker() not in ("v", "x")}


def crosses_of(axis):
    """Return the crosses in a panel, without that of the legend."""
    return [line for line in axis.get_lines() if line.get_marker() == "x" and len(line.get_xdata())]


# Claims about three conditions, with one loss for each seed, and their verdicts at laptop scale.
A = {"metric": "loss", "where": {"condition": "A"}}
PAIR = {"metric": "loss", "order": [{"condition": "A"}, {"condition": "B"}], "best": "lowest"}
CONDITION_CLAIMS = [
    {"id": "a-is-low", "says": "A is low.", "source": "page 1", "test": {"within": {**A, "below": 2}}},
    {"id": "a-is-high", "says": "A is high.", "source": "page 2", "test": {"within": {**A, "above": 2}},
     "note": "According to the source."},
    {"id": "b-beats-c", "says": "B beats C.", "source": "page 3",
     "test": {"beats": {"metric": "loss", "better": {"condition": "B"}, "worse": {"condition": "C"},
                        "best": "lowest"}}},
    {"id": "in-order", "says": "A, then B?", "source": "page 4", "kind": "question", "test": {"ranks": PAIR}},
    {"id": "later", "says": "A stays low.", "source": "page 5", "test": {"within": {**A, "at": 1901, "below": 2}}},
    {"id": "as-reported", "says": "A has 1.15.", "source": "page 6", "test": {"agrees": {**A, "at": 1, "within": 0.5}}},
    {"id": "as-checked", "says": "B has 2.1.", "source": "page 6",
     "test": {"agrees": {"metric": "loss", "where": {"condition": "B"}, "at": 1, "within": 1.0}}},
]  # fmt: skip
CONDITION_REPORTED = [
    {"where": {"condition": "B"}, "metric": "loss", "at": 1, "value": 2.1, "source": "page 7", "verified": True},
    {"where": {"condition": "A"}, "metric": "loss", "at": 1, "value": 1.15, "source": "page 7", "verified": False},
]
CONDITIONS = {"A": [[1.0], [1.1], [1.2]], "B": [[2.0], [2.1], [2.25]], "C": [[1.0], [4.0], [4.5]]}


def judged_conditions(workspace, scale="laptop", **changes):
    """Return a study with these claims, and the verdicts on them."""
    study, frame = workspace.conditions(
        {"loss": CONDITIONS}, **{"claims": CONDITION_CLAIMS, "reported": CONDITION_REPORTED} | changes
    )
    return study, claims.judge(study, scale, frame)


# A study with claims, a reported number and a figure; its verdicts at laptop scale are 1 replicated, 1 contradicted and
# 1 unverified, and 1 question that is answered with yes.
CLAIMS = [
    {"id": "low", "says": "It is low.", "source": "here", "test": {"within": {"metric": "loss", "below": 10.0}}},
    {"id": "high", "says": "It is high.", "source": "here", "test": {"within": {"metric": "loss", "above": 10.0}}},
    {"id": "asked", "says": "Is it low?", "source": "here", "kind": "question",
     "test": {"within": {"metric": "loss", "below": 10.0}}},
    {"id": "two", "says": "It is 2.", "source": "here",
     "test": {"agrees": {"where": {"init": "zeta", "model.activation": "tanh"}, "metric": "loss", "at": 4,
                         "within": 0.5}}},
]  # fmt: skip
REPORTED = [{"where": {"init": "zeta", "model.activation": "tanh"}, "metric": "loss", "at": 4, "value": 2.0,
             "source": "Table 1", "verified": False}]  # fmt: skip
LOSS_FIGURE = {"loss": {"kind": "curves", "y": "loss", "hue": "init", "col": "model.activation"}}


def decreasing_loss(run, factor=1.0):
    """Return a loss that decreases over four steps to a value that depends on init and seed."""
    last = 2.0 + INITS.index(run.labels["init"]) + 0.02 * run.seed
    return {"loss": records.Series(np.arange(1, 5), factor * (last + np.arange(4.0)[::-1]))}


# Accuracies of a random search: four trials, two seeds, the steps 1 and 2.
ACCURACY = [[[3.0, 9], [1.0, 9]], [[4.0, 1], [6.0, 1]], [[2.0, 5], [8.0, 5]], [[2.0, 7], [0.0, 7]]]
HIGHEST = {"metric": "accuracy", "best": "highest", "at": 1}


def loss_frame(workspace, losses, **changes):
    """Return the frame of conditions with one or more values for each seed."""
    losses = {label: np.array(values, dtype=float) for label, values in losses.items()}
    losses = {label: values[:, None] if values.ndim == 1 else values for label, values in losses.items()}
    return workspace.conditions({"loss": losses}, **changes)[1]
