"""Decodes picture files into arrays of one size, in several processes."""

import concurrent.futures.process
import contextlib
import hashlib
import io
import multiprocessing
import os
import signal
import stat
import sys
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from goodinit.processes import end_with_parent

__all__ = ["HEADER", "Chunk", "decode_chunks", "decode_square"]

HEADER = 128  # bytes before a .npy file's numbers


class Chunk(NamedTuple):
    """Pictures that one process decodes at a time: into rows of `file` from `start` on, of size (3, size, size)."""

    part: str
    start: int
    file: str
    paths: list[str]
    size: int


def decode_chunks(chunks: list[Chunk], total: int, processes: int | None) -> Iterator[dict]:
    """Decode chunks, and yield what `pictures` notes of each, in the order in which they are done.

    Args:
        chunks: what is left to do.
        total: number of pictures in all, for the progress bar.
        processes: how many; None is one for each processor.

    Raises:
        OSError: a file of arrays cannot be written.
        ValueError: a process was ended from outside.
    """
    from tqdm import tqdm

    left = sum(len(chunk.paths) for chunk in chunks)
    processes = min(processes or _processors(), max(len(chunks), 1))
    every = 0.5 if sys.stderr.isatty() else 30  # seconds; a log needs few lines
    with contextlib.ExitStack() as context:
        bar = context.enter_context(tqdm(total=total, initial=total - left, unit=" pictures", mininterval=every))
        if processes == 1:
            results = map(_decode_chunk, chunks)
        else:
            spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
            pool = concurrent.futures.ProcessPoolExecutor(processes, spawn, _begin_process)
            context.callback(pool.shutdown, cancel_futures=True)
            futures = [pool.submit(_decode_chunk, chunk) for chunk in chunks]
            results = (future.result() for future in concurrent.futures.as_completed(futures))
        try:
            for result in results:
                bar.update(result["count"])
                yield result
        except concurrent.futures.process.BrokenProcessPool:
            raise ValueError(
                "a process that decodes pictures was ended, perhaps because memory ran out: run again, with fewer "
                "--processes; what was done is kept"
            ) from None


def decode_square(content: bytes, size: int) -> np.ndarray:
    """Decode a picture and reduce its middle square.

    Args:
        content: of the file.
        size: height and width of the result.

    Returns:
        RGB, uint8 (3, size, size).

    Raises:
        Exception: whatever Pillow raises of content that it cannot decode.
        ValueError: the picture's gray values have no known depth.
    """
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content)) as image:
        image.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded at a half or less
        image.load()  # damage is reported once; after that, Pillow takes what it has for whole
        with contextlib.suppress(Exception):  # damaged EXIF turns nothing
            image = ImageOps.exif_transpose(image)
        if image.mode == "F" or (image.mode == "I" and not 255 < np.asarray(image).max() < 2**16):
            raise ValueError("its gray values are of no known depth")
        if image.mode.startswith("I"):  # 16 bits, which `convert` would clip to 8
            image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
        image = image.convert("RGB")
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = left, top, left + side, top + side
        square = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(square).transpose(2, 0, 1)


def _begin_process() -> None:
    """Leave it to the first process to report an interruption, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _decode_chunk(chunk: Chunk) -> dict:
    """Decode pictures into their rows of the file, where unreadable ones are black; return what is to be noted."""
    part, start, file, paths, size = chunk
    pixels, bad = np.zeros((len(paths), 3, size, size), np.uint8), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about oddities of a picture that can be read
        for row, path in enumerate(paths):
            content = b"?"
            try:
                content = _read(path)
                pixels[row] = decode_square(content, size)
            except Exception as error:  # a decoder may raise anything about damaged bytes
                bad.append((row, _reason(error, content)))
    try:
        with open(file, "r+b") as out:
            out.seek(HEADER + start * 3 * size * size)
            out.write(pixels.data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, file) from None
    numbers = pixels.transpose(1, 0, 2, 3).reshape(3, -1)
    counts = [np.bincount(channel, minlength=256) for channel in numbers]
    return {
        "part": part,
        "start": start,
        "count": len(paths),
        "sha256": hashlib.sha256(pixels.data).hexdigest(),
        "sum": [int(count @ np.arange(256)) for count in counts],
        "squares": [int(count @ np.arange(256) ** 2) for count in counts],
        "bad": bad,
    }


def _read(path: str) -> bytes:
    """Return a file's content, without waiting where it has become a FIFO since it was listed.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a regular file.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is not a regular file")
        return file.read()


def _reason(error: Exception, content: bytes) -> str:
    from PIL import UnidentifiedImageError

    if not content:
        return "the file is empty"
    return "it is no picture" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
