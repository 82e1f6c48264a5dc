"""The result of LSUV for each layer, as a table."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["LSUVReport", "LayerRow"]

HEADER = ("layer", "shape", "std before", "std after", "rescalings", "note")


@dataclass
class LayerRow:
    """The result of LSUV for one layer.

    Args:
        name: the name of the layer in `model.named_modules()`, or of a parameter of another module.
        shape: the shape of the weight.
        std_before: standard deviation of the measured output before the first rescaling; None if it was not
            measured.
        std_after: standard deviation of the measured output after the last rescaling; None if it was not measured.
        rescalings: number of times that the weight was divided; None if the layer was not scaled.
        note: why the layer was not scaled, or a remark.
    """

    name: str
    shape: tuple[int, ...]
    std_before: float | None = None
    std_after: float | None = None
    rescalings: int | None = None
    note: str = ""

    @property
    def scaled(self) -> bool:
        """Whether the output of the layer was measured and its weight scaled if necessary."""
        return self.rescalings is not None

    def cells(self) -> tuple[str, ...]:
        """Return the row as text: one string for each column of `HEADER`."""
        before, after = ("" if std is None else f"{std:.4g}" for std in (self.std_before, self.std_after))
        rescalings = "" if self.rescalings is None else str(self.rescalings)
        return self.name, "x".join(map(str, self.shape)), before, after, rescalings, self.note


@dataclass(frozen=True)
class LSUVReport:
    """A row for each layer: first the scaled layers, in the order of the forward pass, then all others.

    `print(report)` prints a table and the note.

    Args:
        rows: the rows, in this order.
        note: a remark on the data, or an empty string.
    """

    rows: tuple[LayerRow, ...]
    note: str = ""

    @property
    def scaled(self) -> tuple[LayerRow, ...]:
        """The rows of the scaled layers, in the order of the forward pass."""
        return tuple(row for row in self.rows if row.scaled)

    @property
    def rescalings(self) -> Tensor:
        """The number of rescalings of each scaled layer, in the order of the forward pass, int64 (L,)."""
        return torch.tensor([row.rescalings for row in self.scaled], dtype=torch.int64)

    def __str__(self) -> str:
        table = [HEADER, *(row.cells() for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        align_right = [False, False, True, True, True, False]
        lines = (
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, align_right, strict=True)
            )
            for row in table
        )
        return "\n".join([*(line.rstrip() for line in lines), *filter(None, [self.note])])
