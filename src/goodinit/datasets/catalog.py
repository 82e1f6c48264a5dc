"""Names and published sizes of the data sets, and where their prepared arrays are.  Imports no torch and no numpy."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from goodinit.errors import InputError

__all__ = [
    "GENERATED_PER_RUN",
    "OFFICIAL",
    "PICTURES",
    "PREPARED_PER_OPTIONS",
    "SIZES",
    "check_folder_name",
    "manifest_path",
    "parse_name",
    "prepared_name",
    "size_of",
    "writable_root",
]

# SHA-256 of an official set's four arrays, in the order of `prepared.ARRAYS`; torchvision checks CIFAR-100's files.
OFFICIAL = {
    "mnist": "1e35582d42a90940c55b956deb61875c020b567ed20e3c5b174f52bf7809ed9b",
    "cifar10": "9048fcbac9c08a64d57a7c5a5a66750a974ad4eab380914df129f7e223d823df",
}
# Shape of an image, classes, training examples and test examples, as published.
SIZES = {
    "mnist": ((1, 28, 28), 10, 60000, 10000),
    "cifar10": ((3, 32, 32), 10, 50000, 10000),
    "cifar100": ((3, 32, 32), 100, 50000, 10000),
    "digits": ((1, 28, 28), 10, 1437, 360),
    "shapes": ((3, 32, 32), 10, 5000, 1000),
}
# Classes, training examples and test examples of sets that are prepared from picture files, as published.
PICTURES = {
    "imagenette": (10, 9469, 3925),
    "pictures": (10, 400, 100),
    "folder-imagenet": (1000, 1281167, 50000),
}
# Data sets that each run generates; all others are prepared once.
GENERATED_PER_RUN = ("empty", "gaussian")
# Data sets of which options decide what is prepared; all others are prepared under their own names.
PREPARED_PER_OPTIONS = {
    "folder": "folder-{path}-{size}",
    "imagenette": "imagenette-{size}",
    "pictures": "pictures-{size}",
}


def prepared_name(options: Mapping[str, Any]) -> str | None:
    """Return under which name the data set of a run is prepared, or None if the run generates it.

    Args:
        options: the run's part `data` with all defaults filled in.
    """
    name = options["name"]
    if name in GENERATED_PER_RUN:
        return None
    return PREPARED_PER_OPTIONS.get(name, name).format(**options)


def parse_name(name: str) -> tuple[str, str | None, int] | None:
    """Split the name of a set that is prepared from picture files.

    Args:
        name: `imagenette-<size>`, `pictures-<size>` or `folder-<folder>-<size>`, or any other name.

    Returns:
        The source (`imagenette`, `pictures` or `folder`), the folder's name (None but for `folder`), and the height and
        width of a prepared picture in pixels; or None where the name is that of no such set.

    Raises:
        ValueError: the folder's name or the size is not valid.
    """
    match = re.fullmatch(r"(?:(imagenette|pictures)|(folder)-(.*))-(\d+)", name, re.DOTALL)
    if match is None:
        return None
    published, own, folder, size = match.groups()
    if own:
        check_folder_name(folder)
    if int(size) < 1:
        raise ValueError(f"{name}: size: {size} is not more than 0")
    return published or own, folder, int(size)


def check_folder_name(folder: str) -> None:
    """Check that a string is the name of a folder, and not a path that leads elsewhere.

    Raises:
        ValueError: it is not.
    """
    if not re.fullmatch(r"\w[\w.+-]*", folder):
        raise ValueError(
            f"folder: path: {folder!r} is not the name of one folder in the data folder's `folders`, of letters, "
            "digits and _ . + -; a link there may lead anywhere"
        )


def writable_root(root: str | Path) -> Path:
    """Return the folder for files that are prepared, unpacked or downloaded for the data folder `root`.

    This is `root` itself where its `prepared` can be written to.  Otherwise, and whenever the environment variable
    GOODINIT_PREPARED is set, it is `<base>/<hash>`, which has the same layout: `<base>` is $GOODINIT_PREPARED, else
    `$XDG_CACHE_HOME/goodinit`, else `~/.cache/goodinit`; `<hash>` is the first 16 hexadecimal digits of the SHA-256 of
    `root`'s real path.  Nothing is created here.

    Raises:
        InputError: `root` cannot be written to, and there is no home directory.
    """
    root = Path(root)
    base = os.environ.get("GOODINIT_PREPARED")
    if not base and _can_write(root / "prepared"):
        return root
    if not base:
        cache = os.environ.get("XDG_CACHE_HOME", "")
        try:
            base = (Path(cache) if os.path.isabs(cache) else Path.home() / ".cache") / "goodinit"
        except RuntimeError:
            raise InputError(
                f"{root} cannot be written to, and there is no home directory: let GOODINIT_PREPARED name a folder "
                "for prepared arrays"
            ) from None
    return Path(base) / hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:16]


def manifest_path(name: str, root: str | Path) -> Path:
    """Return the path of the manifest of a set's prepared arrays, which lie beside it, whether or not it exists.

    Arrays that are already in the data folder are used from there, also where it cannot be written to.

    Args:
        name: of the set.
        root: the data folder.

    Raises:
        InputError: as in `writable_root`.
    """
    place = Path("prepared", name, "manifest.json")
    inside = Path(root) / place
    return inside if os.path.exists(inside) else writable_root(root) / place


def size_of(name: str, root: str | Path) -> tuple[tuple[int, int, int], int, int, int]:
    """Return a set's size as published, or else as its manifest gives it.

    Args:
        name: of the set.
        root: the data folder.

    Returns:
        The shape (C, H, W) of an image, the number of classes, of training examples and of test examples.

    Raises:
        ValueError: the set is neither published nor prepared, or its manifest is damaged.
    """
    if name in SIZES:
        return SIZES[name]
    _, _, size = parse_name(name)
    manifest = manifest_path(name, root)
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


def _can_write(folder: Path) -> bool:
    """Return whether a folder can be written to, or made, as far as permissions and the file system's mode tell.

    What exists and is no folder counts as writable, so that the attempt to write there reports it.
    """
    while not os.path.lexists(folder):
        folder = folder.parent
    return not folder.is_dir() or os.access(folder, os.W_OK | os.X_OK)
