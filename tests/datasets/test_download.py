"""Published data sets, from archives that torchvision unpacks."""

import errno
import gzip
import hashlib
import io
import pickle
import shutil
import struct
import tarfile

import numpy as np
import pytest
import torch
from file_system import cache_folder_of, read_only
from image_files import COLORS, encode, write_cats
from torchvision import datasets

from goodinit.datasets import cache, catalog, preparation, sets
from goodinit.errors import InputError


def _md5(content):
    return hashlib.md5(content).hexdigest()


def _mnist_archives(root, monkeypatch):
    """Write archives of 30 and 10 small images as those of MNIST, and make torchvision accept their checksums."""
    (root / "MNIST" / "raw").mkdir(parents=True)
    resources, random = [], np.random.default_rng(0)
    for (name, _), count in zip(datasets.MNIST.resources, (30, 30, 10, 10), strict=True):
        shape = (count, 28, 28) if "images" in name else (count,)
        numbers = random.integers(0, 10, shape).astype(np.uint8)
        content = gzip.compress(struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + numbers.tobytes())
        (root / "MNIST" / "raw" / name).write_bytes(content)
        resources.append((name, _md5(content)))
    monkeypatch.setattr(datasets.MNIST, "resources", resources)


def _tar(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return _md5(path.read_bytes())


def _cifar_archive(root, monkeypatch):
    """Write an archive with two batches of 10 images as that of CIFAR-10."""
    batch = pickle.dumps({"data": np.arange(30720, dtype=np.uint8).reshape(10, 3072), "labels": list(range(10))})
    files = {"batch": batch, "meta": pickle.dumps({"label_names": list("abcdefghij")})}
    packed = {f"cifar-10-batches-py/{name}": content for name, content in files.items()}
    checksum = _tar(root / datasets.CIFAR10.filename, packed)
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", checksum)
    for attribute in ("train_list", "test_list"):
        monkeypatch.setattr(datasets.CIFAR10, attribute, [["batch", _md5(batch)]])
    meta = {"filename": "meta", "key": "label_names", "md5": _md5(files["meta"])}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)


def _imagenette_archive(root, monkeypatch):
    """Write an archive with 4 + 4 images as that of Imagenette."""
    wnids = ("n01440764", "n02102040")
    folders = [f"imagenette2-160/{split}/{wnid}" for split in ("train", "val") for wnid in wnids]
    paths = [f"{folder}/{number}.JPEG" for folder in folders for number in "01"]
    checksum = _tar(root / "imagenette2-160.tgz", dict.fromkeys(paths, encode()))
    url, _ = datasets.Imagenette._ARCHIVES["160px"]
    monkeypatch.setitem(datasets.Imagenette._ARCHIVES, "160px", (url, checksum))
    monkeypatch.setitem(catalog.COUNTS, "imagenette", (2, 4, 4))


ARCHIVES = {  # function that writes an archive, shape of the images, and files after unpacking in another folder
    "mnist": (_mnist_archives, (30, 1, 28, 28), ["MNIST"]),
    "cifar10": (_cifar_archive, (10, 3, 32, 32), ["cifar-10-batches-py", "cifar-10-python.tar.gz"]),
    "imagenette-8": (_imagenette_archive, (4, 3, 8, 8), ["imagenette2-160", "imagenette2-160.tgz"]),
}


@pytest.mark.parametrize("unpacked", [False, True])
@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_of_a_read_only_data_folder_are_unpacked_in_the_cache(
    tmp_path, user_cache, monkeypatch, name, unpacked
):
    def no_network(*arguments, **options):
        raise AssertionError("nothing may be downloaded")

    write, shape, unpacked_files = ARCHIVES[name]
    write(tmp_path, monkeypatch)
    for official in list(catalog.CHECKSUMS):
        monkeypatch.delitem(catalog.CHECKSUMS, official)
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    options = {"processes": 1} if name.startswith("imagenette") else {}
    if unpacked:
        cache.prepare(name, tmp_path, **options)
        shutil.rmtree(tmp_path / "prepared")
    with read_only(tmp_path):
        manifest = cache.prepare(name, tmp_path, **options)
        (images, *_), _ = cache.load(name, str(tmp_path))
    folder = cache_folder_of(user_cache, tmp_path)
    assert images.shape == shape
    assert manifest == folder / "prepared" / name / "manifest.json"
    assert sorted(path.name for path in folder.iterdir()) == sorted(["prepared", *([] if unpacked else unpacked_files)])


def test_imagenette_that_cannot_be_downloaded_is_a_one_line_error(tmp_path, monkeypatch):
    def no_network(*arguments, **options):
        raise OSError("no route")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(InputError, match=r"imagenette2-160 is missing and cannot be downloaded.*no route"):
        preparation.prepare("imagenette-144", tmp_path)
    with pytest.raises(InputError, match="imagenette2-320 is missing"):
        preparation.prepare("imagenette-224", tmp_path)


@pytest.mark.parametrize("name", ["mnist", "imagenette-144"])
def test_lack_of_memory_is_no_damage_of_a_file(tmp_path, monkeypatch, name):
    def fail(*arguments, **options):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr("torchvision.datasets.MNIST.__init__", fail)
    monkeypatch.setattr("torchvision.datasets.Imagenette.__init__", fail)
    (tmp_path / "imagenette2-160").mkdir()
    with pytest.raises(OSError, match="Cannot allocate memory"):
        preparation.prepare(name, tmp_path)


def test_incomplete_imagenette_is_a_one_line_error_and_a_complete_one_is_prepared(tmp_path, monkeypatch):
    tree = write_cats(tmp_path)
    wnids = ("n01440764", "n02102040", "n02979186")
    for split in ("train", "val"):
        for label, wnid in zip(COLORS, wnids, strict=True):
            (tree / split / label).rename(tree / split / wnid)
    tree.rename(tmp_path / "imagenette2-160")
    with pytest.raises(InputError, match="imagenette2-160 has 24 and 9 images in train and val, not 9469"):
        preparation.prepare("imagenette-16", tmp_path)
    monkeypatch.setitem(catalog.COUNTS, "imagenette", (3, 24, 9))
    splits = sets.imagenette(tmp_path, torch.Generator(), size=16)
    assert splits.train.images.shape == (24, 3, 16, 16)
