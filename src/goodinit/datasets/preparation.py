"""Preparation of a data set by its name."""

from pathlib import Path
from typing import Any

from goodinit.datasets import cache, catalog, sets
from goodinit.errors import InputError, input_errors, nearest

__all__ = ["prepare"]


def prepare(name: str, data_root: str | Path, **options: Any) -> Path:
    """Prepare a data set; return the path of its manifest.

    Args:
        name: such as `mnist` or `imagenette-144`.
        data_root: the data folder.
        options: of `cache.prepare`.

    Raises:
        InputError: there is no such data set, its files are missing or damaged, or the folder cannot be used.
    """
    names = set(sets.__all__) - {*catalog.GENERATED_PER_RUN, *catalog.PREPARED_PER_OPTIONS}
    with input_errors():
        if name not in names and not catalog.parse_name(name):
            examples = {"imagenette-144", "pictures-144", "folder-NAME-144"}
            raise InputError(f"{name}: not a data set that is prepared{nearest(name, names | examples)}")
        return cache.prepare(name, data_root, **options)
