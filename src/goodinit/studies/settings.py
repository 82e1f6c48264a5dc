"""Settings of the workflow, and the folders of studies and data."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from goodinit.errors import InputError
from goodinit.studies import strict_yaml

__all__ = ["check", "configs", "data_root"]


def check(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the workflow, checked and with defaults.

    Raises:
        InputError: a setting is unknown or wrong.
    """
    works = config.get("works")
    if isinstance(works, str):
        config = {**config, "works": [work for work in re.split(r"[,\s]+", works) if work]}
    try:
        return strict_yaml.validate(config, "config")
    except InputError as error:
        raise InputError(f"configs/config.yaml or --config: {error}") from None


def configs(given: str | None, checkout: Path) -> Path:
    """Return the folder of studies: the one given, else `configs` where that holds studies, else the checkout's.

    The checkout's is relative to the working directory, so that a renamed or moved checkout is the same folder.

    Args:
        given: the setting, or None.
        checkout: the folder of the Snakefile.
    """
    if given:
        return Path(given)
    return Path("configs" if any(Path("configs").glob("*/*.yaml")) else os.path.relpath(checkout / "configs"))


def data_root(given: str | None = None) -> Path:
    """Return the data folder: the one given, else the one that GOODINIT_DATA names, else `data`.

    Raises:
        InputError: a folder that was named does not exist; the default one, named or not, is created when it is needed.
    """
    name = given or os.environ.get("GOODINIT_DATA")
    if name and Path(name) != Path("data") and not Path(name).is_dir():
        origin = "data_root" if given else "GOODINIT_DATA"
        raise InputError(f"{origin}: {name} is not a folder: create it, or omit {origin} to use ./data")
    return Path(name or "data")
