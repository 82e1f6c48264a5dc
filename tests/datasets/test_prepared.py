"""Prepared arrays: where they are, and whether they are still those of their folder."""

import io
import os
import re

import pytest
import torch
from PIL import Image

from goodinit.cli.main import main
from goodinit.datasets import cache, catalog, image_folder, sets


def _jpeg(color=(200, 30, 30)):
    file = io.BytesIO()
    Image.new("RGB", (20, 20), color).save(file, "jpeg")
    return file.getvalue()


def _image_folder(tree, classes=("a", "b"), count=2):
    for part in ("train", "val"):
        for name in classes:
            (tree / part / name).mkdir(parents=True)
            for number in range(count):
                (tree / part / name / f"{number}.JPEG").write_bytes(_jpeg())
    return tree


@pytest.fixture
def tree(tmp_path):
    """An image folder with two classes, and two pictures of each in train and in val."""
    return _image_folder(tmp_path / "folders" / "pets")


def _removed(tree):
    (tree / "train/a/1.JPEG").unlink()


def _changed(tree):
    (tree / "val/b/0.JPEG").write_bytes(_jpeg((0, 0, 0)) + b"x")


def _moved(tree):
    (tree / "train/a/1.JPEG").rename(tree / "train/b/2.JPEG")


CHANGES = {
    "added": lambda tree: (tree / "train/a/2.jpg").write_bytes(_jpeg()),
    "removed": _removed,
    "changed": _changed,
    "changed at the same size": lambda tree: os.utime(tree / "val/b/0.JPEG", ns=(0, 0)),
    "moved to another class": _moved,
    "a link that makes it no set": lambda tree: (tree / "train/up").symlink_to(".."),
}


@pytest.mark.parametrize("change", CHANGES)
def test_preparing_and_loading_say_that_a_folder_has_changed_since_and_delete_nothing(tree, tmp_path, change, capsys):
    manifest = cache.prepare("folder-pets-8", tmp_path, processes=1)
    capsys.readouterr()
    cache.prepare("folder-pets-8", tmp_path)
    cache.load("folder-pets-8", str(tmp_path))
    (tree / "train/a/notes.txt").write_text("no picture")
    assert cache.prepare("folder-pets-8", tmp_path) == manifest
    assert capsys.readouterr().err == ""
    files = {file: file.read_bytes() for file in manifest.parent.iterdir()}
    CHANGES[change](tree)
    cache.load.cache_clear()
    for use in (
        lambda: cache.prepare("folder-pets-8", tmp_path),
        lambda: cache.load("folder-pets-8", str(tmp_path)),
    ):
        use()
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert len(said) <= 301
        assert re.match(r"folder-pets-8: the folder differs from .*pets", said)
        assert said.endswith(f"{manifest.parent.name} and run goodinit prepare folder-pets-8\n")
    assert {file: file.read_bytes() for file in manifest.parent.iterdir()} == files


def test_manifests_without_a_fingerprint_and_folders_that_are_gone_are_taken_as_they_are(tree, tmp_path, capsys):
    manifest = cache.prepare("folder-pets-8", tmp_path, processes=1)
    fingerprint = image_folder.fingerprint(image_folder.list_images(tree).splits)
    capsys.readouterr()
    text = manifest.read_text()
    assert fingerprint in text
    _removed(tree)
    manifest.write_text(text.replace(f'"fingerprint": "{fingerprint}",', ""))
    cache.prepare("folder-pets-8", tmp_path)
    manifest.write_text(text)
    tree.rename(tmp_path / "gone")
    cache.prepare("folder-pets-8", tmp_path)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["shapes", "folder-pets-8", "pictures-8"])
def test_a_data_folder_that_cannot_be_written_to_is_prepared_elsewhere(
    tree, tmp_path, user_cache, place_of, read_only, name, capsys
):
    place = place_of(user_cache, tmp_path) / "prepared" / name
    with read_only(tmp_path):
        assert catalog.manifest_path(name, tmp_path) == place / "manifest.json"
        assert not user_cache.exists()
        main(["prepare", name, "--data-root", str(tmp_path), "--processes", "1"])
        said = capsys.readouterr()
        assert said.out == f"{place / 'manifest.json'}\n"
        (line,) = [line for line in said.err.splitlines() if "written to" in line]
        assert f"{name}: the prepared arrays are written to {place}: {tmp_path} cannot be written to"[:150] in line
        arrays, facts = cache.load(name, str(tmp_path))
        assert len(arrays[0]) == facts["train_examples"]
        assert catalog.size_of(name, tmp_path)[2] == facts["train_examples"]
        assert cache.prepare(name, tmp_path) == place / "manifest.json"
        assert capsys.readouterr().err == ""


def test_arrays_in_a_data_folder_that_cannot_be_written_to_are_used(tree, tmp_path, user_cache, read_only, capsys):
    names = ("shapes", "folder-pets-8")
    manifests = [cache.prepare(name, tmp_path, processes=1) for name in names]
    capsys.readouterr()
    with read_only(tmp_path):
        assert [cache.prepare(name, tmp_path) for name in names] == manifests
        assert sets.shapes(tmp_path, torch.Generator()).train.images.shape == (5000, 3, 32, 32)
    assert manifests[0] == tmp_path / "prepared" / "shapes" / "manifest.json"
    assert not user_cache.exists()
    assert capsys.readouterr().err == ""


def test_a_writable_folder_prepared_in_a_read_only_data_folder_is_used(tree, tmp_path, user_cache, read_only):
    scratch = user_cache.parent / "scratch"
    scratch.mkdir()
    (tmp_path / "prepared").symlink_to(scratch)
    with read_only(tmp_path):
        cache.prepare("folder-pets-8", tmp_path, processes=1)
    assert (scratch / "folder-pets-8" / "manifest.json").exists()
    assert not user_cache.exists()


def test_a_variable_names_the_place_and_data_folders_do_not_share_it(tmp_path, place_of, monkeypatch, capsys):
    monkeypatch.setenv("GOODINIT_PREPARED", str(tmp_path / "own"))
    for root, count in ((tmp_path / "one", 2), (tmp_path / "two", 3)):
        _image_folder(root / "folders" / "pets", count=count)
        manifest = cache.prepare("folder-pets-8", root, processes=1)
        assert manifest == place_of(tmp_path / "own", root) / "prepared" / "folder-pets-8" / "manifest.json"
        assert "below GOODINIT_PREPARED" in capsys.readouterr().err
        assert cache.load("folder-pets-8", str(root))[1]["train_examples"] == 2 * count
        assert not (root / "prepared").exists()
        link = tmp_path / f"{root.name}-link"
        link.symlink_to(root)
        assert catalog.manifest_path("folder-pets-8", link) == manifest
    monkeypatch.delenv("GOODINIT_PREPARED")
    assert catalog.writable_root(root) == root


def test_a_place_that_cannot_be_used_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GOODINIT_PREPARED", str(tmp_path / "file"))
    with pytest.raises(SystemExit):
        main(["prepare", "shapes", "--data-root", str(tmp_path)])
    where, error = capsys.readouterr().err.splitlines()
    assert "below GOODINIT_PREPARED" in where
    assert re.search(r"/file/.*: check space and permissions", error)


@pytest.mark.parametrize("cache_home", ["", "relative"])
def test_the_usual_place_is_below_the_home_directory(tmp_path, place_of, read_only, monkeypatch, cache_home):
    monkeypatch.setenv("XDG_CACHE_HOME", cache_home)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "data").mkdir()
    usual = place_of(tmp_path / "home" / ".cache" / "goodinit", tmp_path / "data")
    with read_only(tmp_path / "data"):
        assert catalog.writable_root(tmp_path / "data") == usual
