"""The studies that a command line selects."""

import argparse
from collections.abc import Collection

from goodinit import studies
from goodinit.errors import InputError, nearest

__all__ = ["check_scale", "selected_studies"]


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
