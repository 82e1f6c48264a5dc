"""Data sets on disk: downloaded and checked, or made, once; kept as arrays that every job maps into memory."""

import errno
import functools
import hashlib
import json
import multiprocessing
import os
from pathlib import Path

import numpy as np

from goodinit import embedded, pictures

__all__ = ["load", "prepare", "size_of"]

# SHA-256 over the four arrays of the official sets, in the order of ARRAYS: the files behind them are
# the ones that their authors published, whichever way they came here.  torchvision checks CIFAR-100's files.
OFFICIAL = {
    "mnist": "1e35582d42a90940c55b956deb61875c020b567ed20e3c5b174f52bf7809ed9b",
    "cifar10": "9048fcbac9c08a64d57a7c5a5a66750a974ad4eab380914df129f7e223d823df",
}
# Shape of an image, classes, training and test examples: what is known of a set before it is here.
SIZES = {
    "mnist": ((1, 28, 28), 10, 60000, 10000),
    "cifar10": ((3, 32, 32), 10, 50000, 10000),
    "cifar100": ((3, 32, 32), 100, 50000, 10000),
    "digits": ((1, 28, 28), 10, 1437, 360),
    "shapes": ((3, 32, 32), 10, 5000, 1000),
}
# Classes, training and test examples of what is made of pictures: of folders that bear these names, as published.
PICTURES = {
    "imagenette": (10, 9469, 3925),
    "pictures": (10, *embedded.PICTURES),
    "folder-imagenet": (1000, 1281167, 50000),
}
CHECKED = 4 * 2**30  # bytes: of a larger set, which would take long to read, only the lengths are checked
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


def prepare(name, root, **options):
    """Write a set's arrays and manifest below `root`, unless they are there; return the manifest's path.

    The manifest comes last, so a set that has one is whole.

    Args:
        name: one of `mnist`, `cifar10`, `cifar100`, `digits`, `shapes`; or what is made of pictures, with their height
            and width, such as `imagenette-144`, `pictures-144`, or `folder-<folder>-144` of `root`/folders/<folder>.
        root: the data folder.
        options: `processes` and `allowed_bad` of `pictures.write`.

    Raises:
        OSError, ValueError: as in `load`, or pictures cannot be read.
    """
    root, made_of = Path(root), pictures.named(name)
    folder = root / "prepared" / name
    manifest = folder / "manifest.json"
    if manifest.exists():
        return manifest
    if made_of is None:
        _write_facts(manifest, name, _prepare_arrays(name, root, folder))
        return manifest
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # it would wait for the one that started it
        raise ValueError(f"put what your script does under if __name__ == '__main__', or call goodinit prepare {name}")
    tree = _TREES[made_of[0]](root, *made_of[1:])
    with pictures.locked(folder):
        if not manifest.exists():  # made by another process in the meantime
            facts, labels = pictures.write(tree, folder, made_of[2], **options)
            for part, numbers in labels.items():
                _write(folder / f"{part}_labels.npy", lambda file, numbers=numbers: np.save(file, numbers))
            arrays = [np.load(folder / f"{key}.npy", mmap_mode="r") for key in ARRAYS]
            _write_facts(manifest, name, {"sha256": _checksum(arrays)} | facts)
    return manifest


def size_of(name, root):
    """Return (shape, classes, training examples, test examples) of a prepared set: as published, or as it was found.

    Raises:
        OSError, ValueError: neither is known, or the manifest is damaged.
    """
    if name in SIZES:
        return SIZES[name]
    _, _, size = pictures.named(name)
    manifest = Path(root) / "prepared" / name / "manifest.json"
    if (source := name.removesuffix(f"-{size}")) in PICTURES and not manifest.exists():
        return (3, size, size), *PICTURES[source]
    try:
        facts = json.loads(manifest.read_text())
        return tuple(facts["shape"]), facts["classes"], facts["train_examples"], facts["test_examples"]
    except FileNotFoundError:
        raise ValueError(
            f"{name}: how large it is will be known when it is prepared: goodinit prepare {name}"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{manifest}: damaged ({error}): delete {manifest.parent} and run again") from None


def _prepare_arrays(name, root, folder):
    """Write a small set's arrays; return what the manifest says of it."""
    arrays = dict(zip(ARRAYS, _SOURCES[name](root), strict=True))
    checksum = _checksum(arrays.values())
    if checksum != OFFICIAL.get(name, checksum):
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


def _write_facts(manifest, name, facts):
    _write(manifest, lambda file: file.write((json.dumps({"name": name} | facts, indent=2) + "\n").encode()))


@functools.lru_cache(maxsize=4)
def load(name, root):
    """Map a set's arrays into memory, preparing it first where that has not been done.

    Args:
        name: of the set.
        root: the data folder, as text.

    Returns:
        The four arrays in the order of ARRAYS, images uint8 (N, C, H, W), labels int64 (N,), and the manifest.  Those
        made of pictures are not to be written to.

    Raises:
        OSError: the files are missing and cannot be downloaded, or cannot be read or written.
        ValueError: a file is damaged.
    """
    manifest = prepare(name, root)
    mend = f"delete {manifest.parent} and run again"
    try:
        facts = json.loads(manifest.read_text())
        # A map that may be written to counts as memory in use, which a set of pictures may have more of than there is.
        mode = "c" if name in _SOURCES else "r"
        arrays = [np.load(manifest.with_name(f"{key}.npy"), mmap_mode=mode) for key in ARRAYS]
        whole = [len(array) for array in arrays[::2]] == [facts["train_examples"], facts["test_examples"]]
        if sum(array.nbytes for array in arrays) <= CHECKED:
            whole = whole and _checksum(arrays) == facts["sha256"]
        whole = whole and facts["classes"]
    except (ValueError, KeyError, TypeError, EOFError, FileNotFoundError) as error:
        raise ValueError(f"{name}: the prepared arrays are damaged or incomplete ({error}): {mend}") from None
    if not whole:
        raise ValueError(f"{name}: the prepared arrays do not match their manifest's checksum: {mend}")
    return arrays, facts


def _write(path, write):
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            write(file)
        part.replace(path)
    except OSError as error:  # neither a full disk nor numpy says where
        raise OSError(error.errno or errno.ENOSPC, error.strerror or str(error), str(path)) from None
    finally:
        part.unlink(missing_ok=True)


def _checksum(arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _mnist_arrays(root):
    from torchvision.datasets import MNIST

    files = {root / "MNIST" / "raw" / file: md5 for file, md5 in MNIST.resources}
    train, test = _official("MNIST", files, lambda train: MNIST(root, train=train, download=True))
    for part in (train, test):
        yield part.data.numpy()[:, None]
        yield part.targets.numpy()


def _cifar_arrays(root, classes):
    from torchvision import datasets

    made_by = getattr(datasets, f"CIFAR{classes}")
    folder = root / made_by.base_folder
    files = {folder / file: md5 for file, md5 in made_by.train_list + made_by.test_list}
    train, test = _official(f"CIFAR-{classes}", files, lambda train: made_by(root, train=train, download=True))
    for part in (train, test):
        yield part.data.transpose(0, 3, 1, 2)
        yield np.array(part.targets)


def _official(title, files, load):
    """Load both parts of a torchvision set, downloading what is missing; say which file is damaged."""
    from torchvision.datasets.utils import check_integrity

    for path, md5 in files.items():
        if path.exists() and not check_integrity(path, md5):
            raise ValueError(
                f"{title}: {path} is damaged: its MD5 is not {md5}: delete it and run again to download it"
            )
    try:
        return load(True), load(False)
    except (PermissionError, NotADirectoryError):
        raise
    except (OSError, RuntimeError, AssertionError, ValueError) as error:
        missing = next((path for path in files if not path.exists()), None)
        if missing is not None:
            raise OSError(
                f"{title}: {missing} is missing and cannot be downloaded: put the official file there, or let "
                f"GOODINIT_DATA name a folder that has it ({error})"
            ) from None
        raise ValueError(
            f"{title}: the files in {next(iter(files)).parent} cannot be read ({error}): "
            "delete them and run again to download them"
        ) from None


_SOURCES = {
    "mnist": _mnist_arrays,
    "cifar10": functools.partial(_cifar_arrays, classes=10),
    "cifar100": functools.partial(_cifar_arrays, classes=100),
    "digits": embedded.digits,
    "shapes": embedded.shapes,
}


def _imagenette_tree(root, folder, size):
    """Return the folder of the pictures whose shorter side is the next larger that was published."""
    from torchvision.datasets import Imagenette

    variant, place = next(
        (variant, root / place)
        for largest, variant, place in (
            (160, "160px", "imagenette2-160"),
            (320, "320px", "imagenette2-320"),
            (float("inf"), "full", "imagenette2"),
        )
        if size <= largest
    )
    try:
        parts = [Imagenette(root, part, variant, download=True) for part in ("train", "val")]
    except (PermissionError, NotADirectoryError):
        raise
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        if place.exists():
            raise ValueError(f"Imagenette: {place} is incomplete ({error}): delete it and run again") from None
        raise OSError(
            f"Imagenette: {place} is missing and cannot be downloaded: put the unpacked official archive there, or let "
            f"GOODINIT_DATA name a folder that has it ({error})"
        ) from None
    counts = [len(part) for part in parts]
    if counts != list(PICTURES["imagenette"][1:]):
        raise ValueError(
            f"Imagenette: {place} has {counts[0]} and {counts[1]} pictures in train and val, not "
            f"{PICTURES['imagenette'][1]} and {PICTURES['imagenette'][2]}: delete it and run again"
        )
    return place


def _folder_tree(root, folder, size):
    tree = root / "folders" / folder
    if not tree.is_dir():
        raise ValueError(f"{tree}: there is no such folder: put one there, or a link to one, with {pictures.LAYOUT}")
    return tree


_TREES = {"imagenette": _imagenette_tree, "folder": _folder_tree, "pictures": embedded.pictures}
