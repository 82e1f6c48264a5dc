"""CaffeNet and GoogLeNet: layers, published initialization, pooling and normalization of Caffe."""

import math

import numpy as np
import pytest
import torch
from sample_models import seeded
from torch import nn

from goodinit.methods import models
from goodinit.methods.contracts import PublishedInit
from goodinit.methods.models import caffe

CAFFENET = {  # shape of the weights in Caffe's definition, published bias and standard deviation
    "conv1": ((96, 3, 11, 11), 0, 0.01),
    "conv2": ((256, 48, 5, 5), 1, 0.01),
    "conv3": ((384, 256, 3, 3), 0, 0.01),
    "conv4": ((384, 192, 3, 3), 1, 0.01),
    "conv5": ((256, 192, 3, 3), 1, 0.01),
    "fc6": ((4096, 9216), 1, 0.005),
    "fc7": ((4096, 4096), 1, 0.005),
    "fc8": ((1000, 4096), 0, 0.01),
}
# Numbers of input channels and, in Caffe's order, of the channels of the convolutions of each inception module: 1 x 1,
# the reduction and 3 x 3, the reduction and 5 x 5, and the projection after pooling.
INCEPTIONS = [
    (192, 64, 96, 128, 16, 32, 32),
    (256, 128, 128, 192, 32, 96, 64),
    (480, 192, 96, 208, 16, 48, 64),
    (512, 160, 112, 224, 24, 64, 64),
    (512, 128, 128, 256, 24, 64, 64),
    (512, 112, 144, 288, 32, 64, 64),
    (528, 256, 160, 320, 32, 128, 128),
    (832, 256, 160, 320, 32, 128, 128),
    (832, 384, 192, 384, 48, 128, 128),
]
SIZES = [28, 28, 14, 14, 14, 14, 14, 7, 7]  # height and width of the output of each inception module


def _layers(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


def _googlenet_weights(auxiliary):
    """Return the shapes of all weights in the order of Caffe's definition."""
    shapes = [(64, 3, 7, 7), (64, 64, 1, 1), (192, 64, 3, 3)]
    for index, (inputs, single, reduce3, three, reduce5, five, projection) in enumerate(INCEPTIONS):
        shapes += [(single, inputs, 1, 1), (reduce3, inputs, 1, 1), (three, reduce3, 3, 3), (reduce5, inputs, 1, 1)]
        shapes += [(five, reduce5, 5, 5), (projection, inputs, 1, 1)]
        if auxiliary and index in (2, 5):  # after modules 4a and 4d
            shapes += [(128, single + three + five + projection, 1, 1), (1024, 128 * 4 * 4), (1000, 1024)]
    return [*shapes, (1000, 1024)]


def test_caffenet_has_the_weights_and_the_published_initialization_of_caffe():
    with torch.device("meta"):
        model = models.caffenet((3, 227, 227), 1000)
    layers = {name: layer for name, layer in model.named_children() if hasattr(layer, "weight")}
    assert {name: tuple(layer.weight.shape) for name, layer in layers.items()} == {
        name: shape for name, (shape, _, _) in CAFFENET.items()
    }
    assert sum(parameter.numel() for parameter in model.parameters()) == 60965224
    for name, (_, bias, std) in CAFFENET.items():
        assert layers[name].published == PublishedInit("normal", std, bias)


def test_caffenet_has_the_order_of_layers_and_the_shapes_of_caffe():
    expected = {
        "conv1": (96, 55), "pool1": (96, 27), "norm1": (96, 27), "conv2": (256, 27), "pool2": (256, 13),
        "norm2": (256, 13), "conv3": (384, 13), "conv4": (384, 13), "conv5": (256, 13), "pool5": (256, 6),
    }  # fmt: skip
    with torch.device("meta"):
        model, images, shapes = models.caffenet((3, 227, 227), 1000), torch.empty(2, 3, 227, 227), {}
        for name, layer in model.named_children():
            images = layer(images)
            shapes[name] = images.shape
    assert list(shapes) == [
        "conv1", "relu1", "pool1", "norm1", "conv2", "relu2", "pool2", "norm2", "conv3", "relu3", "conv4", "relu4",
        "conv5", "relu5", "pool5", "flatten", "fc6", "relu6", "dropout6", "fc7", "relu7", "dropout7", "fc8",
    ]  # fmt: skip
    assert {name: (shapes[name][1], *shapes[name][2:]) for name in expected} == {
        name: (channels, size, size) for name, (channels, size) in expected.items()
    }
    kinds = {
        "conv": nn.Conv2d, "relu": nn.ReLU, "pool": nn.MaxPool2d, "norm": caffe.LocalResponseNorm,
        "flatten": nn.Flatten, "fc": nn.Linear, "dropout": nn.Dropout,
    }  # fmt: skip
    assert all(type(layer) is kinds[name.rstrip("12345678")] for name, layer in model.named_children())
    assert [model.dropout6.p, model.dropout7.p] == [0.5, 0.5]


@pytest.mark.parametrize(("auxiliary", "total"), [(True, 13378280), (False, 6998552)])
def test_googlenet_has_the_weights_and_the_published_initialization_of_caffe(auxiliary, total):
    with torch.device("meta"):
        model = models.googlenet((3, 224, 224), 1000, auxiliary=auxiliary)
    shapes = _googlenet_weights(auxiliary)
    assert [tuple(layer.weight.shape) for layer in _layers(model)] == shapes
    assert sum(parameter.numel() for parameter in model.parameters()) == total
    assert sum(math.prod(shape) + shape[0] for shape in shapes) == total  # each output has a bias
    for layer in _layers(model):
        fan_in = math.prod(layer.weight.shape[1:])
        bias = 0 if len(layer.weight) == 1000 else 0.2
        assert layer.published == PublishedInit("uniform", pytest.approx(fan_in**-0.5), bias)


def test_googlenet_has_the_shapes_of_the_paper():
    shapes = []
    with torch.device("meta"):
        model = models.googlenet((3, 224, 224), 1000)
        modules = [module for module in model.modules() if hasattr(module, "branches")]
        for module in [*model.stem, *modules, model.auxiliary1[0], model.last[-1]]:
            module.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
        outputs = model(torch.empty(2, 3, 224, 224))
    assert shapes[:7] == [(64, 112, 112), (64, 56, 56), (64, 56, 56), (64, 56, 56), (192, 56, 56), (192, 56, 56),
                          (192, 28, 28)]  # fmt: skip
    widths = [single + three + five + projection for _, single, _, three, _, five, projection in INCEPTIONS]
    expected = [(width, size, size) for width, size in zip(widths, SIZES, strict=True)]
    expected.insert(3, (512, 4, 4))  # the pooling of the first auxiliary classifier
    assert shapes[7:17] == expected
    assert [tuple(output.shape) for output in outputs] == [(2, 1000)] * 3
    assert model.eval()(torch.empty(2, 3, 224, 224, device="meta")).shape == (2, 1000)
    assert [module.p for module in model.modules() if isinstance(module, nn.Dropout)] == [0.7, 0.7, 0.4]


def _kinds(module):
    """Return the names of the types of the layers of a module, in order."""
    return " ".join(type(layer).__name__ for layer in module.modules() if not list(layer.children()))


def test_googlenet_has_the_order_of_layers_of_caffe():
    with torch.device("meta"):
        model = models.googlenet((3, 224, 224), 1000)
    assert _kinds(model.stem) == (
        "Conv2d ReLU MaxPool2d LocalResponseNorm Conv2d ReLU Conv2d ReLU LocalResponseNorm MaxPool2d"
    )
    for classifier in (model.auxiliary1, model.auxiliary2):
        assert _kinds(classifier) == "AvgPool2d Conv2d ReLU Flatten Linear ReLU Dropout Linear"
    between = [type(module).__name__ for part in (model.first, model.middle, model.last) for module in part]
    assert [index for index, name in enumerate(between) if name == "MaxPool2d"] == [2, 8]
    assert between.count("_Inception") == len(between) - 2 == 9


def test_an_inception_module_concatenates_its_four_branches():
    module = models.googlenet((3, 64, 64), 10, width=0.125).first[0]
    inputs = torch.randn(2, 24, 8, 8, generator=seeded())
    single, reduce3, three, reduce5, five, projection = _layers(module)
    with torch.no_grad():
        padded = nn.functional.pad(inputs, (1, 1, 1, 1), value=-math.inf)
        pooled = torch.stack([padded[:, :, i : i + 8, j : j + 8] for i in range(3) for j in range(3)]).amax(0)
        branches = [single(inputs), three(reduce3(inputs).relu()), five(reduce5(inputs).relu()), projection(pooled)]
        torch.testing.assert_close(module(inputs), torch.cat(branches, 1).relu())


def test_local_response_norm_equals_a_slow_transcription_of_the_formula():
    inputs = torch.randn(2, 7, 3, 3, generator=seeded(), dtype=torch.float64) * 100
    expected = np.empty(inputs.shape)
    for image, channel, row, column in np.ndindex(*inputs.shape):
        neighbors = range(max(channel - 2, 0), min(channel + 3, 7))
        total = sum(float(inputs[image, neighbor, row, column]) ** 2 for neighbor in neighbors)
        expected[image, channel, row, column] = inputs[image, channel, row, column] / (1 + 0.0001 / 5 * total) ** 0.75
    outputs = caffe.LocalResponseNorm()(inputs)
    np.testing.assert_allclose(outputs, expected, rtol=1e-12)
    torch.testing.assert_close(outputs, nn.LocalResponseNorm(5, 1e-4, 0.75)(inputs))


@pytest.mark.parametrize(("size", "pooled"), [(112, 56), (55, 27), (27, 13), (13, 6), (14, 7), (4, 2), (2, 1)])
def test_last_pooling_window_may_extend_beyond_the_border(size, pooled):
    assert caffe.pooled_size(size) == pooled
    inputs = torch.arange(size * size).float().view(1, 1, size, size)
    outputs = caffe.max_pool()(inputs)
    assert outputs.shape[2:] == (pooled, pooled)
    assert outputs.max() == size * size - 1  # the last row and column are included


@pytest.mark.parametrize(
    ("name", "min_size", "options"),
    [("caffenet", 39, {}), ("googlenet", 47, {}), ("googlenet", 31, {"auxiliary": False})],
)
def test_images_may_have_any_size_from_the_minimum(name, min_size, options):
    build = getattr(models, name)
    with torch.device("meta"):
        for height, width in ((min_size, min_size), (min_size, min_size + 31), (min_size + 100, min_size)):
            model = build((3, height, width), 10, width=0.25, **options)
            assert model.eval()(torch.empty(2, 3, height, width)).shape == (2, 10)
        with pytest.raises(ValueError, match=f"{name}: images must be at least {min_size} x {min_size}, not of shape"):
            build((3, min_size + 5, min_size - 1), 10, **options)


@pytest.mark.parametrize("options", [{"width": 0.0}, {"dropout": 1.0}])
@pytest.mark.parametrize("name", ["caffenet", "googlenet"])
def test_options_out_of_range_are_rejected(name, options):
    with pytest.raises(ValueError, match=f"{name}: width must be more than 0"):
        getattr(models, name)((3, 227, 227), 10, **options)


def test_googlenet_without_dropout_has_none_in_its_auxiliary_classifiers():
    model = models.googlenet((3, 64, 64), 10, width=0.125, dropout=0.0)
    assert [module.p for module in model.modules() if isinstance(module, nn.Dropout)] == [0, 0, 0]
