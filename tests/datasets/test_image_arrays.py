"""Arrays of image folders: order, statistics, unreadable images, and resuming after an interruption."""

import itertools
import os
import shutil

import numpy as np
import pytest
from file_system import file_size_limit
from image_files import COLORS, encode, write_cats

from goodinit.datasets import cache, decode, image_arrays


@pytest.fixture
def load(tmp_path):
    """Return the function that prepares the image folder `cats` of the temporary data folder, and loads its arrays."""

    def prepare(**options):
        cache.prepare("folder-cats-16", tmp_path, **{"processes": 1} | options)
        return cache.load("folder-cats-16", str(tmp_path))

    return prepare


def test_labels_are_indices_into_the_sorted_classes_and_statistics_are_those_of_training(tmp_path, load):
    write_cats(tmp_path)
    (images, labels, *test), manifest = load()
    assert images.shape == (24, 3, 16, 16)
    assert test[0].shape == (9, 3, 16, 16)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert manifest["class_names"] == list(COLORS)
    for pixels, numbers in ((images, labels), test):
        assert np.abs(pixels.mean((2, 3)) - np.array(list(COLORS.values()))[numbers]).max() < 8
        assert np.bincount(numbers).tolist() == [len(pixels) // 3] * 3
    assert not (np.diff(labels) >= 0).all()  # neighbors are of different classes
    pixels = images.astype(float) / 255
    np.testing.assert_allclose(manifest["mean"], pixels.mean((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(manifest["sd"], pixels.std((0, 2, 3)), atol=1e-6)
    assert not list((tmp_path / "prepared" / "folder-cats-16").glob(".*"))


def test_unreadable_images_are_left_out_and_listed(tmp_path, load, caplog):
    tree, whole = write_cats(tmp_path, train=80), {}
    (images, labels, *_), _ = load()
    for image, label in zip(images, labels, strict=True):
        whole[image.tobytes()] = label
    damaged = {"gato/3": b"", "gato/50": b"text", "猫/0": None, "кошка/7": b"\xff\xd8\xff\xe0 short"}
    for name, content in damaged.items():
        file = tree / "train" / f"{name}.JPEG"
        file.write_bytes(file.read_bytes()[:-100] if content is None else content)
    shutil.rmtree(tmp_path / "prepared")
    cache.load.cache_clear()
    (fewer, numbers, *_), manifest = load(allowed_bad=0.02)
    listed = {entry["file"]: entry["reason"] for entry in manifest["unreadable"]}
    assert set(listed) == {f"train/{name}.JPEG" for name in damaged}
    assert listed["train/gato/3.JPEG"] == "the file is empty"
    assert listed["train/gato/50.JPEG"] == "it is not an image"
    assert "truncated" in listed["train/猫/0.JPEG"]
    assert len(fewer) == manifest["train_examples"] == 236
    assert np.bincount(numbers).tolist() == [78, 79, 79]
    for image, label in zip(fewer, numbers, strict=True):
        assert whole.pop(image.tobytes()) == label
    assert len(whole) == 4
    pixels = fewer.astype(float) / 255
    np.testing.assert_allclose(
        manifest["mean"] + manifest["sd"], [*pixels.mean((0, 2, 3)), *pixels.std((0, 2, 3))], atol=1e-6
    )
    assert [message.startswith(f"not readable, left out: {tree}/train/") for message in caplog.messages] == [True] * 4


@pytest.mark.parametrize("share", [0.0, 0.03])
def test_too_many_unreadable_images_are_an_error_after_which_the_preparation_can_be_resumed(tmp_path, load, share):
    tree = write_cats(tmp_path)
    (tree / "val" / "猫" / "1.JPEG").write_bytes(b"")
    allowed = rf"at most {int(33 * share)} are allowed"
    message = rf"1 of 33 images cannot be read, such as val/猫/1.JPEG \(the file is empty\); {allowed}"
    with pytest.raises(ValueError, match=message):
        load(allowed_bad=share)
    assert not (tmp_path / "prepared" / "folder-cats-16" / "manifest.json").exists()
    assert len(load(allowed_bad=0.04).arrays.test_labels) == 8


def test_content_and_not_the_suffix_determines_the_format_and_other_files_are_ignored(tmp_path, load):
    tree = write_cats(tmp_path)
    (tree / "train" / "gato" / "wrong.jpg").write_bytes(encode(suffix="png"))
    (tree / "train" / "gato" / "deeper").mkdir()
    (tree / "train" / "gato" / "deeper" / "deep.PNG").write_bytes(encode(suffix="png"))
    for name in ("Thumbs.db", "._0.JPEG", "notes.txt"):
        (tree / "train" / "gato" / name).write_bytes(b"text")
    (tree / "train" / ".hidden").mkdir()
    arrays, manifest = load()
    assert np.bincount(arrays.train_labels).tolist() == [10, 8, 8]
    assert not manifest["unreadable"]


def test_folder_test_is_used_without_a_folder_val(tmp_path, load):
    tree = write_cats(tmp_path)
    (tree / "val").rename(tree / "test")
    assert len(load().arrays.test_labels) == 9


def test_class_without_test_images_is_logged(tmp_path, load, caplog):
    tree = write_cats(tmp_path)
    shutil.rmtree(tree / "val" / "猫")
    arrays, manifest = load()
    assert set(arrays.test_labels) == {0, 1}
    assert manifest["classes"] == 3
    assert caplog.messages == [f"{tree}: the class 猫 has no images for testing"]


def test_arrays_do_not_depend_on_the_number_of_processes(tmp_path):
    write_cats(tmp_path, train=30)
    folders = []
    for processes in (1, 2):
        folder = cache.prepare("folder-cats-16", tmp_path, processes=processes).parent
        folders.append(folder.rename(tmp_path / str(processes)))
    for file in folders[0].iterdir():
        assert (folders[1] / file.name).read_bytes() == file.read_bytes()


@pytest.fixture
def decoded(monkeypatch):
    """The list of the contents that are decoded, in this process."""
    decode_square, contents = decode.decode_square, []

    def record(content, size):
        contents.append(content)
        return decode_square(content, size)

    monkeypatch.setattr(decode, "decode_square", record)
    return contents


def _write(tree, folder):
    return image_arrays.write(tree, folder, 16, processes=1, allowed_bad=0.1, chunk_size=5)


def _write_and_interrupt(monkeypatch, tree, folder, images):
    """Interrupt the preparation after a number of images."""
    decode_square, count = decode.decode_square, itertools.count(1)

    def interrupt(content, size):
        if next(count) > images:
            raise KeyboardInterrupt
        return decode_square(content, size)

    with monkeypatch.context() as patch:
        patch.setattr(decode, "decode_square", interrupt)
        with pytest.raises(KeyboardInterrupt):
            _write(tree, folder)


@pytest.mark.parametrize("last_line", [b"", b'{"split": "train", "st'], ids=["complete", "incomplete"])
def test_resumed_preparation_gives_the_same_arrays(tmp_path, monkeypatch, decoded, last_line):
    tree, folder = write_cats(tmp_path, train=20), tmp_path / "resumed"
    (tree / "train" / "猫" / "7.JPEG").write_bytes(b"")
    labels, facts = _write(tree, tmp_path / "once")
    assert len(decoded) == 69
    order = decoded[:]
    _write_and_interrupt(monkeypatch, tree, folder, images=32)  # after 6 chunks
    (progress,) = folder.glob(".*")
    with progress.open("ab") as file:
        file.write(last_line)
    with (folder / "train_images.npy").open("r+b") as images:  # the rows of the first chunk are not on the disk
        images.seek(decode.HEADER_BYTES + 10)
        images.write(bytes(100))
    decoded.clear()
    resumed = _write(tree, folder)
    assert decoded == order[:5] + order[30:]
    assert resumed.facts == facts
    for split in ("train", "test"):
        np.testing.assert_array_equal(resumed.labels[split], labels[split])
        name = f"{split}_images.npy"
        assert (folder / name).read_bytes() == (tmp_path / "once" / name).read_bytes()


def test_preparation_that_was_interrupted_before_its_first_chunk_gives_no_warning(tmp_path, monkeypatch, caplog):
    tree, folder = write_cats(tmp_path), tmp_path / "arrays"
    _write_and_interrupt(monkeypatch, tree, folder, images=0)
    _write(tree, folder)
    assert not caplog.messages


@pytest.mark.parametrize("change", ["image", "chunk size"])
def test_preparation_starts_again_if_an_image_or_an_option_changes(tmp_path, monkeypatch, decoded, caplog, change):
    tree, folder = write_cats(tmp_path), tmp_path / "arrays"
    _write_and_interrupt(monkeypatch, tree, folder, images=17)
    decoded.clear()
    if change == "image":
        os.utime(tree / "val" / "猫" / "1.JPEG", ns=(0, 0))
        _write(tree, folder)
    else:
        image_arrays.write(tree, folder, 16, processes=1, chunk_size=6)
    assert len(decoded) == 33
    assert caplog.messages == [f"{folder}: starting again: the images, the size or Pillow have changed"]


def test_full_disk_names_the_file_and_the_preparation_can_be_resumed(tmp_path):
    tree, folder = write_cats(tmp_path), tmp_path / "arrays"
    whole = _write(tree, tmp_path / "whole")
    with file_size_limit(10_000), pytest.raises(OSError, match="File too large") as caught:
        _write(tree, folder)
    assert caught.value.filename == str(folder / "train_images.npy")
    assert _write(tree, folder).facts == whole.facts
    for file in (tmp_path / "whole").glob("*.npy"):
        assert (folder / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allowed_bad": 1.0}, "allowed_bad must be at least 0 and less than 1, not 1.0"),
        ({"allowed_bad": -0.1}, "allowed_bad must be at least 0 and less than 1, not -0.1"),
        ({"allowed_bad": float("nan")}, "allowed_bad must be at least 0 and less than 1, not nan"),
        ({"processes": 0}, "processes must be at least 1, not 0"),
    ],
)
def test_options_out_of_range_are_rejected(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        image_arrays.write(tmp_path, tmp_path / "arrays", 16, **options)
