"""Splits are moved to a device: common tensors once, large ones not at all."""

import pytest
import torch

from goodinit.datasets import splits
from goodinit.datasets.preprocessing import Preprocessing
from goodinit.datasets.splits import Splits
from goodinit.datasets.tensors import Examples


@pytest.fixture
def whole():
    """Splits of 20, 10 and 6 examples."""

    def examples(count):
        return Examples(torch.zeros(count, 3, 4, 4, dtype=torch.uint8), torch.zeros(count, dtype=torch.int64))

    preprocessing = Preprocessing(mean=torch.zeros(3, 1, 1))
    return Splits(examples(20), examples(10), examples(6), classes=2, checksum="abc", preprocessing=preprocessing)


def test_common_tensors_of_several_splits_are_moved_once(whole):
    same = Splits(*(Examples(*split) for split in (whole.train, whole.validation, whole.test)), classes=2)
    first = Examples(whole.train.images[:5], whole.train.labels[:5])
    fewer = Splits(first, whole.validation, whole.test, classes=2)
    copies = {}
    whole, same, fewer = (each.to("meta", copies) for each in (whole, same, fewer))
    for split in ("train", "validation", "test"):
        assert getattr(whole, split).images is getattr(same, split).images
        assert getattr(whole, split).labels is getattr(same, split).labels
    assert fewer.test.images is whole.test.images
    assert fewer.train.images.shape == (5, 3, 4, 4)


def test_splits_keep_classes_checksum_and_preprocessing(whole):
    moved = whole.to("meta")
    assert (moved.classes, moved.checksum) == (2, "abc")
    assert moved.preprocessing.mean.device.type == "meta"


def test_large_split_is_not_moved(whole, monkeypatch):
    monkeypatch.setattr(splits, "MAX_DEVICE_BYTES", whole.validation.images.nbytes)
    moved = whole.to("meta")
    devices = [split.images.device.type for split in (moved.train, moved.validation, moved.test)]
    assert devices == ["cpu", "meta", "meta"]
