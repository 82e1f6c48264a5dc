"""Prepared arrays: they are written once, checked when they are loaded, and compared with their image folder."""

import concurrent.futures
import json
import os
import re
import time

import numpy as np
import pytest
import torch
from file_system import cache_folder_of, read_only
from image_files import encode, write_cats, write_pets

from goodinit.cli.main import main
from goodinit.datasets import builtin, cache, catalog, image_folder, sets


@pytest.fixture
def tree(tmp_path):
    """An image folder with two classes, and two images of each in train and in val."""
    return write_pets(tmp_path)


def test_preparing_again_changes_nothing(data_root):
    manifest = cache.prepare("digits", data_root)
    stamps = {path: path.stat().st_mtime_ns for path in manifest.parent.iterdir()}
    assert cache.prepare("digits", data_root) == manifest
    assert {path: path.stat().st_mtime_ns for path in manifest.parent.iterdir()} == stamps


def test_a_data_set_is_prepared_by_one_process_at_a_time(tmp_path, monkeypatch):
    """A second process must not read files that the first one is still downloading."""
    running, most = [], []

    def read(root):
        running.append(root)
        most.append(len(running))
        time.sleep(0.2)
        running.pop()
        return builtin.digits(root)

    monkeypatch.setitem(cache._SMALL_IMAGES, "digits", read)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        manifests = list(pool.map(lambda _: cache.prepare("digits", tmp_path), range(3)))
    assert len(set(manifests)) == 1
    assert most == [1]


@pytest.mark.parametrize(
    "change", [{"mean": [9, 9, 9]}, {"mean": None}, {"sd": ["x"]}, {"classes": "x"}, {"shape": []}]
)
def test_an_edited_manifest_is_reported(tmp_path, change):
    manifest = cache.prepare("digits", tmp_path)
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    with pytest.raises(ValueError, match=r"damaged or incomplete|do not match"):
        cache.load("digits", str(tmp_path))


def test_large_arrays_are_checked_by_their_lengths(tmp_path, monkeypatch):
    write_cats(tmp_path)
    folder = cache.prepare("folder-cats-16", tmp_path, processes=1).parent
    monkeypatch.setattr(cache, "MAX_CHECKED_BYTES", 0)
    with (folder / "train_images.npy").open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(ValueError, match="damaged or incomplete"):
        cache.load("folder-cats-16", str(tmp_path))
    np.save(folder / "train_images.npy", np.zeros((7, 3, 16, 16), np.uint8))
    with pytest.raises(ValueError, match="do not match"):
        cache.load("folder-cats-16", str(tmp_path))


def _remove(tree):
    (tree / "train/a/1.JPEG").unlink()


def _change(tree):
    (tree / "val/b/0.JPEG").write_bytes(encode((0, 0, 0)) + b"x")


def _move(tree):
    (tree / "train/a/1.JPEG").rename(tree / "train/b/2.JPEG")


CHANGES = {
    "added": lambda tree: (tree / "train/a/2.jpg").write_bytes(encode()),
    "removed": _remove,
    "changed": _change,
    "changed at the same size": lambda tree: os.utime(tree / "val/b/0.JPEG", ns=(0, 0)),
    "moved to another class": _move,
    "a link that makes it invalid": lambda tree: (tree / "train/up").symlink_to(".."),
}


@pytest.mark.parametrize("change", CHANGES)
def test_change_of_an_image_folder_is_logged_and_nothing_is_deleted(tree, tmp_path, change, caplog):
    manifest = cache.prepare("folder-pets-8", tmp_path, processes=1)
    cache.prepare("folder-pets-8", tmp_path)
    cache.load("folder-pets-8", str(tmp_path))
    (tree / "train/a/notes.txt").write_text("text")
    assert cache.prepare("folder-pets-8", tmp_path) == manifest
    assert caplog.messages == []
    files = {file: file.read_bytes() for file in manifest.parent.iterdir()}
    CHANGES[change](tree)
    cache.load.cache_clear()
    for use in (
        lambda: cache.prepare("folder-pets-8", tmp_path),
        lambda: cache.load("folder-pets-8", str(tmp_path)),
    ):
        caplog.clear()
        use()
        (message,) = caplog.messages
        assert len(message) <= 300
        assert re.match(r"folder-pets-8: the folder differs from .*pets", message)
        assert message.endswith(f"{manifest.parent.name} and run goodinit prepare folder-pets-8")
    assert {file: file.read_bytes() for file in manifest.parent.iterdir()} == files


def test_manifest_without_fingerprint_and_deleted_image_folder_are_accepted(tree, tmp_path, caplog):
    manifest = cache.prepare("folder-pets-8", tmp_path, processes=1)
    fingerprint = image_folder.fingerprint(image_folder.list_images(tree).splits)
    text = manifest.read_text()
    assert fingerprint in text
    _remove(tree)
    manifest.write_text(text.replace(f'"fingerprint": "{fingerprint}",', ""))
    cache.prepare("folder-pets-8", tmp_path)
    manifest.write_text(text)
    tree.rename(tmp_path / "deleted")
    cache.prepare("folder-pets-8", tmp_path)
    assert caplog.messages == []


@pytest.mark.parametrize("name", ["shapes", "folder-pets-8", "pictures-8"])
def test_arrays_of_a_read_only_data_folder_are_written_to_the_cache(tree, tmp_path, user_cache, name, capsys):
    folder = cache_folder_of(user_cache, tmp_path) / "prepared" / name
    with read_only(tmp_path):
        assert catalog.manifest_path(name, tmp_path) == folder / "manifest.json"
        assert not user_cache.exists()
        main(["prepare", name, "--data-root", str(tmp_path), "--processes", "1"])
        output = capsys.readouterr()
        assert output.out == f"{folder / 'manifest.json'}\n"
        expected = f"{name}: the prepared arrays are written to {folder}: {tmp_path} cannot be written; "
        assert expected in output.err.replace("\n", " ")
        arrays, manifest = cache.load(name, str(tmp_path))
        assert len(arrays.train_images) == manifest["train_examples"]
        assert catalog.size_of(name, tmp_path).train_examples == manifest["train_examples"]
        assert cache.prepare(name, tmp_path) == folder / "manifest.json"
        assert capsys.readouterr().err == ""


def test_arrays_in_a_read_only_data_folder_are_used(tree, tmp_path, user_cache, caplog):
    names = ("shapes", "folder-pets-8")
    manifests = [cache.prepare(name, tmp_path, processes=1) for name in names]
    with read_only(tmp_path):
        assert [cache.prepare(name, tmp_path) for name in names] == manifests
        assert sets.shapes(tmp_path, torch.Generator()).train.images.shape == (5000, 3, 32, 32)
    assert manifests[0] == tmp_path / "prepared" / "shapes" / "manifest.json"
    assert not user_cache.exists()
    assert caplog.messages == []


def test_writable_folder_prepared_in_a_read_only_data_folder_is_used(tree, tmp_path, user_cache):
    scratch = user_cache.parent / "scratch"
    scratch.mkdir()
    (tmp_path / "prepared").symlink_to(scratch)
    with read_only(tmp_path):
        cache.prepare("folder-pets-8", tmp_path, processes=1)
    assert (scratch / "folder-pets-8" / "manifest.json").exists()
    assert not user_cache.exists()


def test_environment_variable_sets_the_folder_of_prepared_arrays(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("GOODINIT_PREPARED", str(tmp_path / "arrays"))
    for root, count in ((tmp_path / "first", 2), (tmp_path / "second", 3)):
        caplog.clear()
        write_pets(root, count)
        manifest = cache.prepare("folder-pets-8", root, processes=1)
        assert manifest == cache_folder_of(tmp_path / "arrays", root) / "prepared" / "folder-pets-8" / "manifest.json"
        assert caplog.messages[0].endswith("because of GOODINIT_PREPARED")
        assert cache.load("folder-pets-8", str(root)).manifest["train_examples"] == 2 * count
        assert not (root / "prepared").exists()
        link = tmp_path / f"{root.name}-link"
        link.symlink_to(root)
        assert catalog.manifest_path("folder-pets-8", link) == manifest
    monkeypatch.delenv("GOODINIT_PREPARED")
    assert catalog.writable_root(root) == root


def test_folder_that_cannot_be_created_is_a_one_line_error(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GOODINIT_PREPARED", str(tmp_path / "file"))
    with pytest.raises(SystemExit):
        main(["prepare", "shapes", "--data-root", str(tmp_path)])
    warning, error = capsys.readouterr().err.splitlines()
    assert warning.endswith("because of GOODINIT_PREPARED")
    assert re.search(r"/file/.*: check space and permissions", error)
