"""What LSUV did to each layer, as a table."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["LSUVReport", "LayerRow"]

HEADER = ("layer", "shape", "std before", "std after", "rescalings", "note")


@dataclass
class LayerRow:
    """What LSUV did to one layer.

    Args:
        name: of the layer, as in `model.named_modules()`, or of a parameter that belongs to no such layer.
        shape: of the weight.
        std_before: standard deviation of the measured output before the first rescaling; None if the layer was not
            scaled.
        std_after: the same after the last.
        rescalings: how often the weight was divided; None if the layer was not scaled.
        note: why it was left alone, or what else there is to say.
    """

    name: str
    shape: tuple[int, ...]
    std_before: float | None = None
    std_after: float | None = None
    rescalings: int | None = None
    note: str = ""

    @property
    def scaled(self) -> bool:
        """Whether the layer's output was measured, and its weight scaled where that was necessary."""
        return self.rescalings is not None

    def cells(self) -> tuple[str, ...]:
        """Return the row as text, one string for each column of `HEADER`."""
        before, after = ("" if std is None else f"{std:.4g}" for std in (self.std_before, self.std_after))
        rescalings = "" if self.rescalings is None else str(self.rescalings)
        return self.name, "x".join(map(str, self.shape)), before, after, rescalings, self.note


@dataclass(frozen=True)
class LSUVReport:
    """A row for each layer: those that were scaled, in the order of the forward pass, then all others.

    It prints as a table.

    Args:
        rows: the rows.
    """

    rows: tuple[LayerRow, ...]

    @property
    def scaled(self) -> tuple[LayerRow, ...]:
        """The rows of the layers that were scaled, in the order of the forward pass."""
        return tuple(row for row in self.rows if row.scaled)

    @property
    def rescalings(self) -> Tensor:
        """How often each scaled layer was rescaled, in the order of the forward pass, int64 (L,)."""
        return torch.tensor([row.rescalings for row in self.scaled], dtype=torch.int64)

    def __str__(self) -> str:
        table = [HEADER, *(row.cells() for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        right = [False, False, True, True, True, False]
        lines = (
            "  ".join(
                cell.rjust(width) if number else cell.ljust(width)
                for cell, width, number in zip(row, widths, right, strict=True)
            )
            for row in table
        )
        return "\n".join(line.rstrip() for line in lines)
