"""Published data sets in torchvision's layout: read from the data folder, or downloaded and unpacked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from goodinit.datasets import catalog
from goodinit.datasets.arrays import Arrays
from goodinit.errors import is_out_of_memory

__all__ = ["cifar", "imagenette", "mnist"]


def mnist(root: Path) -> Arrays:
    """Return the arrays of MNIST.

    Args:
        root: the data folder.

    Raises:
        OSError: a file is missing and cannot be downloaded, or cannot be read or written.
        ValueError: a file is damaged.
    """
    from torchvision.datasets import MNIST

    raw = Path("MNIST", "raw")
    archives = {raw / file: md5 for file, md5 in MNIST.resources}
    _check_files("MNIST", root, archives)
    folder = _folder(root, [file.with_suffix("") for file in archives], archives)
    train, test = _load("MNIST", root, folder, archives, lambda train: MNIST(folder, train=train, download=True))
    return Arrays(train.data.numpy()[:, None], train.targets.numpy(), test.data.numpy()[:, None], test.targets.numpy())


def cifar(root: Path, classes: int) -> Arrays:
    """Return the arrays of CIFAR-10 or CIFAR-100.

    Args:
        root: the data folder.
        classes: 10 or 100.

    Raises:
        OSError, ValueError: as in `mnist`.
    """
    from torchvision import datasets

    dataset, title = getattr(datasets, f"CIFAR{classes}"), f"CIFAR-{classes}"
    base = Path(dataset.base_folder)
    files = {base / file: md5 for file, md5 in dataset.train_list + dataset.test_list}
    _check_files(title, root, files)
    folder = _folder(root, [*files, base / dataset.meta["filename"]], {Path(dataset.filename): dataset.tgz_md5})
    train, test = _load(title, root, folder, files, lambda train: dataset(folder, train=train, download=True))
    return Arrays(
        train.data.transpose(0, 3, 1, 2),
        np.array(train.targets),
        test.data.transpose(0, 3, 1, 2),
        np.array(test.targets),
    )


def imagenette(root: Path, folder: str | None, size: int) -> Path:
    """Return the image folder of the published version of Imagenette with the next larger shorter side.

    Args:
        root: the data folder.
        folder: not used.
        size: height and width of the prepared images.

    Raises:
        OSError, ValueError: as in `mnist`.
    """
    from torchvision.datasets import Imagenette

    variant, name = next(
        (variant, name)
        for side, variant, name in (
            (160, "160px", "imagenette2-160"),
            (320, "320px", "imagenette2-320"),
            (float("inf"), "full", "imagenette2"),
        )
        if size <= side
    )
    parent = _folder(root, [Path(name)], {Path(f"{name}.tgz"): Imagenette._ARCHIVES[variant][1]})
    tree = parent / name
    try:
        counts = [len(Imagenette(parent, split, variant, download=True)) for split in ("train", "val")]
    except (PermissionError, NotADirectoryError):
        raise
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        if tree.exists():
            raise ValueError(f"Imagenette: {tree} is incomplete ({error}): delete it and run again") from None
        raise FileNotFoundError(
            f"Imagenette: {root / name} is missing and cannot be downloaded: put the unpacked official archive there, "
            f"or set GOODINIT_DATA to a folder that contains it ({error})"
        ) from None
    _, *published = catalog.COUNTS["imagenette"]
    if counts != published:
        raise ValueError(
            f"Imagenette: {tree} has {counts[0]} and {counts[1]} images in train and val, not {published[0]} and "
            f"{published[1]}: delete it and run again"
        )
    return tree


def _folder(root: Path, files: list[Path], archives: dict[Path, str]) -> Path:
    """Return the folder from which torchvision reads, and to which it downloads and unpacks.

    This is the data folder unless that cannot be written and files are missing. Then its archives are linked in the
    returned folder.

    Args:
        root: the data folder.
        files: that torchvision reads, relative to the data folder.
        archives: {path of an archive, relative to the data folder: its MD5}.

    Raises:
        OSError: the archives cannot be linked.
    """
    from torchvision.datasets.utils import check_integrity

    folder = catalog.writable_root(root)
    if folder == root or all((root / file).exists() for file in files):
        return root
    if not all((folder / file).exists() for file in files):
        for archive, md5 in archives.items():
            if check_integrity(root / archive, md5) and not (folder / archive).exists():
                (folder / archive).parent.mkdir(parents=True, exist_ok=True)
                (folder / archive).unlink(missing_ok=True)  # a broken link
                (folder / archive).symlink_to((root / archive).resolve())
    return folder


def _check_files(title: str, root: Path, files: dict[Path, str]) -> None:
    """Raise ValueError if a file exists, and its MD5 is not the published one."""
    from torchvision.datasets.utils import check_integrity

    for file, md5 in files.items():
        path = root / file
        if path.exists() and not check_integrity(path, md5):
            raise ValueError(
                f"{title}: {path} is damaged: its MD5 is not {md5}: delete it and run again to download it"
            )


def _load(title: str, root: Path, folder: Path, files: dict[Path, str], load: Callable[[bool], Any]) -> tuple[Any, Any]:
    """Return the training and the test split of a torchvision data set, loaded from, or downloaded to, `folder`."""
    if folder != root:
        _check_files(title, folder, files)
    try:
        return load(True), load(False)
    except (PermissionError, NotADirectoryError):
        raise
    except (OSError, RuntimeError, AssertionError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        missing = next((file for file in files if not (folder / file).exists()), None)
        if missing is not None:
            raise FileNotFoundError(
                f"{title}: {root / missing} is missing and cannot be downloaded: put the official file there, or set "
                f"GOODINIT_DATA to a folder that contains it ({error})"
            ) from None
        raise ValueError(
            f"{title}: the files in {folder / next(iter(files)).parent} cannot be read ({error}): "
            "delete them and run again to download them"
        ) from None
