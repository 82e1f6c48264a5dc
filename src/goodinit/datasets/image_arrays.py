"""Writes the images of an image folder into arrays of one size, and resumes after an interruption.

The .npy files are written with `write` and not through `numpy.lib.format.open_memmap`: on a full disk, a memory map
kills the process (SIGBUS), and the number of rows in the header is known only after decoding.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from goodinit.datasets import image_folder
from goodinit.datasets.decode import HEADER_BYTES, Chunk, DecodedChunk, decode_chunks
from goodinit.datasets.image_folder import ImageFile, Listing
from goodinit.errors import one_line

__all__ = ["ALLOWED_BAD", "Written", "remove_progress", "write"]

LOGGER = logging.getLogger(__name__)
CHUNK_SIZE = 64  # images that one process decodes at once, and that are decoded again after an interruption
ALLOWED_BAD = 0.01  # share of the images of a data set
PROGRESS = ".progress.jsonl"

Done = dict[tuple[str, int], DecodedChunk]  # finished chunks by split and first row


class Written(NamedTuple):
    """Labels, int64 (N,), of each split, and the entries of the manifest."""

    labels: dict[str, NDArray[np.int64]]
    facts: dict[str, Any]


def write(
    tree: Path,
    folder: Path,
    size: int,
    *,
    processes: int | None = None,
    allowed_bad: float = ALLOWED_BAD,
    chunk_size: int = CHUNK_SIZE,
) -> Written:
    """Write the images of `tree`/train and `tree`/val as uint8 (N, 3, size, size) into `folder`.

    The tree has the layout of ImageNet, see `image_folder.list_images`. Images are rotated according to their EXIF
    data and converted to RGB as by torchvision's loader; the shorter side is resized to `size` with an antialiasing
    bilinear filter, and the center is cropped. Labels are indices into the sorted names of the classes. Images are in
    the order of the hashes of their paths, so that any consecutive ones are a random sample of all classes.

    The checksum of each finished chunk is stored, so that an interrupted preparation can be resumed. Unreadable images
    are listed, and replaced by the last readable ones.

    Args:
        tree: the image folder.
        folder: the folder of the arrays; only one process may write it at a time, see `files.locked`.
        size: height and width in pixels.
        processes: number of processes; None means one for each processor.
        allowed_bad: share of the images that may be unreadable.
        chunk_size: number of images that one process decodes at once.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: an argument is out of range, the tree is not an image folder, or too many images are unreadable.
    """
    if not 0 <= allowed_bad < 1:
        raise ValueError(f"allowed_bad must be at least 0 and less than 1, not {allowed_bad}")
    if processes is not None and processes < 1:
        raise ValueError(f"processes must be at least 1, not {processes}")
    listing = image_folder.list_images(tree)
    if ignored := image_folder.describe_ignored(listing.links, listing.irregular):
        LOGGER.warning("%s", one_line(f"{tree}: {ignored}"))
    fingerprint = image_folder.fingerprint(listing.splits)
    folder.mkdir(parents=True, exist_ok=True)
    files = {split: folder / f"{split}_images.npy" for split in listing.splits}
    done = _write_images(tree, listing, files, fingerprint, size, processes, allowed_bad, chunk_size)
    labels, unreadable = {}, []
    for split, images in listing.splits.items():
        bad = _unreadable(images, done, split)
        unreadable += [{"file": path, "reason": reason} for path, reason in bad.values()]
        rows = _compacted_rows(len(images), set(bad))
        _compact_file(files[split], rows, size)
        labels[split] = np.array([images[row].label for row in rows], np.int64)
    for entry in unreadable:
        LOGGER.warning("%s", one_line(f"not readable, left out: {tree / entry['file']}: {entry['reason']}"))
    for label, name in enumerate(listing.classes):
        if label not in labels["test"]:
            LOGGER.warning("%s", one_line(f"{tree}: the class {name} has no images for testing"))
    facts = _facts(listing.classes, labels, done, size) | {
        "fingerprint": fingerprint,
        "unreadable": unreadable,
        "passed_over": {"links": len(listing.links), "irregular": len(listing.irregular)},
    }
    return Written(labels, facts)


def remove_progress(folder: Path) -> None:
    """Remove the stored progress of a finished preparation."""
    (folder / PROGRESS).unlink(missing_ok=True)


def _write_images(
    tree: Path,
    listing: Listing,
    files: dict[str, Path],
    fingerprint: str,
    size: int,
    processes: int | None,
    allowed_bad: float,
    chunk_size: int,
) -> Done:
    """Decode the unfinished chunks into the rows of the files; return all chunks.

    Raises:
        ValueError: too many images are unreadable; finished chunks stay stored.
    """
    import PIL

    progress_file = files["train"].with_name(PROGRESS)
    header = {"fingerprint": fingerprint, "size": size, "chunk_size": chunk_size, "pillow": PIL.__version__}
    total = sum(map(len, listing.splits.values()))
    with progress_file.open("ab") as progress:
        done = _resume(progress_file, header, files, size)
        if done is None:
            if os.path.getsize(progress_file):
                LOGGER.warning("%s: starting again: the images, the size or Pillow have changed", progress_file.parent)
            for file in files.values():
                file.open("wb").close()
            os.truncate(progress_file, 0)
            _append(progress, header)
            done = {}
        chunks = [
            Chunk(split, start, str(files[split]), [str(tree / image.path) for image in batch], size)
            for split, images in listing.splits.items()
            for start, batch in _split_into_chunks(images, chunk_size)
            if (split, start) not in done
        ]
        bad = sum(len(chunk.unreadable) for chunk in done.values())
        for chunk in decode_chunks(chunks, total, processes):
            _append(progress, asdict(chunk))
            done[chunk.split, chunk.start] = chunk
            bad += len(chunk.unreadable)
            if bad > allowed_bad * total:
                break
    _check_unreadable(tree, listing, done, allowed_bad * total)
    return done


def _split_into_chunks(images: list[ImageFile], size: int) -> Iterator[tuple[int, list[ImageFile]]]:
    for start in range(0, len(images), size):
        yield start, images[start : start + size]


def _append(progress: BinaryIO, line: dict[str, Any]) -> None:
    progress.write(json.dumps(line).encode() + b"\n")
    progress.flush()


def _resume(progress: Path, header: dict[str, Any], files: dict[str, Path], size: int) -> Done | None:
    """Return the stored chunks whose rows match their checksum; None if the progress has no header or another one."""
    content = progress.read_bytes()
    content = content[: content.rfind(b"\n") + 1]  # the last line may be incomplete
    os.truncate(progress, len(content))
    lines = [json.loads(line) for line in content.splitlines()]
    if not lines or lines[0] != header or not all(file.exists() for file in files.values()):
        return None
    done = {}
    for line in lines[1:]:
        chunk = DecodedChunk(**line | {"unreadable": [(row, reason) for row, reason in line["unreadable"]]})
        with files[chunk.split].open("rb") as file:
            file.seek(HEADER_BYTES + chunk.start * 3 * size * size)
            if hashlib.sha256(file.read(chunk.count * 3 * size * size)).hexdigest() == chunk.sha256:
                done[chunk.split, chunk.start] = chunk
    return done


def _unreadable(images: list[ImageFile], done: Done, split: str) -> dict[int, tuple[str, str]]:
    """Return {row: (path, reason)} of the unreadable images of a split, in order."""
    chunks = sorted((chunk.start, chunk.unreadable) for chunk in done.values() if chunk.split == split)
    return {start + row: (images[start + row].path, reason) for start, bad in chunks for row, reason in bad}


def _check_unreadable(tree: Path, listing: Listing, done: Done, allowed: float) -> None:
    """Raise ValueError if more images than allowed, or all of a split, are unreadable."""
    unreadable = {split: _unreadable(images, done, split) for split, images in listing.splits.items()}
    bad = [entry for entries in unreadable.values() for entry in entries.values()]
    if len(bad) > allowed:
        path, reason = bad[0]
        raise ValueError(
            f"{tree}: at least {len(bad)} of {sum(map(len, listing.splits.values()))} images cannot be read, such as "
            f"{path} ({reason}); at most {int(allowed)} are allowed: allow a larger share with --allowed-bad, which "
            "resumes, or fix or delete them, which starts again"
        )
    for split, images in listing.splits.items():
        if len(unreadable[split]) == len(images):
            raise ValueError(f"{tree}: no image of {split} can be read")


def _compacted_rows(count: int, bad: set[int]) -> list[int]:
    """Return the origin of each row of the compacted file: the last good rows replace the bad ones."""
    kept = count - len(bad)
    last = (row for row in range(kept, count) if row not in bad)
    return [next(last) if row in bad else row for row in range(kept)]


def _compact_file(path: Path, rows: list[int], size: int) -> None:
    """Turn decoded rows into a complete .npy file of the given rows; after an interruption, this can be repeated.

    Args:
        path: the path of the file.
        rows: origin of each row, see `_compacted_rows`.
        size: height and width of an image.
    """
    row_bytes = 3 * size * size
    with path.open("r+b") as file:
        for row, origin in enumerate(rows):
            if row != origin:
                file.seek(HEADER_BYTES + origin * row_bytes)
                content = file.read(row_bytes)
                file.seek(HEADER_BYTES + row * row_bytes)
                file.write(content)
        file.truncate(HEADER_BYTES + len(rows) * row_bytes)
        file.seek(0)
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), 3, size, size)}
        np.lib.format.write_array_header_1_0(file, header)
        assert file.tell() == HEADER_BYTES


def _facts(classes: list[str], labels: dict[str, NDArray[np.int64]], done: Done, size: int) -> dict[str, Any]:
    """Return sizes, classes, and the mean and standard deviation of the channels, as entries of the manifest."""
    count = len(labels["train"])
    train = [chunk for chunk in done.values() if chunk.split == "train"]
    total = np.array([chunk.sums for chunk in train]).sum(0)
    squares = np.array([chunk.squares for chunk in train]).sum(0)
    mean = total / (count * size * size)
    return {
        "shape": [3, size, size],
        "classes": len(classes),
        "train_examples": count,
        "test_examples": len(labels["test"]),
        "mean": (mean / 255).round(6).tolist(),
        "sd": (np.sqrt(squares / (count * size * size) - mean**2) / 255).round(6).tolist(),
        "class_names": classes,
    }
