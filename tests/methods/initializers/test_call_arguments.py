"""The forms of data that `goodinit.lsuv` accepts."""

import inspect
from collections import UserDict

import numpy as np
import pytest
import torch
from sample_convnets import new_convnet, new_images
from torch import nn
from torch.nn.utils import parameters_to_vector
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from goodinit import lsuv
from goodinit.datasets.tensors import Examples
from goodinit.methods.initializers import call_arguments

IGNORED = "data: the last element is ignored as labels; to pass it as scale, use a dict"


class _TwoInputs(nn.Module):
    """A model with two inputs and an option."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 8), nn.Linear(6, 8)

    def forward(self, left, right, scale=1.0):
        return scale * (self.left(left) + self.right(right))


class _DictInput(nn.Module):
    def __init__(self, key="image"):
        super().__init__()
        self.layer, self.key = nn.Linear(4, 8), key

    def forward(self, batch):
        return {"logits": self.layer(batch[self.key])}


def _forms():
    images, labels = new_images(), torch.zeros(40, dtype=torch.int64)
    return {
        "tensor": images,
        "tuple": (images,),
        "list": [images],
        "inputs and labels": (images, labels),
        "inputs and labels of any type": [images, ["a"] * 40],
        "examples of goodinit": Examples(images, labels),
        "keywords": {"input": images},
        "double": images.double(),
        "DataLoader": DataLoader(TensorDataset(images, labels), batch_size=40),
        "DataLoader without labels": DataLoader(TensorDataset(images), batch_size=40),
        "DataLoader of dicts": DataLoader([{"input": image} for image in images], batch_size=40),
        "DataLoader of small batches": DataLoader(TensorDataset(images, labels), batch_size=20),
        "DataLoader of single examples": DataLoader(images, batch_size=1),
    }


@pytest.mark.parametrize("form", _forms())
def test_every_form_gives_the_same_weights(form):
    expected, model = new_convnet(), new_convnet()
    lsuv(expected, new_images(), seed=3)
    report = lsuv(model, _forms()[form], seed=3, examples=40)
    assert [row.name for row in report.scaled] == ["0", "5"]
    assert torch.equal(parameters_to_vector(model.parameters()), parameters_to_vector(expected.parameters()))


def test_several_arguments_are_a_tuple_with_or_without_labels_or_a_dict():
    left, right = torch.randn(64, 4), torch.randn(64, 6)
    weights = []
    for data in ((left, right), (left, right, torch.zeros(64)), {"right": right, "left": left, "scale": 1.0}):
        model = _TwoInputs()
        report = lsuv(model, data, seed=0)
        assert len(report.scaled) == 2
        assert report.note == (IGNORED if len(data) == 3 and isinstance(data, tuple) else "")
        assert str(report).endswith(report.note)
        weights.append(parameters_to_vector(model.parameters()))
    assert all(torch.equal(weights[0], other) for other in weights)


def test_optional_arguments_in_a_tuple_may_be_followed_by_labels():
    left, right = torch.randn(64, 4), torch.randn(64, 6)
    weights = []
    for data in ({"right": right, "left": left, "scale": 3.0}, (left, right, 3.0, torch.zeros(64))):
        model = _TwoInputs()
        lsuv(model, data, seed=0)
        weights.append(parameters_to_vector(model.parameters()))
    assert torch.equal(*weights)


class _OptionalInput(nn.Linear):
    """A model whose only argument is optional, as in models that take either tokens or their embeddings."""

    def forward(self, x=None):
        return super().forward(x)


class _OptionalInputs(nn.Linear):
    def forward(self, x=None, scale=1.0):
        return scale * super().forward(x)


class _AnyInputs(nn.Linear):
    def forward(self, *inputs):
        return sum(map(super().forward, inputs))


class _OptionalAndAnyInputs(nn.Linear):
    def forward(self, x=None, *others):
        return sum(map(super().forward, (x, *others)))


def _optional_forms():
    x, labels = torch.randn(64, 4), torch.zeros(64, dtype=torch.int64)
    with_labels, loader = [(x,), (x, labels), [x, ["a"] * 64]], DataLoader(TensorDataset(x, labels), batch_size=64)
    return [
        *[(_OptionalInput, data, (x,)) for data in (x, *with_labels, {"x": x}, loader)],
        *[(_OptionalInputs, data, (x,)) for data in (x, (x,), {"x": x})],
        *[(_OptionalInputs, data, (x, 3.0)) for data in ((x, 3.0), (x, 3.0, labels))],
        *[(_AnyInputs, data, data) for data in ((x,), (x, 2 * x))],
        *[(_OptionalAndAnyInputs, data, data) for data in ((x,), (x, 2 * x), (x, 2 * x, 3 * x))],
    ]


@pytest.mark.parametrize(("kind", "data", "expected"), _optional_forms())
def test_labels_after_optional_arguments_are_ignored(kind, data, expected):
    args, kwargs, _ = call_arguments.call_arguments(kind(4, 2), data, 32)
    bound = inspect.signature(kind.forward).bind(None, *args, **kwargs)
    assert len(bound.args) == 1 + len(expected)
    assert all(torch.equal(*map(torch.as_tensor, pair)) for pair in zip(bound.args[1:], expected, strict=True))
    assert lsuv(kind(4, 2), data, seed=0).scaled


class _Bags(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.last = nn.EmbeddingBag(50, 16), nn.Linear(16, 4)

    def forward(self, tokens, offsets):
        return self.last(self.embed(tokens, offsets))


def _sequences():
    return nn.utils.rnn.pack_sequence([torch.randn(length, 4) for length in (9, 5, 2)])


class _Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.recurrent, self.last = nn.GRU(4, 8), nn.Linear(8, 4)

    def forward(self, sequences):
        return self.last(self.recurrent(sequences)[1])


@pytest.mark.parametrize(
    ("build", "batches"),
    [
        (_Bags, [(torch.arange(30) + index, torch.tensor([0, 10, 13, 21])) for index in range(3)]),
        (_Packed, [_sequences() for _ in range(3)]),
    ],
)
def test_batches_that_are_not_examples_along_the_first_dimension_are_not_concatenated(build, batches):
    """The offsets of each batch start at 0, and packed sequences interleave the examples."""
    model = build()
    lsuv(model, DataLoader(batches, batch_size=None), seed=0)
    first = batches[0] if isinstance(batches[0], nn.utils.rnn.PackedSequence) else None
    with torch.no_grad():
        output = model(*batches[0]) if first is None else model(first)
    assert float(output.var(correction=0)) == pytest.approx(1, abs=0.06)


def test_the_batch_sizes_of_packed_sequences_stay_on_the_cpu():
    model = nn.GRU(4, 8, device="meta", dtype=torch.float64)
    (moved,) = call_arguments._move(model, call_arguments.Arguments((_sequences(),), {})).args
    assert (moved.data.device.type, moved.data.dtype) == ("meta", torch.float64)
    assert moved.batch_sizes.device.type == "cpu"


def test_a_dict_may_be_the_only_argument():
    loader = DataLoader([{"image": torch.randn(4), "label": 3, "name": "a"} for _ in range(64)], batch_size=32)
    report = lsuv(_DictInput(), loader, seed=0)
    assert report.scaled[0].std_after == pytest.approx(1, abs=0.03)


def _encoded(rows):
    return UserDict(x=torch.stack([row for row, _ in rows]), scale=torch.tensor(2.0))


@pytest.mark.parametrize("nested", [False, True])
def test_mappings_of_any_type_are_dicts_and_scalars_need_no_length(nested):
    """As in the batches of a tokenizer."""
    x = torch.randn(64, 4)
    data = (UserDict(x=x, scale=torch.tensor(2.0)), torch.zeros(64)) if nested else _encoded([(row, 0) for row in x])
    rows = [(row, 0) for row in x]
    collate = (lambda rows: (_encoded(rows), torch.zeros(len(rows)))) if nested else _encoded
    model = _DictInput(key="x") if nested else _OptionalInputs(4, 2)
    for given in (data, DataLoader(rows, batch_size=16, collate_fn=collate)):
        args, kwargs, _ = call_arguments.call_arguments(model, given, 64)
        arguments = args[0] if nested else kwargs
        assert torch.equal(arguments["x"], x)
        assert arguments["scale"] == 2
        assert lsuv(model, given, seed=0).scaled


class _Masked(nn.Linear):
    def forward(self, x, mask, others):
        return super().forward(x) * mask.exp()[:, None] + len(others)


def test_masks_may_be_infinite_and_some_tensors_empty():
    data = (torch.randn(8, 4), torch.tensor([0.0, -torch.inf] * 4), torch.empty(0, 4))
    assert lsuv(_Masked(4, 2), data, seed=0).scaled


class _CountedExamples(IterableDataset):
    def __init__(self):
        self.count = 0

    def __iter__(self):
        while True:
            self.count += 1
            yield torch.randn(4), 0


@pytest.mark.parametrize(("batch_size", "examples", "taken"), [(8, 32, 32), (5, 32, 35), (64, 32, 64), (8, 1, 8)])
def test_only_the_required_batches_of_a_data_loader_are_taken(batch_size, examples, taken):
    data_set = _CountedExamples()
    lsuv(nn.Linear(4, 2), DataLoader(data_set, batch_size=batch_size), examples=examples)
    assert data_set.count == taken


def test_only_the_first_batch_is_used_if_batches_have_different_shapes():
    loader = DataLoader([torch.randn(length, 4) for length in (30, 20, 10)], batch_size=1)
    model, first = nn.Linear(4, 8), next(iter(loader))
    lsuv(model, loader, seed=0)
    assert float(model(first).detach().var(correction=0)) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "not NoneType"),
        ("images", "not str"),
        (np.zeros((8, 3, 8, 8), dtype=np.float32), "not ndarray"),
        ((image for image in new_images()), "not generator"),
        (TensorDataset(new_images()), "not TensorDataset"),
        ((), "data has 0 elements"),
        ((1, 2), "contains no tensor"),
        ((new_images(), 1, 2), "data has 3 elements"),
        ({}, "contains no tensor"),
        ({"x": new_images()}, "cannot process this data"),
        ({"input": new_images(), "labels": 1}, "has no argument 'labels'; it takes input"),
        (new_images()[:0], "without elements"),
        (torch.full((4, 3, 8, 8), torch.nan), "data contains NaN"),
        (torch.full((4, 3, 8, 8), torch.inf), "layer 0: the variance of its output is nan"),
        (torch.zeros(4, 3, 8, 8), "layer 0: the variance of its output is 0"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), "cannot process this data"),
        (torch.randn(4, 5, 8, 8), "cannot process this data"),
        (torch.randn(4, 3, 9, 9), "cannot process this data"),
        (DataLoader(TensorDataset(new_images()[:0]), batch_size=4), "the DataLoader yields no batch"),
        (DataLoader(TensorDataset(new_images()), batch_size=64, drop_last=True), "the DataLoader yields no batch"),
    ],
)
def test_other_data_are_rejected_in_one_line(data, reason):
    with pytest.raises(ValueError, match=reason) as error:
        lsuv(new_convnet(), data, seed=0)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) <= 300


def test_a_missing_argument_is_named():
    with pytest.raises(ValueError, match="forward of _TwoInputs requires 'right'; it takes left, right, scale"):
        lsuv(_TwoInputs(), {"left": torch.randn(8, 4)})
