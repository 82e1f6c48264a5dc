"""Decodes image files into arrays of one size, in several processes."""

import concurrent.futures.process
import contextlib
import hashlib
import io
import multiprocessing
import os
import stat
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from goodinit.errors import is_out_of_memory
from goodinit.processes import begin_worker

__all__ = ["HEADER_BYTES", "Chunk", "DecodedChunk", "decode_chunks", "decode_square"]

HEADER_BYTES = 128  # of a .npy file, before the numbers


class Chunk(NamedTuple):
    """Images that one process decodes at once, into consecutive rows, (3, size, size), of a .npy file.

    Attributes:
        split: `train` or `test`.
        start: row of the first image.
        file: path of the .npy file.
        paths: the paths of the images.
        size: height and width in pixels.
    """

    split: str
    start: int
    file: str
    paths: list[str]
    size: int


@dataclass(frozen=True)
class DecodedChunk:
    """Description of decoded images, which is stored so that an interrupted preparation can be resumed.

    Args:
        split: `train` or `test`.
        start: row of the first image.
        count: number of images.
        sha256: SHA-256 of the rows.
        sums: sum of the pixels of each channel.
        squares: sum of their squares.
        unreadable: (row in the chunk, reason) of images that cannot be decoded; their rows are 0.
    """

    split: str
    start: int
    count: int
    sha256: str
    sums: list[int]
    squares: list[int]
    unreadable: list[tuple[int, str]]


def decode_chunks(chunks: Sequence[Chunk], total: int, processes: int | None) -> Iterator[DecodedChunk]:
    """Decode chunks, show a progress bar, and yield the chunks in the order in which they are finished.

    Args:
        chunks: the chunks that are not decoded yet.
        total: number of images including those that are already decoded, for the progress bar.
        processes: number of processes; None means one for each processor.

    Raises:
        OSError: a .npy file cannot be written.
        ValueError: a worker process was killed.
    """
    from tqdm import tqdm

    remaining = sum(len(chunk.paths) for chunk in chunks)
    processes = min(processes or _count_processors(), max(len(chunks), 1))
    seconds = 0.5 if sys.stderr.isatty() else 30  # between two updates of the bar, which are lines in a log file
    others = set(multiprocessing.active_children())
    with contextlib.ExitStack() as context:
        bar = context.enter_context(
            tqdm(total=total, initial=total - remaining, unit=" images", mininterval=seconds, file=sys.stderr)
        )
        try:
            results: Iterable[DecodedChunk]
            if processes == 1:
                results = map(_decode_chunk, chunks)
            else:
                spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
                pool = concurrent.futures.ProcessPoolExecutor(processes, spawn, begin_worker)
                # Start all processes before the thread of the pool that watches them: a process that ends while another
                # is started makes this thread fail or the start. The pool has no public option for this.
                pool._safe_to_dynamically_spawn_children = False  # type: ignore[attr-defined]
                context.callback(pool.shutdown, cancel_futures=True)
                futures = [_submit(pool, chunk) for chunk in chunks]
                results = (future.result() for future in concurrent.futures.as_completed(futures))
            for result in results:
                bar.update(result.count)
                yield result
        except concurrent.futures.process.BrokenProcessPool:
            for worker in set(multiprocessing.active_children()) - others:
                worker.kill()  # one that started while the pool broke; the pool would wait for it forever
            raise ValueError(
                "a process that decodes images was ended, perhaps for lack of memory: run again, with fewer "
                "--processes; finished images are kept"
            ) from None


def decode_square(content: bytes, size: int) -> NDArray[np.uint8]:
    """Decode an image, and resize its central square.

    Args:
        content: the content of the file.
        size: height and width of the result.

    Returns:
        RGB, uint8 (3, size, size).

    Raises:
        Exception: any exception that Pillow raises for content that it cannot decode.
        ValueError: the gray values of the image are neither of 8 nor of 16 bits.
    """
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content)) as opened:
        opened.draft(None, (2 * size, 2 * size))  # decodes a large JPEG at a half of its size or less
        opened.load()  # Pillow reports damage only once, and then treats the pixels that it has as whole
        image: Image.Image = opened
        with contextlib.suppress(Exception):  # damaged EXIF data are ignored
            image = ImageOps.exif_transpose(image)
        if image.mode == "F" or (image.mode == "I" and not 255 < np.asarray(image).max() < 2**16):
            raise ValueError("its gray values have neither 8 nor 16 bits")
        if image.mode.startswith("I"):  # 16 bits, which `convert` would clip to 8
            image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
        image = image.convert("RGB")
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = left, top, left + side, top + side
        square = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(square).transpose(2, 0, 1)


def _submit(pool: concurrent.futures.ProcessPoolExecutor, chunk: Chunk) -> concurrent.futures.Future[DecodedChunk]:
    """Submit a chunk to a pool, which starts its processes at the first one.

    Raises:
        concurrent.futures.process.BrokenProcessPool: the pool is broken, or a process ended while it was started.
    """
    try:
        return pool.submit(_decode_chunk, chunk)
    except BrokenPipeError as error:  # a process was ended before it read how to begin
        raise concurrent.futures.process.BrokenProcessPool("a process ended while it was started") from error


def _count_processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _decode_chunk(chunk: Chunk) -> DecodedChunk:
    """Decode images into their rows of the file."""
    pixels = np.zeros((len(chunk.paths), 3, chunk.size, chunk.size), np.uint8)
    unreadable = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about oddities of readable images
        for row, path in enumerate(chunk.paths):
            content = b"?"
            try:
                content = _read(path)
                pixels[row] = decode_square(content, chunk.size)
            except Exception as error:  # a decoder may raise any exception for damaged content
                if is_out_of_memory(error):
                    raise
                unreadable.append((row, _reason(error, content)))
    try:
        with open(chunk.file, "r+b") as file:
            file.seek(HEADER_BYTES + chunk.start * pixels[0].nbytes)
            file.write(pixels.data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, chunk.file) from None
    channels = pixels.transpose(1, 0, 2, 3).reshape(3, -1)
    histograms = [np.bincount(channel, minlength=256) for channel in channels]
    return DecodedChunk(
        split=chunk.split,
        start=chunk.start,
        count=len(chunk.paths),
        sha256=hashlib.sha256(pixels.data).hexdigest(),
        sums=[int(histogram @ np.arange(256)) for histogram in histograms],
        squares=[int(histogram @ np.arange(256) ** 2) for histogram in histograms],
        unreadable=unreadable,
    )


def _read(path: str) -> bytes:
    """Return the content of a file; do not wait if it has been replaced by a FIFO since it was listed.

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
    return "it is not an image" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
