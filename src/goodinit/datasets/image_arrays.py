"""Writes the pictures of an image folder into arrays of one size, and goes on where that was interrupted."""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from goodinit.datasets import image_folder
from goodinit.datasets.decode import HEADER, Chunk, decode_chunks
from goodinit.datasets.image_folder import Picture
from goodinit.errors import one_line

__all__ = ["ALLOWED_BAD", "locked", "write"]

CHUNK = 64  # pictures that one process decodes at once, and that are decoded again after an interruption
ALLOWED_BAD = 0.01  # of the pictures of a set
PROGRESS = ".progress.jsonl"

Parts = dict[str, list[Picture]]
Done = dict[tuple[str, int], dict]  # what is noted of each finished chunk, by its part and first row


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder, and let one process at a time into the block; the others wait.

    The lock is on the progress file, which is removed when the block ends, or breaks off before any progress.
    """
    import fcntl

    file, done = folder / PROGRESS, False
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        progress = file.open("ab")
        fcntl.flock(progress, fcntl.LOCK_EX)
        if file.exists() and os.path.samestat(file.stat(), os.fstat(progress.fileno())):
            break
        progress.close()  # another process had the lock, and has removed the file
    with progress:
        try:
            yield
            done = True
        finally:
            if file.exists() and (done or not file.stat().st_size):
                file.unlink()
                with contextlib.suppress(OSError):  # it is not empty
                    folder.rmdir()


def write(
    tree: Path, folder: Path, size: int, *, processes: int | None = None, allowed_bad: float = ALLOWED_BAD
) -> tuple[dict, dict[str, np.ndarray]]:
    """Write the pictures of `tree`/train and `tree`/val as uint8 (N, 3, size, size) into `folder`.

    The tree has ImageNet's layout, see `image_folder.list_pictures`.  Each picture is turned as its EXIF data say and
    converted to RGB as by torchvision's loader; its shorter side is resized to `size` with an antialiasing bilinear
    filter, and its center is cut out.  Labels are indices into the sorted names of the classes.  Pictures are in the
    order of the hashes of their paths, so that any first or neighboring ones are a random sample of all classes.

    Each finished chunk is noted with its checksum, so that an interrupted preparation goes on.  Unreadable pictures
    are listed, and the last readable ones take their places.

    Args:
        tree: the image folder.
        folder: that of the arrays; it is locked.
        size: height and width in pixels.
        processes: how many; None is one for each processor.
        allowed_bad: the share of the pictures that may be unreadable.

    Returns:
        The facts for the manifest, and {part: labels, int64 (N,)} of `train` and `test`.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: an argument is out of range, the tree is not an image folder, or too many pictures are unreadable.
    """
    if not 0 <= allowed_bad < 1:
        raise ValueError(f"allowed_bad: {allowed_bad} is not between 0 and 1")
    if processes is not None and processes < 1:
        raise ValueError(f"processes: {processes} is not at least 1")
    classes, parts, links, irregular = image_folder.list_pictures(tree)
    if links or irregular:
        print(one_line(f"{tree}: {image_folder.passed_over(links, irregular)}"), file=sys.stderr)
    fingerprint = image_folder.fingerprint(parts)
    files = {part: folder / f"{part}_images.npy" for part in parts}
    done = _write_images(tree, parts, files, fingerprint, size, processes, allowed_bad)
    bad = {part: {row for row, _, _ in _bad(parts, done, part)} for part in parts}
    labels = {}
    for part, file in files.items():
        _close_up(file, len(parts[part]), bad[part], size)
        rows = _places(len(parts[part]), bad[part])
        labels[part] = np.array([parts[part][row].label for row in rows], np.int64)
    unreadable = [{"file": file, "reason": reason} for part in parts for _, file, reason in _bad(parts, done, part)]
    for one in unreadable:
        print(f"not readable, left out: {tree / one['file']}: {one['reason']}", file=sys.stderr)
    for number, name in enumerate(classes):
        if number not in labels["test"]:
            print(f"{tree}: no pictures of the class {name} to test on", file=sys.stderr)
    more = {
        "fingerprint": fingerprint,
        "unreadable": unreadable,
        "passed_over": {"links": len(links), "irregular": len(irregular)},
    }
    return _facts(classes, labels, done, size) | more, labels


def _write_images(
    tree: Path,
    parts: Parts,
    files: dict[str, Path],
    fingerprint: str,
    size: int,
    processes: int | None,
    allowed_bad: float,
) -> Done:
    """Decode the chunks that are not done into the rows of their part's file; return what is noted of all.

    Raises:
        ValueError: too many pictures are unreadable; what is done stays noted.
    """
    import PIL

    progress_file = files["train"].with_name(PROGRESS)
    begin = {"fingerprint": fingerprint, "size": size, "chunk": CHUNK, "pillow": PIL.__version__}
    done = _resume(progress_file, begin, files, size)
    total = sum(map(len, parts.values()))
    chunks = [
        Chunk(part, start, str(files[part]), [str(tree / one.path) for one in listed[start : start + CHUNK]], size)
        for part, listed in parts.items()
        for start in range(0, len(listed), CHUNK)
        if (part, start) not in done
    ]
    with progress_file.open("ab") as progress:
        if not done:
            if progress.tell():
                print(
                    f"{progress_file.parent}: begun again: the pictures, the size or Pillow are not those of before",
                    file=sys.stderr,
                )
            for file in files.values():
                file.open("wb").close()
            os.truncate(progress.name, 0)
            _note(progress, begin)
        bad = sum(len(chunk["bad"]) for chunk in done.values())
        for chunk in decode_chunks(chunks, total, processes):
            _note(progress, chunk)
            done[chunk["part"], chunk["start"]] = chunk
            bad += len(chunk["bad"])
            if bad > allowed_bad * total:
                break
    _check_bad(tree, parts, done, allowed_bad * total)
    return done


def _note(progress: BinaryIO, line: dict) -> None:
    progress.write(json.dumps(line).encode() + b"\n")
    progress.flush()


def _resume(progress: Path, begin: dict, files: dict[str, Path], size: int) -> Done:
    """Return what is noted of the chunks that are finished, and whose rows still have the checksum that was noted."""
    content = progress.read_bytes()
    os.truncate(progress, content.rfind(b"\n") + 1)  # the last line may be torn off
    lines = [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]
    if not lines or lines[0] != begin or not all(file.exists() for file in files.values()):
        return {}
    done = {}
    for chunk in lines[1:]:
        with files[chunk["part"]].open("rb") as file:
            file.seek(HEADER + chunk["start"] * 3 * size * size)
            if hashlib.sha256(file.read(chunk["count"] * 3 * size * size)).hexdigest() == chunk["sha256"]:
                done[chunk["part"], chunk["start"]] = chunk
    return done


def _bad(parts: Parts, done: Done, part: str) -> list[tuple[int, str, str]]:
    """Return (row, path, reason) of a part's unreadable pictures, in order."""
    chunks = sorted((start, chunk["bad"]) for (one, start), chunk in done.items() if one == part)
    return [(start + row, parts[part][start + row].path, reason) for start, bad in chunks for row, reason in bad]


def _check_bad(tree: Path, parts: Parts, done: Done, allowed: float) -> None:
    """Raise ValueError where more pictures than allowed, or all of a part, are unreadable."""
    bad = [one for part in parts for one in _bad(parts, done, part)]
    if len(bad) > allowed:
        _, path, reason = bad[0]
        raise ValueError(
            f"{tree}: at least {len(bad)} of {sum(map(len, parts.values()))} pictures cannot be read, such as {path} "
            f"({reason}); allowed are {int(allowed)}: allow a larger share with --allowed-bad, which goes on, or mend "
            "or delete them, which begins again"
        )
    for part, listed in parts.items():
        if len(_bad(parts, done, part)) == len(listed):
            raise ValueError(f"{tree}: no picture of {part} can be read")


def _places(count: int, bad: set[int]) -> list[int]:
    """Return, for each row that stays, the row that it comes from: the last good ones fill the bad ones' places."""
    kept = count - len(bad)
    last = (row for row in range(kept, count) if row not in bad)
    return [next(last) if row in bad else row for row in range(kept)]


def _close_up(file: Path, count: int, bad: set[int], size: int) -> None:
    """Make a part's file a whole .npy file without the bad rows; interrupted, it can be done again."""
    kept, row_bytes = count - len(bad), 3 * size * size
    with file.open("r+b") as out:
        for row, origin in enumerate(_places(count, bad)):
            if row != origin:
                out.seek(HEADER + origin * row_bytes)
                content = out.read(row_bytes)
                out.seek(HEADER + row * row_bytes)
                out.write(content)
        out.truncate(HEADER + kept * row_bytes)
        out.seek(0)
        described = {"descr": "|u1", "fortran_order": False, "shape": (kept, 3, size, size)}
        np.lib.format.write_array_header_1_0(out, described)
        assert out.tell() == HEADER


def _facts(classes: list[str], labels: dict[str, np.ndarray], done: Done, size: int) -> dict:
    """Return what the manifest says of a set: its sizes, its classes, and the mean and deviation of its channels."""
    kept = len(labels["train"])
    train = [chunk for (part, _), chunk in done.items() if part == "train"]
    total, squares = (np.array([chunk[key] for chunk in train]).sum(0) for key in ("sum", "squares"))
    mean = total / (kept * size * size)
    return {
        "shape": [3, size, size],
        "classes": len(classes),
        "train_examples": kept,
        "test_examples": len(labels["test"]),
        "mean": (mean / 255).round(6).tolist(),
        "sd": (np.sqrt(squares / (kept * size * size) - mean**2) / 255).round(6).tolist(),
        "class_names": classes,
    }
