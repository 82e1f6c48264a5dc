"""The style of the figures: matplotlib's defaults with the changes in STYLE, independent of the user's settings."""

import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

__all__ = ["COLORS", "DASHES", "MAX_VECTOR_POINTS", "STYLE", "Dash", "context", "import_seaborn"]

Dash = str | tuple[float, tuple[float, ...]]

# The palette of Okabe and Ito, which color-blind readers can distinguish, ordered so that neighbors also differ in
# gray; the dashes distinguish lines without color.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#000000", "#CC79A7", "#56B4E9", "#D55E00", "#B8A500", "#7F7F7F")
DASHES: tuple[Dash, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1)))
MAX_VECTOR_POINTS = 1000  # bands and clouds of more points are pixels in an SVG file, which has megabytes otherwise
STYLE: "dict[RcKeyType, Any]" = {
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
    """Draw with matplotlib's defaults and STYLE inside the block, and restore the user's settings after it.

    Figures are created and saved without pyplot, so that the format of the file decides the backend; that of the user
    does not change.
    """
    with matplotlib.rc_context(_without_backend(matplotlib.rcParamsDefault) | STYLE):
        yield


def import_seaborn() -> ModuleType:
    """Import seaborn without the user's style sheets, which pyplot reads when it is imported and which may be invalid.

    The import takes more than a second: only figures that use seaborn call this function.
    """
    get_configdir = matplotlib.get_configdir
    matplotlib.get_configdir = lambda: os.devnull
    try:
        return importlib.import_module("seaborn")
    finally:
        matplotlib.get_configdir = get_configdir


def _without_backend(settings: "matplotlib.RcParams") -> "dict[RcKeyType, Any]":
    """Return all settings except the backend: reading that would choose one, and import pyplot."""
    return {name: settings[name] for name in settings if name != "backend"}


@contextlib.contextmanager
def _without_settings() -> Iterator[None]:
    """Hide the user's settings of matplotlib inside the block.

    matplotlib reads them when it is imported, and the import fails if the backend is not installed or a file cannot be
    read. A matplotlibrc in the working directory takes precedence over all others: only another directory hides it.
    """
    hidden = {"MPLBACKEND": "", "MATPLOTLIBRC": os.devnull}
    previous = {name: os.environ.get(name) for name in hidden}
    directory = contextlib.chdir(sys.prefix) if os.path.exists("matplotlibrc") else contextlib.nullcontext()
    os.environ.update(hidden)
    try:
        with directory:
            yield
    finally:
        for name, value in previous.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _load_settings() -> None:
    """Load the user's settings, as the import does, for other figures of the process; skip invalid settings."""
    backend = os.environ.get("MPLBACKEND")
    with warnings.catch_warnings(action="ignore"), contextlib.suppress(OSError, ValueError):
        settings = matplotlib.rc_params()
        others = _without_backend(settings)
        matplotlib.rcParams.update(others)
        matplotlib.rcParamsOrig.update(others)
        backend = backend or dict.get(settings, "backend")  # the value as written: RcParams would choose one
    if isinstance(backend, str):
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = backend


if "matplotlib" in sys.modules:
    import matplotlib
else:
    with _without_settings():
        import matplotlib
    _load_settings()
