"""A recorded run."""

import numpy as np

from goodinit import records

FILLED = {
    "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.0},
    "training": {"steps": 3, "epochs": None},
    "diagnostics": [{"name": "activations", "bins": 30}],
}


def make_run(name="aaaa", **changes):
    """Return a finished run with FILLED as its specification, or with changes."""
    fields = {
        "id": name,
        "seed": 7,
        "parts": {"optimizer": {"name": "sgd", "lr": 0.1}},
        "filled": FILLED,
        "status": "finished",
        "diverged_at": None,
        "steps": 3,
        "seconds": {"training": 1.25},
        "provenance": {"device": "cpu", "packages": {"numpy": "2"}},
        "series": {"loss": records.Series(np.array([1, 2, 3]), np.arange(3) / 8)},
    }
    return records.RunRecord(**fields | changes)
