"""Folders of pictures: decoded whatever they are, resumed where they broke off, streamed, cut and mirrored."""

import concurrent.futures.process
import contextlib
import io
import json
import os
import shutil
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from goodinit import studies
from goodinit.cli.main import main
from goodinit.datasets import cache, catalog, decode, image_arrays, image_folder, sets
from goodinit.datasets.tensors import Examples
from goodinit.errors import InputError
from goodinit.methods import curricula
from goodinit.training import build, cost, trainer

COLORS = {"gato": (200, 30, 30), "кошка": (30, 200, 30), "猫": (30, 30, 200)}  # sorted by name


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _picture(color=(200, 30, 30), size=(40, 30), mode="RGB", suffix="jpeg", **options):
    """Return the bytes of a picture of one color."""
    file = io.BytesIO()
    Image.new("RGB", size, color).convert(mode).save(file, suffix, **options)
    return file.getvalue()


def _tree(root, name="cats", train=8, val=3, seed=0):
    """Write noisy pictures of three classes, told apart by their color, of different sizes; return the folder."""
    random = np.random.default_rng(seed)
    for part, count in (("train", train), ("val", val)):
        for label, color in COLORS.items():
            folder = root / "folders" / name / part / label
            folder.mkdir(parents=True)
            for number in range(count):
                noise = random.integers(-20, 20, (30 + number % 9, 40 - number % 7, 3))
                Image.fromarray((np.array(color) + noise).astype(np.uint8)).save(folder / f"{number}.JPEG")
    return root / "folders" / name


def _load(root, name="folder-cats-16", **options):
    cache.prepare(name, root, **{"processes": 1} | options)
    return cache.load(name, str(root))


@pytest.fixture(scope="module")
def cats(tmp_path_factory):
    """A data folder with prepared pictures: 60 and 9 of 24 x 24, of three classes."""
    root = tmp_path_factory.mktemp("cats")
    _tree(root, train=20)
    cache.prepare("folder-cats-24", root, processes=1)
    return root


def _cats(root, **options):
    return sets.folder(root, _generator(), path="cats", size=24, **options)


def test_a_folder_becomes_arrays_of_its_classes_in_the_order_of_their_names(tmp_path):
    _tree(tmp_path)
    (images, labels, *test), facts = _load(tmp_path)
    assert images.shape == (24, 3, 16, 16)
    assert test[0].shape == (9, 3, 16, 16)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert facts["class_names"] == list(COLORS)
    for some, numbers in ((images, labels), test):
        assert np.abs(some.mean((2, 3)) - np.array(list(COLORS.values()))[numbers]).max() < 8
        assert np.bincount(numbers).tolist() == [len(some) // 3] * 3
    assert not (np.diff(labels) >= 0).all()  # neighbors are a sample of all classes
    pixels = images.astype(float) / 255
    np.testing.assert_allclose(facts["mean"], pixels.mean((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(facts["sd"], pixels.std((0, 2, 3)), atol=1e-6)
    assert not list((tmp_path / "prepared" / "folder-cats-16").glob(".*"))


def test_the_middle_square_is_reduced_smoothly():
    wide = Image.fromarray(np.repeat(np.arange(90, dtype=np.uint8)[None], 30, 0).repeat(3).reshape(30, 90, 3))
    file = io.BytesIO()
    wide.save(file, "png")
    found = decode.decode_square(file.getvalue(), 10)
    assert found.shape == (3, 10, 10)
    np.testing.assert_allclose(found[0, 5, 1:-1], 30 + np.arange(4, 28, 3), atol=1)  # of columns 30 to 59, each third
    checks = np.indices((30, 30)).sum(0) % 2 * 255
    file = io.BytesIO()
    Image.fromarray(checks.astype(np.uint8)).save(file, "png")
    assert abs(decode.decode_square(file.getvalue(), 10).astype(int) - 127).max() < 30  # not every third pixel


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
def test_whatever_is_not_rgb_becomes_rgb(mode, suffix, color, expected):
    found = decode.decode_square(_picture(color, mode=mode, suffix=suffix), 8)
    assert abs(found.astype(int) - np.array(expected)[:, None, None]).max() <= 5


def test_sixteen_bits_are_reduced_to_eight():
    file = io.BytesIO()
    Image.fromarray(np.full((20, 20), 90 * 256 + 7, np.uint16)).save(file, "png")
    assert (decode.decode_square(file.getvalue(), 8) == 90).all()


def test_pictures_are_turned_as_their_exif_says():
    image = Image.new("RGB", (32, 32))
    image.paste((255, 255, 255), (0, 0, 32, 16))  # the upper half
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # the camera was turned: what is above belongs to the right
    image.save(file, "jpeg", exif=exif, quality=95)
    found = decode.decode_square(file.getvalue(), 8).astype(int)
    assert found[:, :, 5:].min() > 200
    assert found[:, :, :3].max() < 50


def test_unreadable_pictures_are_left_out_and_listed(tmp_path, capsys):
    tree, whole = _tree(tmp_path, train=80), {}
    (images, labels, *_), _ = _load(tmp_path)
    for image, label in zip(images, labels, strict=True):
        whole[image.tobytes()] = label
    damaged = {"gato/3": b"", "gato/50": b"no picture, but text", "猫/0": None, "кошка/7": b"\xff\xd8\xff\xe0 short"}
    for name, content in damaged.items():
        file = tree / "train" / f"{name}.JPEG"
        file.write_bytes(file.read_bytes()[:-100] if content is None else content)
    shutil.rmtree(tmp_path / "prepared")
    cache.load.cache_clear()
    (fewer, numbers, *_), facts = _load(tmp_path, allowed_bad=0.02)
    listed = {one["file"]: one["reason"] for one in facts["unreadable"]}
    assert set(listed) == {f"train/{name}.JPEG" for name in damaged}
    assert listed["train/gato/3.JPEG"] == "the file is empty"
    assert listed["train/gato/50.JPEG"] == "it is no picture"
    assert "truncated" in listed["train/猫/0.JPEG"]
    assert len(fewer) == facts["train_examples"] == 236
    assert np.bincount(numbers).tolist() == [78, 79, 79]
    for image, label in zip(fewer, numbers, strict=True):
        assert whole.pop(image.tobytes()) == label
    assert len(whole) == 4
    pixels = fewer.astype(float) / 255
    np.testing.assert_allclose(
        facts["mean"] + facts["sd"], [*pixels.mean((0, 2, 3)), *pixels.std((0, 2, 3))], atol=1e-6
    )
    said = capsys.readouterr().err
    assert all(f"train/{name}.JPEG: " in said for name in damaged)


@pytest.mark.parametrize(("suffix", "options"), [("png", {}), ("jpeg", {"progressive": True}), ("tiff", {})])
def test_bytes_that_are_damaged_are_no_picture(suffix, options):
    """Where Pillow alone would refuse them: it takes what it has for whole when it is asked again."""
    random, refused = np.random.default_rng(0), 0
    file = io.BytesIO()
    noise = Image.fromarray(random.integers(0, 255, (64, 64, 3)).astype(np.uint8))
    noise.save(file, suffix, **options | ({"compression": "tiff_adobe_deflate"} if suffix == "tiff" else {}))
    for _ in range(30):
        content = bytearray(file.getvalue())
        place = int(random.integers(len(content) // 4, len(content) - 50))
        content[place : place + 8] = bytes(random.integers(0, 255, 8).astype(np.uint8))
        try:
            with Image.open(io.BytesIO(content)) as image:
                image.load()
        except Exception:  # a decoder may say anything
            refused += 1
            with pytest.raises(Exception, match=r"."):
                decode.decode_square(bytes(content), 16)
    assert refused or suffix == "jpeg"


@pytest.mark.parametrize(("mode", "color"), [("F", 0.5), ("I", 200), ("I", 70000)])
def test_grays_of_no_known_depth_are_refused(mode, color):
    file = io.BytesIO()
    Image.new(mode, (20, 20), color).save(file, "tiff")
    with pytest.raises(ValueError, match="no known depth"):
        decode.decode_square(file.getvalue(), 8)


def test_links_are_followed_once_and_what_is_hidden_is_not(tmp_path):
    tree = _tree(tmp_path)
    listed = image_folder.list_images(tree)
    (tree / "train" / "gato" / "self").symlink_to(".", target_is_directory=True)
    hidden = tree / "train" / "gato" / ".ipynb_checkpoints"
    hidden.mkdir()
    (hidden / "0.JPEG").write_bytes(_picture())
    assert image_folder.list_images(tree) == listed
    (tree / "train" / "gato" / "broken.JPEG").symlink_to("nowhere")
    assert len(_load(tmp_path, allowed_bad=0.1)[1]["unreadable"]) == 1


def test_who_waits_for_one_that_breaks_off_prepares_in_its_place(tmp_path):
    folder = tmp_path / "set"
    order = []

    def second():
        with image_arrays.locked(folder):
            order.append((folder / image_arrays.PROGRESS).exists())

    waiting = threading.Thread(target=second)
    with contextlib.suppress(KeyboardInterrupt), image_arrays.locked(folder):
        waiting.start()
        time.sleep(0.2)
        assert not order
        raise KeyboardInterrupt
    waiting.join(10)
    assert order == [True]
    assert not folder.exists()


def test_a_process_that_was_ended_is_one_line(monkeypatch):
    def ended(tasks):
        raise concurrent.futures.process.BrokenProcessPool("terminated abruptly")

    monkeypatch.setattr(decode, "_decode_chunk", ended)
    with pytest.raises(
        ValueError, match=r"a process that decodes pictures was ended.*--processes; what was done is kept"
    ):
        list(decode.decode_chunks([decode.Chunk("train", 0, "file", ["path"], 8)], 1, 1))


def test_a_picture_with_another_s_suffix_is_read_and_other_files_are_passed_over(tmp_path):
    tree = _tree(tmp_path)
    (tree / "train" / "gato" / "wrong.jpg").write_bytes(_picture(suffix="png"))
    (tree / "train" / "gato" / "deeper").mkdir()
    (tree / "train" / "gato" / "deeper" / "one.PNG").write_bytes(_picture(suffix="png"))
    for name in ("Thumbs.db", "._0.JPEG", "notes.txt"):
        (tree / "train" / "gato" / name).write_bytes(b"no picture")
    (tree / "train" / ".hidden").mkdir()
    (_, labels, *_), facts = _load(tmp_path)
    assert np.bincount(labels).tolist() == [10, 8, 8]
    assert not facts["unreadable"]


@pytest.mark.parametrize("share", [0.0, 0.03])
def test_too_many_unreadable_pictures_are_one_line(tmp_path, share):
    tree = _tree(tmp_path)
    (tree / "val" / "猫" / "1.JPEG").write_bytes(b"")
    message = (
        rf"1 of 33 pictures cannot be read, such as val/猫/1.JPEG \(the file is empty\); allowed are {int(33 * share)}"
    )
    with pytest.raises(ValueError, match=message):
        _load(tmp_path, allowed_bad=share)
    assert not (tmp_path / "prepared" / "folder-cats-16" / "manifest.json").exists()
    (_, _, _, labels), _ = _load(tmp_path, allowed_bad=0.04)  # it goes on
    assert len(labels) == 8


def _broken_off(monkeypatch, after):
    """Let the decoding break off after so many chunks."""
    whole, calls = decode._decode_chunk, []

    def breaking(task):
        if len(calls) == after:
            raise KeyboardInterrupt
        calls.append(task[:2])
        return whole(task)

    monkeypatch.setattr(decode, "_decode_chunk", breaking)
    return calls


@pytest.mark.parametrize("torn", [b"", b'{"part": "train", "st'])
def test_interrupted_and_resumed_it_gives_the_same_arrays(tmp_path, monkeypatch, torn):
    monkeypatch.setattr(image_arrays, "CHUNK", 5)
    tree = _tree(tmp_path, train=20)
    (tree / "train" / "猫" / "7.JPEG").write_bytes(b"")
    once = cache.prepare("folder-cats-16", tmp_path, processes=1, allowed_bad=0.1).parent.rename(tmp_path / "once")
    with monkeypatch.context() as patch:
        _broken_off(patch, 6)
        with pytest.raises(KeyboardInterrupt):
            _load(tmp_path, allowed_bad=0.1)
    folder = tmp_path / "prepared" / "folder-cats-16"
    assert not (folder / "manifest.json").exists()
    with (folder / image_arrays.PROGRESS).open("ab") as progress:
        progress.write(torn)
    with (folder / "train_images.npy").open("r+b") as images:  # the first chunk's numbers did not reach the disk
        images.seek(decode.HEADER_BYTES + 10)
        images.write(bytes(100))
    calls = _broken_off(monkeypatch, None)
    _load(tmp_path, allowed_bad=0.1)
    assert calls == [(part, 5 * i) for part, rows in (("train", [0, *range(6, 12)]), ("test", [0, 1])) for i in rows]
    for file in once.iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes()


def test_what_was_finished_is_forgotten_where_pictures_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(image_arrays, "CHUNK", 5)
    tree = _tree(tmp_path)
    with monkeypatch.context() as patch:
        _broken_off(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            _load(tmp_path)
    os.utime(tree / "val" / "猫" / "1.JPEG", ns=(0, 0))
    calls = _broken_off(monkeypatch, None)
    _load(tmp_path)
    assert len(calls) == 5 + 2


def test_several_processes_give_the_arrays_of_one(tmp_path):
    _tree(tmp_path, train=30)
    folders = []
    for processes in (1, 2):
        folder = cache.prepare("folder-cats-16", tmp_path, processes=processes).parent
        folders.append(folder.rename(tmp_path / str(processes)))
    for file in folders[0].iterdir():
        assert (folders[1] / file.name).read_bytes() == file.read_bytes()


def test_a_set_without_a_folder_val_is_tested_on_test(tmp_path):
    tree = _tree(tmp_path)
    (tree / "val").rename(tree / "test")
    assert len(_load(tmp_path)[0][3]) == 9


def test_a_class_without_pictures_to_test_on_is_said(tmp_path, capsys):
    shutil.rmtree(_tree(tmp_path) / "val" / "猫")
    (_, _, _, labels), facts = _load(tmp_path)
    assert set(labels) == {0, 1}
    assert facts["classes"] == 3
    assert "no pictures of the class 猫 to test on" in capsys.readouterr().err


def _without(place):
    return lambda tree: shutil.rmtree(tree / place)


def _emptied(place):
    return lambda tree: [file.unlink() for file in (tree / place).iterdir()]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without("val"), "there is no folder val: expected are pictures in train/<class>/ and val/<class>/"),
        (_without("train"), "there is no folder train: expected"),
        (_without("."), "there is no such folder: put one there, or a link to one"),
        (_emptied("train/猫"), "train/猫: there are no pictures of this class"),
        (lambda tree: [shutil.rmtree(tree / "train" / name) for name in ("猫", "gato")], "one class alone, кошка"),
        (lambda tree: (tree / "val" / "dog").mkdir(), "val/dog: this class is not in "),
        (lambda tree: [_emptied(f"val/{name}")(tree) for name in COLORS], "val: there are no pictures"),
    ],
)
def test_a_folder_that_is_no_set_is_one_line_and_leaves_nothing(tmp_path, change, words, capsys):
    change(_tree(tmp_path))
    with pytest.raises(SystemExit) as ended:
        main(["prepare", "folder-cats-16", "--data-root", str(tmp_path)])
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.count("\n") == 1
    assert words in error
    assert not list((tmp_path / "prepared").glob("*"))


@pytest.mark.parametrize(
    "path", ["..", "../x", "/etc", "a/b", "", ".hidden", "-a", "a b", "a\n", "{x}", "a\\b", "~x", "a;b", "a&b", "$(x)"]
)
def test_a_path_that_may_leave_the_data_folder_is_refused(house, tmp_path, path):
    with pytest.raises(ValueError, match="is not the name of one folder in the data folder's `folders`"):
        sets.folder(tmp_path, _generator(), path=path)
    with pytest.raises(InputError, match=r"study.yaml: .*data.folder: path: .* is not the name of one folder"):
        house.study(**{"fixed.data": None, "fixed": _fixed({"name": "folder", "path": path})})
    assert not list(tmp_path.glob("prepared"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "folder: size: 0 is not more than 0"),
        ({"crop": 0}, "folder: crop: 0 is not more than 0"),
        ({"crop": 25}, "folder: crop: 25 is more than the size, 24"),
        ({"scale": 0.0}, "folder: scale: 0.0 is not more than 0"),
        ({"standardize": True, "center": True}, "standardize does what center and scale do"),
        ({"train_examples": 61}, "folder: train_examples: 61 is not between 1 and 60"),
        ({"validation_examples": 60}, "folder: validation_examples: 60 leaves nothing of 60"),
    ],
)
def test_options_out_of_range_are_refused(cats, options, words):
    with pytest.raises(ValueError, match=words):
        sets.folder(cats, _generator(), **{"path": "cats", "size": 24} | options)


def test_imagenette_that_cannot_be_downloaded_is_one_line(tmp_path, monkeypatch):
    def no_network(*arguments, **more):
        raise OSError("no route")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(InputError, match=r"imagenette2-160 is missing and cannot be downloaded.*no route"):
        build.prepare("imagenette-144", tmp_path)
    with pytest.raises(InputError, match="imagenette2-320 is missing"):
        build.prepare("imagenette-224", tmp_path)


def test_imagenette_whose_unpacking_broke_off_is_one_line_and_a_whole_one_is_prepared(tmp_path, monkeypatch):
    tree = _tree(tmp_path)
    wnids = ("n01440764", "n02102040", "n02979186")
    for part in ("train", "val"):
        for label, wnid in zip(COLORS, wnids, strict=True):
            (tree / part / label).rename(tree / part / wnid)
    tree.rename(tmp_path / "imagenette2-160")
    with pytest.raises(InputError, match="imagenette2-160 has 24 and 9 pictures in train and val, not 9469"):
        build.prepare("imagenette-16", tmp_path)
    monkeypatch.setitem(catalog.COUNTS, "imagenette", (3, 24, 9))
    splits = sets.imagenette(tmp_path, _generator(), size=16)
    assert splits.train.images.shape == (24, 3, 16, 16)


def test_splits_are_mapped_and_held_out_from_the_end(cats):
    whole, held = _cats(cats), _cats(cats, train_examples=50, validation_examples=10, test_examples=4)
    assert torch.equal(held.train.images, whole.train.images[:40])
    assert torch.equal(held.validation.labels, whole.train.labels[40:50])
    assert len(held.test.labels) == 4
    assert held.validation.images.untyped_storage().data_ptr() == held.train.images.untyped_storage().data_ptr()


def test_a_part_larger_than_is_held_stays_where_it_is(cats, monkeypatch):
    splits = _cats(cats, standardize=True)
    monkeypatch.setattr(splits, "MAX_DEVICE_BYTES", splits.test.images.nbytes)
    moved = splits.to("meta")
    assert [part.images.device.type for part in (moved.train, moved.test)] == ["cpu", "meta"]
    assert moved.preprocessing.mean.device.type == "meta"


def test_a_set_too_large_to_read_is_checked_by_its_lengths(tmp_path, monkeypatch):
    _tree(tmp_path)
    folder = cache.prepare("folder-cats-16", tmp_path, processes=1).parent
    monkeypatch.setattr(cache, "CHECKED", 0)
    with (folder / "train_images.npy").open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(ValueError, match="damaged or incomplete"):
        cache.load("folder-cats-16", str(tmp_path))
    facts = json.loads((folder / "manifest.json").read_text())
    np.save(folder / "train_images.npy", np.zeros((7, 3, 16, 16), np.uint8))
    with pytest.raises(ValueError, match="do not match"):
        cache.load("folder-cats-16", str(tmp_path))
    assert facts["train_examples"] == 24


def _numbered(count):
    """Return examples that their pixels and labels tell apart."""
    images = torch.arange(count).view(-1, 1, 1, 1).expand(-1, 3, 2, 2).to(torch.int32).contiguous()
    return Examples(images, torch.arange(count))


def _seen(count, steps, seed=0, batch_size=16, **options):
    course = curricula.streamed(
        _numbered(count), batch_size=batch_size, steps=steps, generator=_generator(seed), **options
    )
    batches = list(course)
    assert len(batches) == steps
    for batch in batches:
        assert len(batch.labels) == batch_size
        assert (batch.images == batch.labels.view(-1, 1, 1, 1)).all()
    return torch.cat([batch.labels for batch in batches])


@pytest.mark.parametrize(
    ("count", "chunk", "buffer"), [(160, 8, 4), (163, 8, 4), (163, 7, 3), (50, 64, 64), (163, 1, 5)]
)
def test_streamed_every_example_is_seen_once_an_epoch(count, chunk, buffer):
    seen = _seen(count, steps=-(-3 * count // 16), chunk=chunk, buffer=buffer)
    for epoch in seen[: 3 * count].view(3, count):
        assert epoch.sort().values.tolist() == list(range(count))
    assert not torch.equal(seen[:count], seen[count : 2 * count])


def test_a_streamed_order_follows_from_the_seed():
    orders = [_seen(200, 12, seed, chunk=8, buffer=4) for seed in (0, 0, 1)]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


def test_a_buffer_has_the_examples_of_as_many_chunks_shuffled():
    seen = _seen(640, 40, chunk=8, buffer=4).view(20, 32)  # two batches a buffer
    for buffer in seen:
        assert len((buffer // 8).unique()) == 4
        assert not torch.equal(buffer, buffer.sort().values)
    assert len({tuple(sorted(set((buffer // 8).tolist()))) for buffer in seen}) == 20
    chunks = (seen // 8)[:, ::8].flatten()
    assert (chunks.diff() > 0).any()
    assert (chunks.diff() < 0).any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"chunk": 0}, "chunk and buffer must be"),
        ({"buffer": 0}, "chunk and"),
        ({"batch_size": 99}, "99 is more than the 50"),
    ],
)
def test_streaming_that_cannot_be_is_refused(options, words):
    with pytest.raises(ValueError, match=f"streamed: .*{words}"):
        curricula.streamed(_numbered(50), **{"batch_size": 4, "steps": 1, "generator": None} | options)


def test_training_images_are_windows_and_others_their_centers(cats):
    splits = _cats(cats, crop=21, mirror=True)
    assert splits.preprocessing.shape(splits.train.images) == (3, 21, 21)
    few = Examples(splits.train.images[:40].repeat(10, 1, 1, 1), splits.train.labels[:40].repeat(10))
    center = splits.preprocessing.normalize(few).images
    assert torch.equal(center, few.images[:, :, 1:22, 1:22] / 255)
    cut = splits.preprocessing.augment(few, _generator())
    assert torch.equal(cut.labels, few.labels)
    places = torch.zeros(2, 4, 4)
    for image, found in zip(few.images / 255, cut.images, strict=True):
        windows = image.unfold(1, 21, 1).unfold(2, 21, 1).permute(1, 2, 0, 3, 4)
        same = torch.stack([(one == found).flatten(2).all(2) for one in (windows, windows.flip(-1))])
        assert same.sum() == 1
        places += same
    assert (places > 0).all()  # 32 places, each as likely: one is missing in 1 of 10,000 cases
    assert abs(places[1].sum() - 200) < 4 * 10


@pytest.mark.parametrize("options", [{"crop": 20}, {"mirror": True}])
def test_cutting_and_mirroring_are_apart(cats, options):
    splits = _cats(cats, **options)
    cut = splits.preprocessing.augment(splits.train, _generator()).images
    whole = splits.train.images / 255
    if "crop" in options:
        windows = whole.unfold(2, 20, 1).unfold(3, 20, 1).permute(0, 2, 3, 1, 4, 5)
        assert ((windows == cut[:, None, None]).flatten(3).all(3).flatten(1).sum(1) == 1).all()
    else:
        mirrored = (cut == whole.flip(-1)).flatten(1).all(1)
        assert ((cut == whole).flatten(1).all(1) != mirrored).all()
        assert 10 < mirrored.sum() < 50
    assert splits.preprocessing.shape(splits.train.images) == cut.shape[1:]


def test_without_cutting_and_mirroring_training_images_are_left_as_they_are(cats):
    assert _cats(cats).preprocessing.pad is None


def test_centered_and_scaled_pixels(cats):
    for options in ({"center": True}, {"center": True, "scale": 0.04}, {"standardize": True}, {"scale": 0.04}):
        splits = _cats(cats, **options)
        raw = splits.train.images.double()
        expected = raw * options.get("scale", 1 / 255)
        if len(options) > 1 or "scale" not in options:
            expected -= expected.mean((0, 2, 3), keepdim=True)
        if "standardize" in options:
            expected /= expected.std((0, 2, 3), keepdim=True, correction=0)
        found = splits.preprocessing.normalize(splits.train).images
        np.testing.assert_allclose(found, expected, atol=1e-4)


def _fixed(part, **more):
    return {
        "data": part,
        "model": {"name": "mlp", "hidden": [16]},
        "optimizer": {"name": "sgd", "lr": 0.05},
        "training": {"epochs": 8, "batch_size": 12, "evaluate_on": ["train", "validation", "test"]},
    } | more


def _executed(house, root, **more):
    part = {"name": "folder", "path": "cats", "size": 24, "crop": 20, "mirror": True, "standardize": True}
    part |= {"validation_examples": 6}
    study = house.study(fixed=_fixed(part, **more), compare={"init": ["he_normal"]}, seeds=2)
    runs = study.runs("laptop")
    return list(trainer.execute(runs, data_root=root, device=torch.device("cpu")))


@pytest.mark.parametrize("name", ["full", "streamed"])
def test_a_folder_is_trained_on_end_to_end(house, cats, monkeypatch, name):
    course = {"curriculum": {"name": "streamed", "chunk": 4, "buffer": 3}} if name == "streamed" else {}
    records = _executed(house, cats, **course)
    monkeypatch.setattr(splits, "MAX_DEVICE_BYTES", 0)  # nothing is held on the device
    again = _executed(house, cats, **course)
    for one, other in zip(records, again, strict=True):
        assert one.status == "finished"
        assert one.provenance["train_examples"] == 54
        assert one.series["test_accuracy"].values[-1] == 1  # the color tells the class
        assert one.series.keys() == other.series.keys()
        for metric, series in one.series.items():
            np.testing.assert_array_equal(series.values, other.series[metric].values)


def test_jobs_name_what_is_prepared(house):
    parts = [
        {"name": "folder", "path": "imagenet", "size": 256, "crop": 224},
        {"name": "imagenette"},
        {"name": "pictures", "size": 48, "mirror": True},
        {"name": "pictures", "size": 48},
        "digits",
        "gaussian",
    ]
    study = house.study(fixed=_fixed("digits", init="he_normal"), compare={"data": dict(enumerate(parts))}, pack=99)
    (job,) = study.jobs("laptop")
    assert job.data == ["digits", "folder-imagenet-256", "imagenette-144", "pictures-48"]


def test_the_cost_is_known_of_published_and_prepared_sets_alone(cats, monkeypatch):
    monkeypatch.setenv("GOODINIT_DATA", str(cats))
    base = {"model": {"name": "mlp", "hidden": [10]}, "init": {"name": "he_normal"}} | studies.DEFAULTS
    base |= {"optimizer": {"name": "sgd", "lr": 0.1}, "training": {"epochs": 1, "batch_size": 20}}

    def of(**part):
        return cost.estimate([studies.Run(base | {"data": part}, 0, {})])

    small = of(name="folder", path="cats", size=24, crop=20)
    forward = 2 * (1200 * 10 + 10 * 3)
    assert small.training == 3 * 20 * (forward + 2 * (1200 * 10 + 2 * 10 * 3))
    assert small.evaluation == 2 * 9 * forward
    assert of(name="imagenette").evaluation == 2 * 3925 * 2 * (3 * 144**2 * 10 + 100)
    large = of(name="folder", path="imagenet", crop=128)
    assert large.evaluation == 2 * 50000 * 2 * (3 * 128**2 * 10 + 10 * 1000)
    assert large.memory < 4 * 2**30  # the pictures, 80 GB, are not held on the device
    with pytest.raises(InputError, match=r"folder-dogs-24: how large it is .* goodinit prepare folder-dogs-24"):
        of(name="folder", path="dogs", size=24)


def test_drawn_pictures_are_a_set_of_jpeg_files(tmp_path):
    splits = sets.pictures(tmp_path, _generator(), size=32)
    assert [len(part.labels) for part in (splits.train, splits.test)] == [400, 100]
    assert splits.test.labels.bincount().tolist() == [10] * 10
    files = list((tmp_path / "pictures").rglob("*.jpg"))
    assert len(files) == 500
    sizes = set()
    for file in files:
        with Image.open(file) as image:
            sizes.add(image.size)
    assert len(sizes) == 15
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "prepared"]
