"""The look of the figures: matplotlib's own defaults with the changes in STYLE, whatever the user has set."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

__all__ = ["COLORS", "DASHES", "STYLE", "context"]

# Okabe and Ito's colors, told apart by the color-blind, ordered so that neighbors differ in grey too;
# the dashes tell them apart where there is no color at all.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#000000", "#CC79A7", "#56B4E9", "#D55E00", "#B8A500", "#7F7F7F")
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1)))
STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "font.size": 9,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "savefig.dpi": 150,
    "svg.hashsalt": "goodinit",
}


@contextlib.contextmanager
def context() -> Iterator[None]:
    """Draw with matplotlib's defaults and STYLE inside the block; the user's settings are back after it.

    Figures are created and saved without pyplot, so the backend follows from the file format; the user's is not
    touched.
    """
    with matplotlib.rc_context(_without_backend(matplotlib.rcParamsDefault) | STYLE):
        yield


def _without_backend(settings: "matplotlib.RcParams") -> dict[str, Any]:
    """Return all settings but the backend: reading that would choose one, and import pyplot."""
    return {name: settings[name] for name in settings if name != "backend"}


@contextlib.contextmanager
def _without_settings() -> Iterator[None]:
    """Hide the user's settings of matplotlib inside the block.

    matplotlib reads them when it is imported, and the import fails where the backend is not installed or a file
    cannot be read. A matplotlibrc in the working directory comes before all others: only another directory hides it.
    """
    hidden = {"MPLBACKEND": "", "MATPLOTLIBRC": os.devnull}
    before = {name: os.environ.get(name) for name in hidden}
    elsewhere = contextlib.chdir(sys.prefix) if os.path.exists("matplotlibrc") else contextlib.nullcontext()
    os.environ.update(hidden)
    try:
        with elsewhere:
            yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _load_settings() -> None:
    """Load the user's settings, as the import does, for whoever draws in the same process; skip what is broken."""
    backend = os.environ.get("MPLBACKEND")
    with warnings.catch_warnings(action="ignore"), contextlib.suppress(OSError, ValueError):
        settings = matplotlib.rc_params()
        own = _without_backend(settings)
        matplotlib.rcParams.update(own)
        matplotlib.rcParamsOrig.update(own)
        backend = backend or dict.get(settings, "backend")  # as it is written: RcParams would choose one
    if isinstance(backend, str):
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = backend


if "matplotlib" in sys.modules:
    import matplotlib
else:
    with _without_settings():
        import matplotlib
    _load_settings()
