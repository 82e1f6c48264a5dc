"""Names of data sets, their sizes, and the folders of their prepared arrays."""

import json

import pytest
from file_system import cache_folder_of, read_only

from goodinit.datasets import catalog
from goodinit.errors import InputError


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"name": "digits", "size": 70}, "digits"),
        ({"name": "imagenette", "size": 144}, "imagenette-144"),
        ({"name": "folder", "path": "a-b", "size": 9}, "folder-a-b-9"),
        ({"name": "gaussian"}, None),
    ],
)
def test_prepared_name_depends_on_the_options_that_determine_the_arrays(options, name):
    assert catalog.prepared_name(options) == name


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("imagenette-144", ("imagenette", None, 144)),
        ("pictures-8", ("pictures", None, 8)),
        ("folder-a-b-9", ("folder", "a-b", 9)),
        ("folder-a", None),
        ("mnist", None),
    ],
)
def test_names_of_image_folders_are_parsed(name, parsed):
    assert catalog.parse_name(name) == parsed


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imagenette-0", "size must be at least 1, not 0"),
        ("folder-..-9", "is not the name of one folder"),
        ("folder-a/b-9", "is not the name of one folder"),
    ],
)
def test_invalid_names_are_rejected(name, message):
    with pytest.raises(ValueError, match=message):
        catalog.parse_name(name)


def test_size_is_published_or_read_from_the_manifest(tmp_path):
    assert catalog.size_of("mnist", tmp_path) == ((1, 28, 28), 10, 60000, 10000)
    assert catalog.size_of("folder-imagenet-128", tmp_path) == ((3, 128, 128), 1000, 1281167, 50000)
    with pytest.raises(ValueError, match="folder-cats-16: the size is unknown until it is prepared: goodinit prepare"):
        catalog.size_of("folder-cats-16", tmp_path)
    manifest = tmp_path / "prepared" / "folder-cats-16" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    content = {"shape": [3, 16, 16], "classes": 3, "train_examples": 24, "test_examples": 9}
    manifest.write_text(json.dumps(content))
    assert catalog.size_of("folder-cats-16", tmp_path) == ((3, 16, 16), 3, 24, 9)
    for damaged in ("{", "[]", '{"shape": [3]}'):
        manifest.write_text(damaged)
        with pytest.raises(ValueError, match=r"manifest\.json: damaged .*: delete .*folder-cats-16 and run again"):
            catalog.size_of("folder-cats-16", tmp_path)


@pytest.mark.parametrize("cache_home", ["", "relative"])
def test_default_cache_is_in_the_home_directory(tmp_path, monkeypatch, cache_home):
    monkeypatch.setenv("XDG_CACHE_HOME", cache_home)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "data").mkdir()
    folder = cache_folder_of(tmp_path / "home" / ".cache" / "goodinit", tmp_path / "data")
    with read_only(tmp_path / "data"):
        assert catalog.writable_root(tmp_path / "data") == folder


def test_read_only_data_folder_without_home_directory_is_an_error(tmp_path, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(catalog.Path, "home", no_home)
    with read_only(tmp_path), pytest.raises(InputError, match="set GOODINIT_PREPARED to a folder"):
        catalog.writable_root(tmp_path)


def test_jobs_name_their_prepared_data_sets(workspace):
    data = [
        {"name": "folder", "path": "imagenet", "size": 256, "crop": 224},
        {"name": "imagenette"},
        {"name": "pictures", "size": 48, "mirror": True},
        {"name": "pictures", "size": 48},
        "digits",
        "gaussian",
    ]
    study = workspace.study(compare={"data": dict(enumerate(data)), "init": ["he_normal"]}, pack=99)
    (job,) = study.jobs("laptop")
    assert job.data == ["digits", "folder-imagenet-256", "imagenette-144", "pictures-48"]
