"""Provenance: on what, with which versions, code and data a run was trained; None where that is not known."""

import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

__all__ = ["code", "describe"]

PACKAGES = ("goodinit", "numpy", "torch", "torchvision")
PACKAGE = Path(__file__).resolve().parents[1]


def describe(device: str, threads: int, data_checksum: str | None) -> dict:
    """Return what a record says of how it was made: device, threads, versions, code, data."""
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
def code() -> dict[str, str | bool | None]:
    """Return the `commit` of the code, and whether it was `modified`, when this was first called in the process.

    Only the project's own repository counts, in which this package is committed as src/goodinit: a copy below
    another repository, or a package installed there, is not of that repository's commit. Modified is a checkout with
    a file in src or configs that is changed, or that git neither tracks nor ignores.

    Returns:
        `commit` (hexadecimal) and `modified`, both None where git or the repository is missing or not trusted.
    """
    root = PACKAGE.parents[1]
    unknown = {"commit": None, "modified": None}
    if root / "src" / "goodinit" != PACKAGE or _git(root, "rev-parse", "--show-prefix") != "":
        return unknown  # not laid out as a checkout, or not the top level of a work tree
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None or _git(root, "cat-file", "-e", f"{commit}:src/goodinit/__main__.py") is None:
        return unknown
    changes = _git(root, "status", "--porcelain", "--untracked-files=all", "--", "src", "configs")
    return {"commit": commit, "modified": None if changes is None else bool(changes)}


@functools.cache
def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(folder, *words):
    """Return what git prints about the repository around a folder, None where it fails.

    The variables with which a hook names another repository are left out; the index is not refreshed, so that jobs
    that run at once do not wait for its lock.
    """
    try:
        local = _run(["git", "rev-parse", "--local-env-vars"], os.environ).split()
        environment = {name: value for name, value in os.environ.items() if name not in local}
        return _run(["git", "--no-optional-locks", "-C", str(folder), *words], environment).strip()
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def _run(command, environment):
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
