"""Prepares data sets: each is written once as arrays, which every job maps into memory."""

import functools
import json
import logging
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from goodinit.datasets import builtin, catalog, download, image_arrays, image_folder
from goodinit.datasets.arrays import Arrays, checksum, map_arrays
from goodinit.datasets.catalog import Manifest
from goodinit.errors import one_line
from goodinit.files import locked, open_replacement, replace_file

__all__ = ["Prepared", "load", "prepare"]

LOGGER = logging.getLogger(__name__)
MAX_CHECKED_BYTES = 4 * 2**30  # of larger arrays, which take long to read, only the lengths are checked
MAX_LISTED_IMAGES = 20_000  # of a larger image folder, which takes long to list, only `prepare` reports changes


class Prepared(NamedTuple):
    """Arrays that are mapped into memory, and their manifest."""

    arrays: Arrays
    manifest: Manifest


def prepare(
    name: str,
    root: str | Path,
    *,
    processes: int | None = None,
    allowed_bad: float = image_arrays.ALLOWED_BAD,
) -> Path:
    """Write the arrays and the manifest of a data set, unless they exist; return the path of the manifest.

    The manifest is written last, so that a data set with a manifest is complete. If the arrays of an image folder
    exist, and its images have changed, a warning is logged; nothing is written or deleted.

    Args:
        name: `mnist`, `cifar10`, `cifar100`, `digits` or `shapes`; or an image folder with the height and width of its
            prepared images: `imagenette-144`, `pictures-144`, or `folder-<folder>-144` for `root`/folders/<folder>.
        root: the data folder.
        processes: number of processes that decode image files; None means one for each processor.
        allowed_bad: share of the image files that may be unreadable.

    Raises:
        OSError: files are missing and cannot be downloaded, or cannot be read or written.
        ValueError: a file is damaged, there is no such image folder, or too many images are unreadable.
    """
    root, parsed = Path(root), catalog.parse_name(name)
    manifest = catalog.manifest_path(name, root)
    folder = manifest.parent
    if manifest.exists():
        _report_changes(name, root, manifest)
        return manifest
    if folder != root / "prepared" / name:
        reason = "because of GOODINIT_PREPARED"
        if not os.environ.get("GOODINIT_PREPARED"):
            reason = f"{root} cannot be written; GOODINIT_PREPARED can name another folder"
        LOGGER.warning("%s: the prepared arrays are written to %s: %s", name, folder, reason)
    is_inheriting = getattr(multiprocessing.current_process(), "_inheriting", False)  # a worker imports the main script
    if parsed and is_inheriting:
        raise ValueError(f"put your script's code under if __name__ == '__main__', or call goodinit prepare {name}")
    with locked(folder):
        if manifest.exists():
            return manifest  # another process has prepared it
        if parsed is None:
            _prepare_arrays(name, root, manifest)
            return manifest
        tree = _FOLDERS[parsed.source](root, parsed.folder, parsed.size)
        labels, facts = image_arrays.write(tree, folder, parsed.size, processes=processes, allowed_bad=allowed_bad)
        for split, numbers in labels.items():
            _save(folder / f"{split}_labels.npy", numbers)
        _write_manifest(manifest, {"name": name, "sha256": checksum(map_arrays(folder))} | facts)
        image_arrays.remove_progress(folder)
    return manifest


@functools.lru_cache(maxsize=4)
def load(name: str, root: str) -> Prepared:
    """Map the arrays of a data set into memory; prepare it first if necessary.

    Args:
        name: as in `prepare`.
        root: the data folder.

    Returns:
        The arrays and the manifest. The arrays of image folders are read-only.

    Raises:
        OSError, ValueError: as in `prepare`, or the arrays are damaged or incomplete.
    """
    path = catalog.manifest_path(name, root)
    if not path.exists():
        prepare(name, root)
    hint = f"delete {path.parent} and run again"
    try:
        manifest: Manifest = json.loads(path.read_text())
        # A map that may be written counts as used memory, of which an image folder can need more than there is.
        arrays = map_arrays(path.parent, writable=name in _SMALL_IMAGES)
        examples = [manifest["train_examples"], manifest["test_examples"]]
        matches = [len(arrays.train_images), len(arrays.test_images)] == examples
        if sum(array.nbytes for array in arrays) <= MAX_CHECKED_BYTES:
            matches = matches and checksum(arrays) == manifest["sha256"]
        statistics = [float(value) for key in ("mean", "sd") for value in manifest[key]]
        matches = matches and int(manifest["classes"]) > 0 and len(statistics) == 2 * manifest["shape"][0]
    except (ValueError, LookupError, TypeError, EOFError, FileNotFoundError) as error:
        raise ValueError(f"{name}: the prepared arrays are damaged or incomplete ({error}): {hint}") from None
    if not matches:
        raise ValueError(f"{name}: the prepared arrays do not match their manifest: {hint}")
    if sum(examples) <= MAX_LISTED_IMAGES:
        _report_changes(name, root, path)
    return Prepared(arrays, manifest)


def _report_changes(name: str, root: str | Path, manifest: Path) -> None:
    """Log a warning if the images of a folder are not those from which its arrays were prepared.

    The paths, sizes and times of the images are compared, not their content. Folders that no longer exist, and
    manifests without a fingerprint, as in earlier versions, are not checked.
    """
    parsed = catalog.parse_name(name)
    if parsed is None or parsed.folder is None or not (tree := Path(root, "folders", parsed.folder)).is_dir():
        return
    try:
        before = json.loads(manifest.read_text()).get("fingerprint")
    except (OSError, ValueError, AttributeError):  # `load` reports it
        return
    if before is None:
        return
    try:
        if image_folder.fingerprint(image_folder.list_images(tree).splits) == before:
            return
        reason = "images were added, removed or changed, or have other times"
    except (OSError, ValueError) as error:
        reason = str(error)
    message = f"{name}: the folder differs from that from which the arrays were prepared: {tree}: {reason}: to use it, "
    LOGGER.warning("%s", one_line(f"{message}delete {manifest.parent} and run goodinit prepare {name}"))


def _prepare_arrays(name: str, root: Path, manifest: Path) -> None:
    """Write the arrays of a data set of small images, and its manifest."""
    arrays = _SMALL_IMAGES[name](root)
    sha256 = checksum(arrays)
    if sha256 != catalog.CHECKSUMS.get(name, sha256):
        raise ValueError(f"{name}: the files in {root} are not the official ones: delete them and run again")
    for key, array in arrays._asdict().items():
        _save(manifest.with_name(f"{key}.npy"), array)
    images = arrays.train_images
    facts = {
        "name": name,
        "sha256": sha256,
        "shape": list(images.shape[1:]),
        "classes": int(arrays.train_labels.max()) + 1,
        "train_examples": len(images),
        "test_examples": len(arrays.test_images),
        "mean": (images.mean((0, 2, 3)) / 255).round(6).tolist(),
        "sd": (images.std((0, 2, 3)) / 255).round(6).tolist(),
    }
    _write_manifest(manifest, facts)


def _save(path: Path, array: np.ndarray[Any, Any]) -> None:
    with open_replacement(path) as file:
        np.save(file, array)


def _write_manifest(path: Path, content: dict[str, Any]) -> None:
    replace_file(path, (json.dumps(content, indent=2) + "\n").encode())


def _user_folder(root: Path, folder: str | None, size: int) -> Path:
    tree = root / "folders" / cast(str, folder)
    if not tree.is_dir():
        raise ValueError(
            f"{tree}: there is no such folder: put one there, or a link to one, with {image_folder.LAYOUT}"
        )
    return tree


_SMALL_IMAGES: dict[str, Callable[[Path], Arrays]] = {
    "mnist": download.mnist,
    "cifar10": functools.partial(download.cifar, classes=10),
    "cifar100": functools.partial(download.cifar, classes=100),
    "digits": builtin.digits,
    "shapes": builtin.shapes,
}
_FOLDERS: dict[str, Callable[[Path, str | None, int], Path]] = {
    "imagenette": download.imagenette,
    "folder": _user_folder,
    "pictures": builtin.pictures,
}
