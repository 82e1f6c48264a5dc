"""Check of the values that diagnostics return: a record and the report interpret an array by its name."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from goodinit.errors import InputError
from goodinit.methods import diagnostics

__all__ = ["DiagnosticValues"]

SPLITS = ("train", "validation", "test")
RESERVED = ("loss", "rescalings", "subset")  # series that every training run, an initializer or a curriculum records


class DiagnosticValues:
    """The names that the diagnostics of a training run use for their values.

    Args:
        metrics: the names of the metrics of the objective, which no diagnostic may use.
    """

    def __init__(self, metrics: Iterable[str]) -> None:
        every_step = (*RESERVED, *metrics)
        evaluated = (f"{split}_{name}" for split, name in itertools.product(SPLITS, ("loss", *metrics)))
        self._owners: dict[str, tuple[int, str]] = dict.fromkeys((*every_step, *evaluated), (-1, "the training"))

    def check(self, number: int, diagnostic: str, values: Mapping[str, Any]) -> None:
        """Check what a diagnostic observes at one step.

        Args:
            number: the position of the diagnostic among those of the run.
            diagnostic: its name.
            values: {name: array or number}.

        Raises:
            InputError: they are not a dict of numbers and numeric arrays, another diagnostic or the training uses a
                name, or `diagnostics.DIMENSIONS` does not name one axis for each dimension of an array.
        """
        if not isinstance(values, Mapping):
            raise InputError(f"{diagnostic}: must return {{name: array or number}}, not {type(values).__name__}")
        for name, value in values.items():
            owner = self._owners.setdefault(name, (number, diagnostic))
            if owner != (number, diagnostic):
                raise InputError(
                    f"{diagnostic}: {name!r}: {owner[1]} already records values of this name: rename those of the "
                    "diagnostic"
                )
            _check_axes(diagnostic, name, value)


def _check_axes(diagnostic: str, name: str, value: Any) -> None:
    """Check that an array is numeric, and that `diagnostics.DIMENSIONS` names its axes."""
    try:
        array = np.asarray(value)
    except (RuntimeError, TypeError, ValueError):  # such as a tensor on a GPU, or lists of different lengths
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        raise InputError(
            f"{diagnostic}: {name!r} must be a number or a numeric array on the CPU, not {type(value).__name__}"
        )
    axes = diagnostics.DIMENSIONS.get(name, ())
    if len(axes) == array.ndim:
        return
    named = f"names the axes {', '.join(axes)}" if axes else f"does not name {name!r}"
    fix = f"return an array with {len(axes)} dimensions, or name" if axes else "name"
    raise InputError(
        f"{diagnostic}: {name!r} has the shape {array.shape}, but goodinit.methods.diagnostics.DIMENSIONS {named}: "
        f"{fix} one axis there for each dimension"
    )
