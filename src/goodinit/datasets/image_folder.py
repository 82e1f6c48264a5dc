"""Lists the images of an image folder, `train/<class>/` and `val/<class>/`, and keeps its classes apart.

Links are followed, so that images can be elsewhere, but never into another class, the other split, or a folder that
contains either. The image folder itself, `train`, `val` and the class folders may be links.
"""

import hashlib
import os
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["LAYOUT", "ImageFile", "Listing", "describe_ignored", "fingerprint", "list_images"]

LAYOUT = "images in train/<class>/ and val/<class>/"
SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}  # as in torchvision


class ImageFile(NamedTuple):
    """An image: path relative to the image folder, number of the class, bytes, time of modification in nanoseconds."""

    path: str
    label: int
    size: int
    modified: int


class Listing(NamedTuple):
    """The content of an image folder.

    Attributes:
        classes: sorted names; a label is an index into them.
        splits: images of `train` and `test`, in the order of the hashes of their paths.
        links: paths of ignored links, which lead out of their class.
        irregular: paths of ignored entries that are not regular files: FIFOs, sockets, devices, and folders with the
            suffix of an image.
    """

    classes: list[str]
    splits: dict[str, list[ImageFile]]
    links: list[str]
    irregular: list[str]


class _Bounds(NamedTuple):
    """The real folders that must be kept apart.

    Attributes:
        classes: {real path of a class folder: its path relative to the image folder}.
        splits: {`train`, `val` or `test`: real path of its folder}.
        containers: {real path that is or contains the image folder or a split, or contains a class: its name}.
    """

    classes: dict[str, str]
    splits: dict[str, str]
    containers: dict[str, str]


class _File(NamedTuple):
    """An image: path relative to the image folder, bytes, time, and its inode if that has several names."""

    path: str
    size: int
    modified: int
    inode: tuple[int, int] | None


class _ClassFolder(NamedTuple):
    """A class folder, `<split>/<class>`: its {real path: image}, and ignored paths as in `Listing`."""

    name: str
    files: dict[str, _File]
    links: list[str]
    irregular: list[str]


def list_images(tree: Path) -> Listing:
    """List the images in each class folder, at any depth, except hidden ones; without a folder `val`, `test` is used.

    A link is followed only if its real path is not, does not contain and is not inside the folder of another class or
    of the other split; other links are ignored. Each file counts once in a class, even if several links lead to it. A
    broken link counts as an unreadable image.

    Args:
        tree: the image folder.

    Raises:
        OSError: a folder cannot be read.
        ValueError: the layout is not that of classes, two classes or splits share a folder or a file, or a class has no
            training images.
    """
    test = "val" if (tree / "val").is_dir() else "test"
    for split in ("train", test):
        if not (tree / split).is_dir():
            raise ValueError(f"{tree}: there is no folder {split.replace('test', 'val')}: expected {LAYOUT}")
    split_folders = _split_folders(tree, test)
    classes = _list_classes(tree / "train")
    if len(classes) < 2:
        count = f"only one class, {classes[0]}" if classes else "no class"
        raise ValueError(f"{tree / 'train'}: there is {count}; at least two are needed: expected {LAYOUT}")
    for name in _list_classes(tree / test):
        if name not in classes:
            raise ValueError(f"{tree / test / name}: this class is not in {tree / 'train'}")
    bounds = _bounds(tree, split_folders, classes)
    folders = {split: [_scan(tree, f"{split}/{name}", bounds) for name in classes] for split in ("train", test)}
    all_folders = [*folders["train"], *folders[test]]
    links = sorted(path for folder in all_folders for path in folder.links)
    irregular = sorted(path for folder in all_folders for path in folder.irregular)
    hint = f" ({ignored})" if (ignored := describe_ignored(links, irregular)) else ""
    for folder in folders["train"]:
        if not folder.files:
            raise ValueError(f"{tree / folder.name}: this class has no images{hint}: put some there, or delete it")
    if not any(folder.files for folder in folders[test]):
        raise ValueError(f"{tree / test}: there are no images{hint}: expected {LAYOUT}")
    _check_shared(tree, all_folders, bounds)
    return Listing(classes, {"train": _sort(folders["train"]), "test": _sort(folders[test])}, links, irregular)


def fingerprint(splits: dict[str, list[ImageFile]]) -> str:
    """Return the SHA-256, in hexadecimal, of the paths, labels, sizes and times of all images."""
    digest = hashlib.sha256()
    for split, files in splits.items():
        for path, label, size, modified in files:
            digest.update(os.fsencode(f"{split}\0{label}\0{path}\0{size}\0{modified}\0"))
    return digest.hexdigest()


def describe_ignored(links: list[str], irregular: list[str]) -> str:
    """Return the numbers of ignored entries with an example of each kind, or an empty string."""
    kinds = ((links, "links that lead out of their class"), (irregular, "entries that are not regular files"))
    counts = [f"{len(paths)} {kind}, such as {paths[0]}" for paths, kind in kinds if paths]
    return f"ignored: {'; '.join(counts)}" if counts else ""


def _list_classes(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".")]
    for entry in visible:
        if entry.is_symlink() and not os.path.exists(entry) and not _is_image(entry.name):
            raise ValueError(f"{entry.path}: this link is broken: point it to a class folder, or remove it")
    return sorted(entry.name for entry in visible if entry.is_dir())


def _parents(path: str) -> Iterator[str]:
    while (parent := os.path.dirname(path)) != path:
        yield parent
        path = parent


def _split_folders(tree: Path, test: str) -> dict[str, str]:
    """Return {split: real path of its folder}; raise ValueError if they are the same or one contains the other."""
    folders = {split: os.path.realpath(tree / split) for split in ("train", test)}
    for split, other in (("train", test), (test, "train")):
        if folders[split] in (folders[other], *_parents(folders[other])):
            raise ValueError(
                f"{tree}: the folder of {split}, {folders[split]}, is that of {other} or contains it: an image must "
                "not be in both: make them separate folders"
            )
    return folders


def _bounds(tree: Path, splits: dict[str, str], classes: list[str]) -> _Bounds:
    """Return what must be kept apart; raise ValueError if two classes are the same folder or one contains another."""
    bounds = _Bounds({}, splits, {})
    for name in (f"{split}/{label}" for split in splits for label in classes):
        if (tree / name).is_dir():
            real = os.path.realpath(tree / name)
            if real in bounds.classes:
                raise _shared_folder(tree, name, real, bounds.classes[real])
            bounds.classes[real] = name
    roots = [(os.path.realpath(tree), tree.name), *((real, split) for split, real in splits.items())]
    for real, name in roots:
        bounds.containers.update(dict.fromkeys((real, *_parents(real)), name))
    for real, name in bounds.classes.items():
        bounds.containers.update(dict.fromkeys(_parents(real), name))
    for real, name in bounds.classes.items():
        if real in bounds.containers:
            raise _shared_folder(tree, name, real, bounds.containers[real])
        for split, folder in splits.items():
            if split != _split_of(name) and folder in _parents(real):
                raise _shared_folder(tree, name, real, split)
    return bounds


def _split_of(class_folder: str) -> str:
    return class_folder.partition("/")[0]


def _shared_folder(tree: Path, name: str, real: str, other: str) -> ValueError:
    return ValueError(
        f"{tree / name}: its real folder, {real}, is that of {other}, contains it or is inside it: an image must not "
        "be in two classes, nor in both train and val: remove the link"
    )


def _leads_out(real: str, class_folder: str, bounds: _Bounds) -> bool:
    """Return whether the target of a link in a class folder is in, or contains, another class or split."""
    if real in bounds.containers:
        return True
    for folder in (real, *_parents(real)):
        if folder in bounds.classes:
            return bounds.classes[folder] != class_folder
        if folder in bounds.splits.values():
            return folder != bounds.splits[_split_of(class_folder)]
    return False


def _scan(tree: Path, name: str, bounds: _Bounds) -> _ClassFolder:
    """Return the images in a class folder, at any depth; none if the folder does not exist.

    Links are followed after everything else, and all entries are visited in sorted order, so that the path under which
    a file is listed does not depend on the file system.
    """
    result = _ClassFolder(name, {}, [], [])
    if not (tree / name).is_dir():
        return result
    folders, links, visited = [(name, os.path.realpath(tree / name))], deque[str](), set[str]()
    while folders or links:
        if not folders:
            folders += _follow(tree, links.popleft(), bounds, result)
            continue
        here, real = folders.pop()
        if real in visited:
            continue
        visited.add(real)
        for entry in sorted(os.scandir(tree / here), key=lambda entry: entry.name):
            path = f"{here}/{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_symlink():
                links.append(path)
            elif entry.is_dir() and not _is_image(path):
                folders.append((path, f"{real}/{entry.name}"))
            elif not entry.is_file():
                result.irregular.append(path)
            elif _is_image(path):
                result.files.setdefault(f"{real}/{entry.name}", _file(path, entry.stat()))
    return result


def _follow(tree: Path, link: str, bounds: _Bounds, result: _ClassFolder) -> list[tuple[str, str]]:
    """Add the target of a link to the result; return [(path, real path)] if it is a folder to be scanned, else []."""
    try:
        status = os.stat(tree / link)
    except OSError:  # broken
        if _is_image(link):
            result.files[str(tree / link)] = _file(link, os.lstat(tree / link))
        return []
    real = os.path.realpath(tree / link)
    is_folder, is_file = stat.S_ISDIR(status.st_mode), stat.S_ISREG(status.st_mode)
    if not (is_folder or is_file) or (is_folder and _is_image(link)):
        result.irregular.append(link)
    elif is_file and not _is_image(link):
        return []
    elif _leads_out(real, result.name, bounds):
        result.links.append(link)
    elif is_folder:
        return [(link, real)]
    else:
        result.files.setdefault(real, _file(link, status))
    return []


def _is_image(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in SUFFIXES


def _file(path: str, status: os.stat_result) -> _File:
    inode = (status.st_dev, status.st_ino) if status.st_nlink > 1 else None
    return _File(path, status.st_size, status.st_mtime_ns, inode)


def _check_shared(tree: Path, folders: list[_ClassFolder], bounds: _Bounds) -> None:
    """Raise ValueError if a file is in two classes or in both splits, through links or as hard links."""
    real_paths = {name: real for real, name in bounds.classes.items()}
    first: dict[str | tuple[int, int], tuple[str, str]] = {}  # {file: the class folder and path where it is first}
    shared = []
    for folder in folders:
        for real, file in folder.files.items():
            if file.inode or not real.startswith(f"{real_paths[folder.name]}/"):  # it may have another path
                name, path = first.setdefault(file.inode or real, (folder.name, file.path))
                if name != folder.name:
                    shared.append((path, file.path))
    if shared:
        raise ValueError(
            f"{tree}: {len(shared)} images are the same files in two classes or in both train and val, such as "
            f"{shared[0][0]} and {shared[0][1]}: remove one of the two"
        )


def _sort(folders: list[_ClassFolder]) -> list[ImageFile]:
    """Return the images of a split in the order of the hashes of their paths: random, and the same everywhere."""
    images = [
        ImageFile(file.path, label, file.size, file.modified)
        for label, folder in enumerate(folders)
        for file in folder.files.values()
    ]
    return sorted(images, key=lambda image: (hashlib.sha256(os.fsencode(image.path)).digest(), image.path))
