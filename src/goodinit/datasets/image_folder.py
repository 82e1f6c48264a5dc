"""Lists the pictures of an image folder, `train/<class>/` and `val/<class>/`, and keeps its classes apart.

Links are followed, so that pictures can be linked in, but never into another class, the other part, or a folder that
holds either.  The folder itself, `train`, `val` and the class folders may be links.
"""

import hashlib
import os
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["LAYOUT", "Listing", "Picture", "fingerprint", "list_pictures", "passed_over"]

LAYOUT = "pictures in train/<class>/ and val/<class>/"
SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}  # those of torchvision


class Picture(NamedTuple):
    """A file of an image folder: its path below the folder, its class's number, its bytes, its time in nanoseconds."""

    path: str
    label: int
    size: int
    modified: int


class Listing(NamedTuple):
    """The pictures of an image folder, and what is passed over.

    Attributes:
        classes: names, sorted; a label is an index into them.
        parts: the pictures of `train` and of `test`, in the order of the hashes of their paths.
        links: paths of links that lead out of their class.
        irregular: paths of what is not a regular file: FIFOs, sockets, devices, and folders with a picture's suffix.
    """

    classes: list[str]
    parts: dict[str, list[Picture]]
    links: list[str]
    irregular: list[str]


class _Bounds(NamedTuple):
    """Which real folders must be kept apart.

    Attributes:
        classes: {real path of a class's folder: its path below the image folder}.
        parts: {`train`, `val` or `test`: real path of its folder}.
        above: {real path of a folder that holds, or is, the image folder or a part, or holds a class: what it holds}.
    """

    classes: dict[str, str]
    parts: dict[str, str]
    above: dict[str, str]


class _File(NamedTuple):
    """A picture's path below the image folder, bytes and time, and its inode where that has several names."""

    path: str
    size: int
    modified: int
    inode: tuple[int, int] | None


class _Found(NamedTuple):
    """What is in a class's folder, `<part>/<class>`: {real path: picture}, and the paths as in `Listing`."""

    place: str
    files: dict[str, _File]
    links: list[str]
    irregular: list[str]


def list_pictures(tree: Path) -> Listing:
    """List the pictures in and below each class's folder, but for hidden ones; where there is no `val`, `test` serves.

    A link is followed only if its real path is not, does not hold and does not lie in the folder of another class or
    of the other part; any other is passed over.  Each file counts once in a class, however many links lead to it.  A
    link that is broken counts as a picture, which cannot be read.

    Args:
        tree: the image folder.

    Raises:
        OSError: a folder cannot be read.
        ValueError: the layout is not that of classes, two classes or parts share a folder or a file, or a class has no
            pictures to train on.
    """
    test = "val" if (tree / "val").is_dir() else "test"
    for part in ("train", test):
        if not (tree / part).is_dir():
            raise ValueError(f"{tree}: there is no folder {part.replace('test', 'val')}: expected are {LAYOUT}")
    real_parts = _real_parts(tree, test)
    classes = _classes(tree / "train")
    if len(classes) < 2:
        count = f"one class alone, {classes[0]}" if classes else "no class"
        raise ValueError(f"{tree / 'train'}: there is {count}; at least two are needed: expected are {LAYOUT}")
    for name in _classes(tree / test):
        if name not in classes:
            raise ValueError(f"{tree / test / name}: this class is not in {tree / 'train'}")
    bounds = _bounds(tree, real_parts, classes)
    found = {part: [_scan(tree, f"{part}/{name}", bounds) for name in classes] for part in ("train", test)}
    everything = [*found["train"], *found[test]]
    links = sorted(path for one in everything for path in one.links)
    irregular = sorted(path for one in everything for path in one.irregular)
    hint = f" ({skipped})" if (skipped := passed_over(links, irregular)) else ""
    for empty in (one.place for one in found["train"] if not one.files):
        raise ValueError(f"{tree / empty}: there are no pictures of this class{hint}: put some there, or delete it")
    if not any(one.files for one in found[test]):
        raise ValueError(f"{tree / test}: there are no pictures{hint}: expected are {LAYOUT}")
    _check_shared(tree, everything, bounds)
    return Listing(classes, {"train": _pictures(found["train"]), "test": _pictures(found[test])}, links, irregular)


def fingerprint(parts: dict[str, list[Picture]]) -> str:
    """Return the SHA-256, in hexadecimal, of the paths, labels, sizes and times of all pictures."""
    digest = hashlib.sha256()
    for part, listed in parts.items():
        for path, label, size, modified in listed:
            digest.update(os.fsencode(f"{part}\0{label}\0{path}\0{size}\0{modified}\0"))
    return digest.hexdigest()


def passed_over(links: list[str], irregular: list[str]) -> str:
    """Return how many entries are passed over and why, with an example of each kind, or an empty string."""
    kinds = ((links, "links that lead out of their class"), (irregular, "what is not a regular file"))
    counts = [f"{kind}: {len(paths)}, such as {paths[0]}" for paths, kind in kinds if paths]
    return f"passed over are {'; '.join(counts)}" if counts else ""


def _classes(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
    for entry in shown:
        if entry.is_symlink() and not os.path.exists(entry) and not _is_picture(entry.name):
            raise ValueError(f"{entry.path}: this link leads nowhere: let it lead to the class's folder, or remove it")
    return sorted(entry.name for entry in shown if entry.is_dir())


def _parents(path: str) -> Iterator[str]:
    while (parent := os.path.dirname(path)) != path:
        yield parent
        path = parent


def _real_parts(tree: Path, test: str) -> dict[str, str]:
    """Return {part: the real path of its folder}; raise ValueError where they are one, or one holds the other."""
    parts = {part: os.path.realpath(tree / part) for part in ("train", test)}
    for part, other in (("train", test), (test, "train")):
        if parts[part] in (parts[other], *_parents(parts[other])):
            raise ValueError(
                f"{tree}: the folder of {part}, {parts[part]}, is that of {other} or holds it: a picture must not be "
                "in both: make them separate folders"
            )
    return parts


def _bounds(tree: Path, parts: dict[str, str], classes: list[str]) -> _Bounds:
    """Return what must be kept apart; raise ValueError where two classes share one or one holds another."""
    bounds = _Bounds({}, parts, {})
    for place in (f"{part}/{name}" for part in parts for name in classes):
        if (tree / place).is_dir():
            real = os.path.realpath(tree / place)
            if real in bounds.classes:
                raise _shared_folder(tree, place, real, bounds.classes[real])
            bounds.classes[real] = place
    for real, place in ((os.path.realpath(tree), tree.name), *((real, part) for part, real in bounds.parts.items())):
        bounds.above.update(dict.fromkeys((real, *_parents(real)), place))
    for real, place in bounds.classes.items():
        bounds.above.update(dict.fromkeys(_parents(real), place))
    for real, place in bounds.classes.items():
        if real in bounds.above:
            raise _shared_folder(tree, place, real, bounds.above[real])
        for part, folder in bounds.parts.items():
            if part != _part(place) and folder in _parents(real):
                raise _shared_folder(tree, place, real, part)
    return bounds


def _part(place: str) -> str:
    return place.partition("/")[0]


def _shared_folder(tree: Path, place: str, real: str, other: str) -> ValueError:
    return ValueError(
        f"{tree / place}: its real folder, {real}, is that of {other}, holds it or lies in it: a picture must not "
        "be in two classes, nor in both train and val: remove the link"
    )


def _leads_out(real: str, place: str, bounds: _Bounds) -> bool:
    """Return whether what a link in the class folder `place` leads to is part of, or holds, another class or part."""
    if real in bounds.above:
        return True
    for folder in (real, *_parents(real)):
        if folder in bounds.classes:
            return bounds.classes[folder] != place
        if folder in bounds.parts.values():
            return folder != bounds.parts[_part(place)]
    return False


def _scan(tree: Path, place: str, bounds: _Bounds) -> _Found:
    """Return the pictures in and below a class's folder; where there is no such folder, none.

    Links come after everything that is reached without them, and all in sorted order, so that the path under which a
    file is listed does not depend on the file system.
    """
    found = _Found(place, {}, [], [])
    if not (tree / place).is_dir():
        return found
    folders, links, seen = [(place, os.path.realpath(tree / place))], deque(), set()
    while folders or links:
        if not folders:
            folders += _follow(tree, links.popleft(), bounds, found)
            continue
        here, real = folders.pop()
        if real in seen:
            continue
        seen.add(real)
        for entry in sorted(os.scandir(tree / here), key=lambda entry: entry.name):
            path = f"{here}/{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_symlink():
                links.append(path)
            elif entry.is_dir() and not _is_picture(path):
                folders.append((path, f"{real}/{entry.name}"))
            elif not entry.is_file():
                found.irregular.append(path)
            elif _is_picture(path):
                found.files.setdefault(f"{real}/{entry.name}", _file(path, entry.stat()))
    return found


def _follow(tree: Path, link: str, bounds: _Bounds, found: _Found) -> list[tuple[str, str]]:
    """Note what a link leads to; return [(path, real path)] where that is a folder to be scanned, else []."""
    try:
        status = os.stat(tree / link)
    except OSError:  # broken
        if _is_picture(link):
            found.files[str(tree / link)] = _file(link, os.lstat(tree / link))
        return []
    real = os.path.realpath(tree / link)
    folder, file = stat.S_ISDIR(status.st_mode), stat.S_ISREG(status.st_mode)
    if not (folder or file) or (folder and _is_picture(link)):
        found.irregular.append(link)
    elif file and not _is_picture(link):
        return []
    elif _leads_out(real, found.place, bounds):
        found.links.append(link)
    elif folder:
        return [(link, real)]
    else:
        found.files.setdefault(real, _file(link, status))
    return []


def _is_picture(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in SUFFIXES


def _file(path: str, status: os.stat_result) -> _File:
    inode = (status.st_dev, status.st_ino) if status.st_nlink > 1 else None
    return _File(path, status.st_size, status.st_mtime_ns, inode)


def _check_shared(tree: Path, found: list[_Found], bounds: _Bounds) -> None:
    """Check that no file is in two classes or in both parts, by links that lead to the same place or as hard links.

    Raises:
        ValueError: there is such a file.
    """
    own = {place: real for real, place in bounds.classes.items()}
    seen, shared = {}, []
    for one in found:
        for real, file in one.files.items():
            if file.inode or not real.startswith(f"{own[one.place]}/"):  # it may be reached in another way, too
                place, path = seen.setdefault(file.inode or real, (one.place, file.path))
                if place != one.place:
                    shared.append((path, file.path))
    if shared:
        raise ValueError(
            f"{tree}: {len(shared)} pictures are the same files in two classes or in both train and val, such as "
            f"{shared[0][0]} and {shared[0][1]}: remove one of the two"
        )


def _pictures(found: list[_Found]) -> list[Picture]:
    """Return a part's pictures in the order of the hashes of their paths, which is random and the same everywhere."""
    pictures = [
        Picture(file.path, label, file.size, file.modified)
        for label, one in enumerate(found)
        for file in one.files.values()
    ]
    return sorted(pictures, key=lambda picture: (hashlib.sha256(os.fsencode(picture.path)).digest(), picture.path))
