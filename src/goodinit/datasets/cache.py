"""Prepares data sets: each is written once as arrays, which every job maps into memory."""

import errno
import functools
import hashlib
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from goodinit.datasets import builtin, catalog, download, image_arrays, image_folder
from goodinit.errors import one_line

__all__ = ["ARRAYS", "load", "prepare"]

CHECKED = 4 * 2**30  # bytes: of a larger set, which would take long to read, only the lengths are checked
LISTED = 20_000  # pictures: a larger folder, which takes longer to list, is looked at by `prepare` alone
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def prepare(name: str, root: str | Path, **options) -> Path:
    """Write a set's arrays and manifest, unless they exist; return the manifest's path, see `catalog.manifest_path`.

    The manifest is written last, so a set that has one is whole.  Where arrays exist of a folder whose pictures have
    changed since, one line on standard error says so; nothing is written or deleted.

    Args:
        name: one of `mnist`, `cifar10`, `cifar100`, `digits`, `shapes`; or a set of pictures with their height and
            width, such as `imagenette-144`, `pictures-144`, or `folder-<folder>-144` of `root`/folders/<folder>.
        root: the data folder.
        options: `processes` and `allowed_bad` of `pictures.write`.

    Raises:
        OSError, ValueError: as in `load`, or pictures cannot be read.
    """
    root, parsed = Path(root), catalog.parse_name(name)
    manifest = catalog.manifest_path(name, root)
    folder = manifest.parent
    if manifest.exists():
        _report_changes(name, root, manifest)
        return manifest
    if folder != root / "prepared" / name:
        why = "below GOODINIT_PREPARED"
        if not os.environ.get("GOODINIT_PREPARED"):
            why = f"{root} cannot be written to; GOODINIT_PREPARED may name another place"
        print(f"{name}: the prepared arrays are written to {folder}: {why}", file=sys.stderr)
    if parsed is None:
        _write_facts(manifest, name, _prepare_arrays(name, root, folder))
        return manifest
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # it would wait for the one that started it
        raise ValueError(f"put what your script does under if __name__ == '__main__', or call goodinit prepare {name}")
    source, subfolder, size = parsed
    tree = _TREES[source](root, subfolder, size)
    with image_arrays.locked(folder):
        if not manifest.exists():  # made by another process in the meantime
            facts, labels = image_arrays.write(tree, folder, size, **options)
            for part, numbers in labels.items():
                _write(folder / f"{part}_labels.npy", lambda file, numbers=numbers: np.save(file, numbers))
            arrays = [np.load(folder / f"{key}.npy", mmap_mode="r") for key in ARRAYS]
            _write_facts(manifest, name, {"sha256": _checksum(arrays)} | facts)
    return manifest


@functools.lru_cache(maxsize=4)
def load(name: str, root: str) -> tuple[list[np.ndarray], dict]:
    """Map a set's arrays into memory; prepare it first where that has not been done.

    Args:
        name: of the set.
        root: the data folder, as text.

    Returns:
        The four arrays in the order of ARRAYS, images uint8 (N, C, H, W), labels int64 (N,), and the manifest.  Those
        of pictures must not be written to.

    Raises:
        OSError: the files are missing and cannot be downloaded, or cannot be read or written.
        ValueError: a file is damaged.
    """
    manifest = catalog.manifest_path(name, root)
    if not manifest.exists():
        prepare(name, root)
    mend = f"delete {manifest.parent} and run again"
    try:
        facts = json.loads(manifest.read_text())
        # A map that may be written to counts as memory in use, which a set of pictures may have more of than there is.
        mode = "c" if name in _SOURCES else "r"
        arrays = [np.load(manifest.with_name(f"{key}.npy"), mmap_mode=mode) for key in ARRAYS]
        examples = [facts["train_examples"], facts["test_examples"]]
        whole = [len(array) for array in arrays[::2]] == examples
        if sum(array.nbytes for array in arrays) <= CHECKED:
            whole = whole and _checksum(arrays) == facts["sha256"]
        whole = whole and facts["classes"]
    except (ValueError, KeyError, TypeError, EOFError, FileNotFoundError) as error:
        raise ValueError(f"{name}: the prepared arrays are damaged or incomplete ({error}): {mend}") from None
    if not whole:
        raise ValueError(f"{name}: the prepared arrays do not match their manifest's checksum: {mend}")
    if sum(examples) <= LISTED:
        _report_changes(name, root, manifest)
    return arrays, facts


def _report_changes(name: str, root: str | Path, manifest: Path) -> None:
    """Say on standard error where a folder's pictures are not those that its arrays were prepared from.

    The pictures' paths, sizes and times are compared, not their content.  Nothing is said of a folder that no longer
    exists, and of arrays whose manifest has no fingerprint, as before there was one.
    """
    parsed = catalog.parse_name(name)
    tree = Path(root, "folders", parsed[1]) if parsed and parsed[0] == "folder" else None
    if tree is None or not tree.is_dir():
        return
    try:
        before = json.loads(manifest.read_text()).get("fingerprint")
    except (OSError, ValueError, AttributeError):  # `load` reports it
        return
    if before is None:
        return
    try:
        if image_folder.fingerprint(image_folder.list_pictures(tree).parts) == before:
            return
        reason = "pictures were added, removed or changed, or have other times"
    except (OSError, ValueError) as error:
        reason = str(error)
    print(
        one_line(
            f"{name}: the folder differs from the one that the arrays were prepared from: {tree}: {reason}: to take "
            f"that in, delete {manifest.parent} and run goodinit prepare {name}"
        ),
        file=sys.stderr,
    )


def _prepare_arrays(name: str, root: Path, folder: Path) -> dict:
    """Write the arrays of a set of small images; return what its manifest says."""
    arrays = dict(zip(ARRAYS, _SOURCES[name](root), strict=True))
    checksum = _checksum(arrays.values())
    if checksum != catalog.OFFICIAL.get(name, checksum):
        raise ValueError(f"{name}: the files in {root} are not the official ones: delete them and run again")
    folder.mkdir(parents=True, exist_ok=True)
    for key, array in arrays.items():
        _write(folder / f"{key}.npy", lambda file, array=array: np.save(file, array))
    images = arrays["train_images"]
    channels = tuple(i for i in range(images.ndim) if i != 1)
    return {
        "sha256": checksum,
        "shape": list(images.shape[1:]),
        "classes": int(arrays["train_labels"].max()) + 1,
        "train_examples": len(images),
        "test_examples": len(arrays["test_images"]),
        "mean": (images.mean(channels) / 255).round(6).tolist(),
        "sd": (images.std(channels) / 255).round(6).tolist(),
    }


def _write_facts(manifest: Path, name: str, facts: dict) -> None:
    _write(manifest, lambda file: file.write((json.dumps({"name": name} | facts, indent=2) + "\n").encode()))


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under a temporary name, and rename it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            write(file)
        part.replace(path)
    except OSError as error:  # neither a full disk nor numpy says where
        raise OSError(error.errno or errno.ENOSPC, error.strerror or str(error), str(path)) from None
    finally:
        part.unlink(missing_ok=True)


def _checksum(arrays: Iterable[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _folder_tree(root: Path, folder: str, size: int) -> Path:
    tree = root / "folders" / folder
    if not tree.is_dir():
        raise ValueError(
            f"{tree}: there is no such folder: put one there, or a link to one, with {image_folder.LAYOUT}"
        )
    return tree


_SOURCES = {
    "mnist": download.mnist,
    "cifar10": functools.partial(download.cifar, classes=10),
    "cifar100": functools.partial(download.cifar, classes=100),
    "digits": builtin.digits,
    "shapes": builtin.shapes,
}
_TREES = {"imagenette": download.imagenette, "folder": _folder_tree, "pictures": builtin.pictures}
