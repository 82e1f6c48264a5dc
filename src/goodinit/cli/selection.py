"""The studies that a command line selects, and checks of its arguments."""

import argparse
import math
from collections.abc import Collection, Sequence

from goodinit import studies
from goodinit.errors import InputError, nearest

__all__ = ["check_positive", "check_scale", "reject_studies", "selected_studies", "without_runs"]


def check_positive(name: str, value: float | None) -> None:
    """Raise InputError unless an argument is absent or a finite number more than 0."""
    if value is not None and not 0 < value < math.inf:
        raise InputError(f"{name} must be more than 0 and finite, not {value:g}")


def check_scale(scale: str, scales: Collection[str] = studies.SCALES) -> None:
    """Raise InputError unless the scale is one of those allowed."""
    if scale not in scales:
        raise InputError(f"scale: unknown scale {scale!r}{nearest(scale, scales)}")


def reject_studies(command: str, given: Sequence[str], reason: str) -> None:
    """Raise InputError if the command line names studies for a command that is about all of them."""
    if given:
        raise InputError(f"{command}: {', '.join(given)}: {reason}: omit {'it' if len(given) == 1 else 'them'}")


def without_runs(selected: Sequence[studies.Study], scale: str) -> str:
    """Return why some studies have no runs at a scale, and what to do."""
    names = ", ".join(study.full_name for study in selected)
    others = [other for other in studies.SCALES if any(study.runs(other) for study in selected)]
    instead = f"; they have runs at {', '.join(others)} scale" if others else ""
    return f"no runs at {scale} scale, where the files of {names} set seeds: 0{instead}"


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
