"""The studies that a command line selects, and checks of its arguments."""

import argparse
import math
from collections.abc import Collection

from goodinit import studies
from goodinit.errors import InputError, nearest

__all__ = ["check_positive", "check_scale", "selected_studies"]


def check_positive(name: str, value: float | None) -> None:
    """Raise InputError unless an argument is absent or a finite number more than 0."""
    if value is not None and not 0 < value < math.inf:
        raise InputError(f"{name} must be more than 0 and finite, not {value:g}")


def check_scale(scale: str, scales: Collection[str] = studies.SCALES) -> None:
    """Raise InputError unless the scale is one of those allowed."""
    if scale not in scales:
        raise InputError(f"scale: unknown scale {scale!r}{nearest(scale, scales)}")


def selected_studies(options: argparse.Namespace, scales: Collection[str] = studies.SCALES) -> list[studies.Study]:
    """Load the studies that the command line names, or all.

    Args:
        options: `configs`, `scale` if the command has one, and `studies`, each of which is `<work>` or
            `<work>/<study>`.
        scales: the scales that are allowed.

    Raises:
        InputError: the scale, a work or a study does not exist, or the file of a study is invalid.
    """
    if hasattr(options, "scale"):
        check_scale(options.scale, scales)
    return studies.load_all(options.configs, options.studies)
