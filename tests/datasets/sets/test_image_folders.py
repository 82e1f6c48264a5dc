"""Image folders as data sets: options, splits, preprocessing, training, and their cost."""

import math

import numpy as np
import pytest
import torch
from image_files import write_cats
from PIL import Image

from goodinit import studies
from goodinit.datasets import cache, sets, splits
from goodinit.errors import InputError
from goodinit.training import cost, trainer


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def cats(tmp_path_factory):
    """A data folder with 60 and 9 prepared images of 24 x 24, of three classes."""
    root = tmp_path_factory.mktemp("cats")
    write_cats(root, train=20)
    cache.prepare("folder-cats-24", root, processes=1)
    return root


def _cats(root, **options):
    return sets.folder(root, _generator(), path="cats", size=24, **options)


def test_last_training_images_are_held_out_without_a_copy(cats):
    whole, held = _cats(cats), _cats(cats, train_examples=50, validation_examples=10, test_examples=4)
    assert torch.equal(held.train.images, whole.train.images[:40])
    assert torch.equal(held.validation.labels, whole.train.labels[40:50])
    assert len(held.test.labels) == 4
    assert held.validation.images.untyped_storage().data_ptr() == held.train.images.untyped_storage().data_ptr()


@pytest.mark.parametrize(
    "path", ["..", "../x", "/etc", "a/b", "", ".hidden", "-a", "a b", "a\n", "{x}", "a\\b", "~x", "a;b", "a&b", "$(x)"]
)
def test_path_out_of_the_data_folder_is_rejected(workspace, tmp_path, path):
    with pytest.raises(ValueError, match="is not the name of one folder in the data folder's `folders`"):
        sets.folder(tmp_path, _generator(), path=path)
    with pytest.raises(InputError, match=r"study.yaml: .*data.folder: path: .* is not the name of one folder"):
        workspace.study(**{"fixed.data": None, "fixed": _fixed({"name": "folder", "path": path})})
    assert not list(tmp_path.glob("prepared"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "folder: size must be more than 0, not 0"),
        ({"crop": 0}, "folder: crop must be more than 0, not 0"),
        ({"crop": 25}, "folder: crop: 25 is more than the size, 24"),
        ({"scale": 0.0}, "folder: scale must be more than 0, not 0.0"),
        ({"scale": math.nan}, "folder: scale must be more than 0, not nan"),
        ({"standardize": True, "center": True}, "standardize, and scale with center exclude each other"),
        ({"train_examples": 61}, "folder: train_examples must be at least 1 and at most 60, not 61"),
        ({"validation_examples": 60}, "folder: validation_examples: 60 leaves nothing of 60"),
    ],
)
def test_options_out_of_range_are_rejected(cats, options, message):
    with pytest.raises(ValueError, match=message):
        sets.folder(cats, _generator(), **{"path": "cats", "size": 24} | options)


def test_crop_and_mirror_are_options_of_the_preprocessing(cats):
    preprocessing = _cats(cats, crop=21, mirror=True).preprocessing
    assert (preprocessing.pad, preprocessing.crop, preprocessing.mirror) == (0, 21, True)
    preprocessing = _cats(cats, crop=21).preprocessing
    assert (preprocessing.pad, preprocessing.crop, preprocessing.mirror) == (0, 21, False)
    preprocessing = _cats(cats, mirror=True).preprocessing
    assert (preprocessing.pad, preprocessing.crop, preprocessing.mirror) == (0, None, True)
    assert _cats(cats).preprocessing.pad is None


def test_pixels_are_scaled_centered_and_standardized_by_channel(cats):
    for options in ({"center": True}, {"center": True, "scale": 0.04}, {"standardize": True}, {"scale": 0.04}):
        splits = _cats(cats, **options)
        raw = splits.train.images.double()
        expected = raw * options.get("scale", 1 / 255)
        if len(options) > 1 or "scale" not in options:
            expected -= expected.mean((0, 2, 3), keepdim=True)
        if "standardize" in options:
            expected /= expected.std((0, 2, 3), keepdim=True, correction=0)
        inputs = splits.preprocessing.normalize(splits.train).images
        np.testing.assert_allclose(inputs, expected, atol=1e-4)


def test_procedural_images_are_an_image_folder_of_jpeg_files(tmp_path):
    splits = sets.pictures(tmp_path, _generator(), size=32)
    assert [len(split.labels) for split in (splits.train, splits.test)] == [400, 100]
    assert splits.test.labels.bincount().tolist() == [10] * 10
    files = list((tmp_path / "pictures").rglob("*.jpg"))
    assert len(files) == 500
    sizes = set()
    for file in files:
        with Image.open(file) as image:
            sizes.add(image.size)
    assert len(sizes) == 15
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "prepared"]


def _fixed(data, **parts):
    return {
        "data": data,
        "model": {"name": "mlp", "hidden": [16]},
        "optimizer": {"name": "sgd", "lr": 0.05},
        "training": {"epochs": 8, "batch_size": 12, "evaluate_on": ["train", "validation", "test"]},
    } | parts


def _execute(workspace, root, **parts):
    data = {"name": "folder", "path": "cats", "size": 24, "crop": 20, "mirror": True, "standardize": True}
    data |= {"validation_examples": 6}
    study = workspace.study(fixed=_fixed(data, **parts), compare={"init": ["he_normal"]}, seeds=2)
    runs = study.runs("laptop")
    return list(trainer.execute(runs, data_root=root, device=torch.device("cpu")))


@pytest.mark.parametrize("name", ["full", "streamed"])
def test_image_folder_is_trained_on_equally_if_it_is_not_moved_to_the_device(workspace, cats, monkeypatch, name):
    parts = {"curriculum": {"name": "streamed", "chunk": 4, "buffer": 3}} if name == "streamed" else {}
    records = _execute(workspace, cats, **parts)
    monkeypatch.setattr(splits, "MAX_DEVICE_BYTES", 0)
    mapped = _execute(workspace, cats, **parts)
    for record, other in zip(records, mapped, strict=True):
        assert record.status == "finished"
        assert record.provenance["train_examples"] == 54
        assert record.series["test_accuracy"].values[-1] == 1  # the color determines the class
        assert record.series.keys() == other.series.keys()
        for metric, series in record.series.items():
            np.testing.assert_array_equal(series.values, other.series[metric].values)


def test_cost_is_known_for_published_and_prepared_data_sets_only(cats, monkeypatch):
    monkeypatch.setenv("GOODINIT_DATA", str(cats))
    base = {"model": {"name": "mlp", "hidden": [10]}, "init": {"name": "he_normal"}} | studies.DEFAULTS
    base |= {"optimizer": {"name": "sgd", "lr": 0.1}, "training": {"epochs": 1, "batch_size": 20}}

    def estimate(**data):
        return cost.estimate([studies.Run(base | {"data": data}, 0, {})])

    small = estimate(name="folder", path="cats", size=24, crop=20)
    forward = 2 * (1200 * 10 + 10 * 3)
    assert small.training == 3 * 20 * (forward + 2 * (1200 * 10 + 2 * 10 * 3))
    assert small.evaluation == 2 * 9 * forward
    assert estimate(name="imagenette").evaluation == 2 * 3925 * 2 * (3 * 144**2 * 10 + 100)
    large = estimate(name="folder", path="imagenet", crop=128)
    assert large.evaluation == 2 * 50000 * 2 * (3 * 128**2 * 10 + 10 * 1000)
    assert large.memory < 4 * 2**30  # the images, 80 GB, are not moved to the device
    with pytest.raises(InputError, match=r"folder-dogs-24: the size is unknown .* goodinit prepare folder-dogs-24"):
        estimate(name="folder", path="dogs", size=24)
