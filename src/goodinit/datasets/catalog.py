"""Names and published sizes of the data sets, and where their prepared arrays are. Imports no torch and no numpy."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

from goodinit.errors import InputError

__all__ = [
    "CHECKSUMS",
    "COUNTS",
    "GENERATED_PER_RUN",
    "PREPARED_PER_OPTIONS",
    "SIZES",
    "Counts",
    "FolderName",
    "Manifest",
    "Size",
    "check_folder_name",
    "manifest_path",
    "parse_name",
    "prepared_name",
    "size_of",
    "writable_root",
]


class Counts(NamedTuple):
    """Numbers of classes and examples of a data set."""

    classes: int
    train_examples: int
    test_examples: int


class Size(NamedTuple):
    """Shape (C, H, W) of an image, and the numbers of classes and examples of a data set."""

    shape: tuple[int, int, int]
    classes: int
    train_examples: int
    test_examples: int


class FolderName(NamedTuple):
    """Parsed name of a prepared image folder.

    Attributes:
        source: `imagenette`, `pictures` or `folder`.
        folder: name of the folder in `folders`; None unless the source is `folder`.
        size: height and width of a prepared image.
    """

    source: str
    folder: str | None
    size: int


class Manifest(TypedDict):
    """Description of prepared arrays, as in their manifest.json.

    The mean and standard deviation are those of each channel over all training pixels, divided by 255. The optional
    keys are those of image folders: names of the classes, fingerprint of the files, unreadable files with reasons, and
    numbers of ignored links and irregular files.
    """

    name: str
    sha256: str
    shape: list[int]
    classes: int
    train_examples: int
    test_examples: int
    mean: list[float]
    sd: list[float]
    class_names: NotRequired[list[str]]
    fingerprint: NotRequired[str]
    unreadable: NotRequired[list[dict[str, str]]]
    passed_over: NotRequired[dict[str, int]]


# SHA-256 of the four arrays of a published data set, in the order of `arrays.Arrays`; torchvision checks CIFAR-100.
CHECKSUMS = {
    "mnist": "1e35582d42a90940c55b956deb61875c020b567ed20e3c5b174f52bf7809ed9b",
    "cifar10": "9048fcbac9c08a64d57a7c5a5a66750a974ad4eab380914df129f7e223d823df",
}
# Published sizes of data sets of small images.
SIZES = {
    "mnist": Size((1, 28, 28), 10, 60000, 10000),
    "cifar10": Size((3, 32, 32), 10, 50000, 10000),
    "cifar100": Size((3, 32, 32), 100, 50000, 10000),
    "digits": Size((1, 28, 28), 10, 1437, 360),
    "shapes": Size((3, 32, 32), 10, 5000, 1000),
}
# Published numbers of data sets that are prepared from image folders.
COUNTS = {
    "imagenette": Counts(10, 9469, 3925),
    "pictures": Counts(10, 400, 100),
    "folder-imagenet": Counts(1000, 1281167, 50000),
}
# Data sets that each run generates; all others are prepared once.
GENERATED_PER_RUN = ("empty", "gaussian")
# Prepared names of the data sets whose options determine what is prepared; the others are prepared under their own.
PREPARED_PER_OPTIONS = {
    "folder": "folder-{path}-{size}",
    "imagenette": "imagenette-{size}",
    "pictures": "pictures-{size}",
}


def prepared_name(options: Mapping[str, Any]) -> str | None:
    """Return the name under which the data set of a run is prepared, or None if the run generates it.

    Args:
        options: the part `data` of the run, with all defaults.
    """
    name = str(options["name"])
    if name in GENERATED_PER_RUN:
        return None
    return PREPARED_PER_OPTIONS.get(name, name).format(**options)


def parse_name(name: str) -> FolderName | None:
    """Parse the name of a data set that is prepared from an image folder.

    Args:
        name: `imagenette-<size>`, `pictures-<size>` or `folder-<folder>-<size>`, or any other name.

    Returns:
        The parsed name, or None for any other name.

    Raises:
        ValueError: the folder's name or the size is not valid.
    """
    match = re.fullmatch(r"(?:(imagenette|pictures)|(folder)-(.*))-(\d+)", name, re.DOTALL)
    if match is None:
        return None
    published, user_folder, folder, size = match.groups()
    if user_folder:
        check_folder_name(folder)
    if int(size) < 1:
        raise ValueError(f"{name}: size must be at least 1, not {size}")
    return FolderName(published or user_folder, folder, int(size))


def check_folder_name(folder: str) -> None:
    """Check that a string is the name of a folder, and not a path to another location.

    Raises:
        ValueError: it is not.
    """
    if not re.fullmatch(r"\w[\w.+-]*", folder):
        raise ValueError(
            f"folder: path: {folder!r} is not the name of one folder in the data folder's `folders`, of letters, "
            "digits and _ . + -; a symbolic link there may point to any folder"
        )


def writable_root(root: str | Path) -> Path:
    """Return the folder for files that are prepared, unpacked or downloaded for the data folder `root`.

    This is `root` itself if its `prepared` can be written. Otherwise, and whenever the environment variable
    GOODINIT_PREPARED is set, it is `<base>/<hash>`, which has the same layout: `<base>` is $GOODINIT_PREPARED, else
    `$XDG_CACHE_HOME/goodinit`, else `~/.cache/goodinit`; `<hash>` is the first 16 hexadecimal digits of the SHA-256 of
    the real path of `root`. No folder is created.

    Raises:
        InputError: `root` cannot be written, and there is no home directory.
    """
    root = Path(root)
    base: str | Path | None = os.environ.get("GOODINIT_PREPARED")
    if not base and _can_write(root / "prepared"):
        return root
    if not base:
        cache = os.environ.get("XDG_CACHE_HOME", "")
        try:
            base = (Path(cache) if os.path.isabs(cache) else Path.home() / ".cache") / "goodinit"
        except RuntimeError:
            raise InputError(
                f"{root} cannot be written, and there is no home directory: set GOODINIT_PREPARED to a folder for "
                "prepared arrays"
            ) from None
    return Path(base) / hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:16]


def manifest_path(name: str, root: str | Path) -> Path:
    """Return the path of the manifest of a data set's prepared arrays, which are in the same folder, if they exist.

    Arrays that exist in the data folder are used, even if it cannot be written.

    Args:
        name: the name of the prepared data set.
        root: the data folder.

    Raises:
        InputError: as in `writable_root`.
    """
    relative = Path("prepared", name, "manifest.json")
    inside = Path(root) / relative
    return inside if os.path.exists(inside) else writable_root(root) / relative


def size_of(name: str, root: str | Path) -> Size:
    """Return the size of a data set as published, or else from its manifest.

    Args:
        name: the name of the prepared data set.
        root: the data folder.

    Raises:
        ValueError: the data set is neither published nor prepared, or its manifest is damaged.
    """
    if name in SIZES:
        return SIZES[name]
    parsed = parse_name(name)
    if parsed is None:
        raise ValueError(f"{name}: unknown data set")
    manifest = manifest_path(name, root)
    if (source := name.removesuffix(f"-{parsed.size}")) in COUNTS and not manifest.exists():
        return Size((3, parsed.size, parsed.size), *COUNTS[source])
    try:
        content: Manifest = json.loads(manifest.read_text())
        channels, height, width = content["shape"]
        return Size((channels, height, width), content["classes"], content["train_examples"], content["test_examples"])
    except FileNotFoundError:
        raise ValueError(f"{name}: the size is unknown until it is prepared: goodinit prepare {name}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{manifest}: damaged ({error}): delete {manifest.parent} and run again") from None


def _can_write(folder: Path) -> bool:
    """Return whether a folder can be written or created, according to permissions and the mode of the file system.

    A path that exists and is not a folder counts as writable, so that the attempt to write there reports it.
    """
    while not os.path.lexists(folder):
        folder = folder.parent
    return not folder.is_dir() or os.access(folder, os.W_OK | os.X_OK)
