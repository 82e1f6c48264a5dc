"""Official sets as torchvision has them: read from the data folder, or downloaded and unpacked."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from goodinit.datasets import catalog

__all__ = ["cifar", "imagenette", "mnist"]


def mnist(root: Path) -> Iterator[np.ndarray]:
    """Yield MNIST's training images, labels, test images, labels: uint8 (N, 1, 28, 28), int64 (N,).

    Raises:
        OSError: a file is missing and cannot be downloaded, or cannot be read or written.
        ValueError: a file is damaged.
    """
    from torchvision.datasets import MNIST

    raw = Path("MNIST", "raw")
    archives = {raw / file: md5 for file, md5 in MNIST.resources}
    _check_files("MNIST", root, archives)
    place = _place(root, [file.with_suffix("") for file in archives], archives)
    parts = _load("MNIST", root, place, archives, lambda train: MNIST(place, train=train, download=True))
    for part in parts:
        yield part.data.numpy()[:, None]
        yield part.targets.numpy()


def cifar(root: Path, classes: int) -> Iterator[np.ndarray]:
    """Yield the training images, labels, test images, labels of CIFAR-10 or CIFAR-100.

    Args:
        root: the data folder.
        classes: 10 or 100.

    Yields:
        uint8 (N, 3, 32, 32), int64 (N,), and the same of the test set.

    Raises:
        OSError, ValueError: as in `mnist`.
    """
    from torchvision import datasets

    dataset, title = getattr(datasets, f"CIFAR{classes}"), f"CIFAR-{classes}"
    folder = Path(dataset.base_folder)
    files = {folder / file: md5 for file, md5 in dataset.train_list + dataset.test_list}
    _check_files(title, root, files)
    place = _place(root, [*files, folder / dataset.meta["filename"]], {Path(dataset.filename): dataset.tgz_md5})
    parts = _load(title, root, place, files, lambda train: dataset(place, train=train, download=True))
    for part in parts:
        yield part.data.transpose(0, 3, 1, 2)
        yield np.array(part.targets)


def imagenette(root: Path, folder: None, size: int) -> Path:
    """Return Imagenette's folder whose pictures have the next larger shorter side that is published.

    Args:
        root: the data folder.
        folder: not used.
        size: height and width to which pictures will be reduced.

    Raises:
        OSError, ValueError: as in `mnist`.
    """
    from torchvision.datasets import Imagenette

    variant, name = next(
        (variant, name)
        for largest, variant, name in (
            (160, "160px", "imagenette2-160"),
            (320, "320px", "imagenette2-320"),
            (float("inf"), "full", "imagenette2"),
        )
        if size <= largest
    )
    place = _place(root, [Path(name)], {Path(f"{name}.tgz"): Imagenette._ARCHIVES[variant][1]})
    tree = place / name
    try:
        parts = [Imagenette(place, part, variant, download=True) for part in ("train", "val")]
    except (PermissionError, NotADirectoryError):
        raise
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        if tree.exists():
            raise ValueError(f"Imagenette: {tree} is incomplete ({error}): delete it and run again") from None
        raise OSError(
            f"Imagenette: {root / name} is missing and cannot be downloaded: put the unpacked official archive there, "
            f"or let GOODINIT_DATA name a folder that has it ({error})"
        ) from None
    counts = [len(part) for part in parts]
    _, *published = catalog.PICTURES["imagenette"]
    if counts != published:
        raise ValueError(
            f"Imagenette: {tree} has {counts[0]} and {counts[1]} pictures in train and val, not {published[0]} and "
            f"{published[1]}: delete it and run again"
        )
    return tree


def _place(root: Path, files: list[Path], archives: dict[Path, str]) -> Path:
    """Return the folder for torchvision to read from, and to download and unpack into.

    This is the data folder where nothing has to be written.  Elsewhere, its archives are linked there.

    Args:
        root: the data folder.
        files: what torchvision reads, below it.
        archives: what the files are unpacked from, below it, and its MD5.

    Raises:
        OSError: the archives cannot be linked.
    """
    from torchvision.datasets.utils import check_integrity

    place = catalog.writable_root(root)
    if place == root or all((root / file).exists() for file in files):
        return root
    if not all((place / file).exists() for file in files):
        for archive, md5 in archives.items():
            if check_integrity(root / archive, md5) and not (place / archive).exists():
                (place / archive).parent.mkdir(parents=True, exist_ok=True)
                (place / archive).unlink(missing_ok=True)  # a link to where the data were
                (place / archive).symlink_to((root / archive).resolve())
    return place


def _check_files(title: str, root: Path, files: dict[Path, str]) -> None:
    """Raise ValueError where a file exists, and its MD5 is not the official one."""
    from torchvision.datasets.utils import check_integrity

    for file, md5 in files.items():
        path = root / file
        if path.exists() and not check_integrity(path, md5):
            raise ValueError(
                f"{title}: {path} is damaged: its MD5 is not {md5}: delete it and run again to download it"
            )


def _load(title: str, root: Path, place: Path, files: dict[Path, str], load: Callable[[bool], object]) -> tuple:
    """Return the training and the test part of a torchvision set, loaded from, or downloaded to, `place`."""
    if place != root:
        _check_files(title, place, files)
    try:
        return load(True), load(False)
    except (PermissionError, NotADirectoryError):
        raise
    except (OSError, RuntimeError, AssertionError, ValueError) as error:
        missing = next((file for file in files if not (place / file).exists()), None)
        if missing is not None:
            raise OSError(
                f"{title}: {root / missing} is missing and cannot be downloaded: put the official file there, or let "
                f"GOODINIT_DATA name a folder that has it ({error})"
            ) from None
        raise ValueError(
            f"{title}: the files in {place / next(iter(files)).parent} cannot be read ({error}): "
            "delete them and run again to download them"
        ) from None
