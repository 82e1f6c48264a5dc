"""Image files are decoded to RGB of one size, whatever their format; damaged ones are rejected."""

import concurrent.futures
import errno
import io
import multiprocessing
import os
import re
import threading
import time

import numpy as np
import pytest
from image_files import encode, encode_pixels
from PIL import Image

from goodinit.datasets import decode


def test_central_square_is_resized_with_antialiasing():
    wide = np.repeat(np.arange(90, dtype=np.uint8)[None], 30, 0).repeat(3).reshape(30, 90, 3)
    square = decode.decode_square(encode_pixels(wide), 10)
    assert square.shape == (3, 10, 10)
    np.testing.assert_allclose(square[0, 5, 1:-1], 30 + np.arange(4, 28, 3), atol=1)  # columns 30 to 59
    checkerboard = (np.indices((30, 30)).sum(0) % 2 * 255).astype(np.uint8)
    assert abs(decode.decode_square(encode_pixels(checkerboard), 10).astype(int) - 127).max() < 30


@pytest.mark.parametrize(
    ("mode", "suffix", "color", "expected"),
    [
        ("L", "jpeg", (90, 90, 90), (90, 90, 90)),
        ("CMYK", "jpeg", (200, 30, 60), (200, 30, 60)),
        ("P", "png", (255, 0, 51), (255, 0, 51)),
        ("RGBA", "png", (200, 30, 60), (200, 30, 60)),
        ("LA", "png", (90, 90, 90), (90, 90, 90)),
        ("1", "png", (255, 255, 255), (255, 255, 255)),
        ("RGB", "webp", (200, 30, 60), (200, 30, 60)),
    ],
)
def test_other_color_modes_are_converted_to_rgb(mode, suffix, color, expected):
    square = decode.decode_square(encode(color, (40, 30), mode, suffix), 8)
    assert abs(square.astype(int) - np.array(expected)[:, None, None]).max() <= 5


def test_sixteen_bits_are_reduced_to_eight():
    content = encode_pixels(np.full((20, 20), 90 * 256 + 7, np.uint16))
    assert (decode.decode_square(content, 8) == 90).all()


def test_images_are_rotated_according_to_their_exif_data():
    image = Image.new("RGB", (32, 32))
    image.paste((255, 255, 255), (0, 0, 32, 16))  # the upper half
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise: the upper half becomes the right one
    image.save(file, "jpeg", exif=exif, quality=95)
    square = decode.decode_square(file.getvalue(), 8).astype(int)
    assert square[:, :, 5:].min() > 200
    assert square[:, :, :3].max() < 50


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("png", {}), ("jpeg", {"progressive": True}), ("tiff", {"compression": "tiff_adobe_deflate"})],
)
def test_damaged_content_is_rejected_if_pillow_reports_it(suffix, options):
    """Pillow reports damage only once, and then treats the pixels that it has as whole."""
    random, rejected = np.random.default_rng(0), 0
    noise = random.integers(0, 255, (64, 64, 3)).astype(np.uint8)
    whole = encode_pixels(noise, suffix, **options)
    for _ in range(30):
        content = bytearray(whole)
        start = int(random.integers(len(content) // 4, len(content) - 50))
        content[start : start + 8] = bytes(random.integers(0, 255, 8).astype(np.uint8))
        try:
            with Image.open(io.BytesIO(content)) as image:
                image.load()
        except Exception:  # a decoder may raise any exception
            rejected += 1
            with pytest.raises(Exception, match=r"."):
                decode.decode_square(bytes(content), 16)
    assert rejected or suffix == "jpeg"


@pytest.mark.parametrize(("mode", "color"), [("F", 0.5), ("I", 200), ("I", 70000)])
def test_gray_values_of_unknown_depth_are_rejected(mode, color):
    file = io.BytesIO()
    Image.new(mode, (20, 20), color).save(file, "tiff")
    with pytest.raises(ValueError, match="neither 8 nor 16 bits"):
        decode.decode_square(file.getvalue(), 8)


@pytest.fixture
def rows(tmp_path):
    """The path of a file with space for the header of a .npy file only."""
    file = tmp_path / "rows.npy"
    file.write_bytes(bytes(decode.HEADER_BYTES))
    return file


def test_file_that_becomes_a_fifo_after_it_was_listed_is_unreadable(tmp_path, rows):
    os.mkfifo(tmp_path / "x.jpg")
    chunk = decode.Chunk("train", 0, str(rows), [str(tmp_path / "x.jpg")], 8)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        (decoded,) = pool.submit(lambda: list(decode.decode_chunks([chunk], 1, 1))).result(20)
    assert decoded.unreadable == [(0, "it is not a regular file")]


@pytest.mark.parametrize(
    "error", [MemoryError("no memory"), OSError(errno.ENOMEM, "Cannot allocate memory"), OSError("out of memory error")]
)
def test_lack_of_memory_is_no_damage_of_an_image(rows, monkeypatch, error):
    def fail(path):
        raise error

    monkeypatch.setattr(decode, "_read", fail)
    with pytest.raises(type(error), match=re.escape(str(error))):
        list(decode.decode_chunks([decode.Chunk("train", 0, str(rows), ["x.jpg"], 8)], 1, 1))


@pytest.mark.parametrize("processes", [2, 20])
@pytest.mark.parametrize("delay", [0, 0.001, 0.002, 0.004, 0.008, 0.016])
def test_killed_worker_is_a_one_line_error(tmp_path, rows, delay, processes):
    """Also if it is killed while other workers are started; an error in a thread of the pool fails the test."""
    (tmp_path / "x.jpg").write_bytes(encode())
    chunks = [decode.Chunk("train", row, str(rows), [str(tmp_path / "x.jpg")], 8) for row in range(2 * processes)]
    decoded = threading.Event()

    def kill_workers():
        while not (workers := multiprocessing.active_children()) and not decoded.wait(0.001):
            pass
        time.sleep(delay)
        workers[0].kill()

    killer = threading.Thread(target=kill_workers)
    killer.start()
    message = r"a process that decodes images was ended.*--processes; finished images are kept"
    with pytest.raises(ValueError, match=message):
        list(decode.decode_chunks(chunks, len(chunks), processes))
    decoded.set()
    killer.join()
