"""Provenance of a run: the device, versions, code and data it was trained with; None for what is unknown."""

import functools
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

__all__ = ["CodeVersion", "code", "describe"]

PACKAGES = ("goodinit", "numpy", "torch", "torchvision")
PACKAGE = Path(__file__).resolve().parents[1]


class CodeVersion(TypedDict):
    """The commit of the code, hexadecimal, and whether it was modified; None where unknown."""

    commit: str | None
    modified: bool | None


def describe(device: str, threads: int, data_checksum: str | None) -> dict[str, Any]:
    """Return the provenance of a run that is trained by this process.

    Args:
        device: name of the GPU, or `cpu`.
        threads: number of CPU threads.
        data_checksum: SHA-256 of the data set, if it has one.
    """
    return {
        "device": device,
        "threads": threads,
        "data_sha256": data_checksum,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        **code(),
    }


@functools.cache
def code() -> CodeVersion:
    """Return the version of the code at the first call in the process.

    Only the project's own repository counts, in which this package is committed as src/goodinit: a copy inside
    another repository, or a package installed there, does not belong to that repository's commit. A checkout is
    modified if a file in src or configs is changed, or is neither tracked nor ignored by git.

    Returns:
        `commit` and `modified`, both None if git or the repository is missing or not trusted.
    """
    root = PACKAGE.parents[1]
    unknown: CodeVersion = {"commit": None, "modified": None}
    if root / "src" / "goodinit" != PACKAGE or _git(root, "rev-parse", "--show-prefix") != "":
        return unknown  # not laid out as a checkout, or not the top level of a work tree
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None or _git(root, "cat-file", "-e", f"{commit}:src/goodinit/__main__.py") is None:
        return unknown
    changes = _git(root, "status", "--porcelain", "--untracked-files=all", "--", "src", "configs")
    return {"commit": commit, "modified": None if changes is None else bool(changes)}


@functools.cache
def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of git for the repository around a folder, or None if it fails.

    The variables by which a git hook selects another repository are removed. The index is not refreshed, so that
    concurrent jobs do not wait for its lock.
    """
    try:
        local = _run(["git", "rev-parse", "--local-env-vars"], os.environ).split()
        environment = {name: value for name, value in os.environ.items() if name not in local}
        return _run(["git", "--no-optional-locks", "-C", str(folder), *arguments], environment).strip()
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def _run(command: list[str], environment: Mapping[str, str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
