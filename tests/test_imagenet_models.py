"""CaffeNet and GoogLeNet: their layers, Caffe's pooling and normalization, their published start, and LSUV on them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from goodinit.datasets.tensors import Examples
from goodinit.methods import diagnostics, initializers, models, objectives
from goodinit.methods.contracts import PublishedInit
from goodinit.methods.models import caffe

CAFFENET = {  # weights, as Caffe has them, and the published bias and standard deviation
    "conv1": ((96, 3, 11, 11), 0, 0.01),
    "conv2": ((256, 48, 5, 5), 1, 0.01),
    "conv3": ((384, 256, 3, 3), 0, 0.01),
    "conv4": ((384, 192, 3, 3), 1, 0.01),
    "conv5": ((256, 192, 3, 3), 1, 0.01),
    "fc6": ((4096, 9216), 1, 0.005),
    "fc7": ((4096, 4096), 1, 0.005),
    "fc8": ((1000, 4096), 0, 0.01),
}
# Inputs and, in Caffe's order, 1 x 1, the reduction and 3 x 3, the reduction and 5 x 5, and what follows the pooling.
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
OUTPUTS = [28, 28, 14, 14, 14, 14, 14, 7, 7]  # height and width of each module's output


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _layers(net):
    return [layer for layer in net.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


def _googlenet_weights(auxiliary):
    """Return the shapes of all weights in the order of Caffe's definition."""
    shapes = [(64, 3, 7, 7), (64, 64, 1, 1), (192, 64, 3, 3)]
    for place, (inputs, single, reduce3, three, reduce5, five, projection) in enumerate(INCEPTIONS):
        shapes += [(single, inputs, 1, 1), (reduce3, inputs, 1, 1), (three, reduce3, 3, 3), (reduce5, inputs, 1, 1)]
        shapes += [(five, reduce5, 5, 5), (projection, inputs, 1, 1)]
        if auxiliary and place in (2, 5):  # on 4a and 4d
            shapes += [(128, single + three + five + projection, 1, 1), (1024, 128 * 4 * 4), (1000, 1024)]
    return [*shapes, (1000, 1024)]


def _small(name, width=0.125, **options):
    """Return a thin net and a batch that it takes."""
    size = {"caffenet": 67, "googlenet": 64}[name]
    more = {"units": 24} if name == "caffenet" else {}
    net = getattr(models, name)((3, size, size), 10, width=width, **more, **options)
    images = torch.randn(16, 3, size, size, generator=_generator(1))
    return net, Examples(images, torch.arange(16) % 10)


def _outputs(net, images):
    """Return the layers in the order in which they are called, each with its output before and after a rectifier."""
    found = []
    hooks = [
        layer.register_forward_hook(
            lambda layer, inputs, output: found.append((layer, output.clone(), output.clone().relu_()))
        )
        for layer in _layers(net)
    ]
    with torch.no_grad():
        net(images)
    for hook in hooks:
        hook.remove()
    return found


def test_caffenet_has_caffe_s_weights_and_published_start():
    with torch.device("meta"):
        net = models.caffenet((3, 227, 227), 1000)
    found = {name: layer for name, layer in net.named_children() if hasattr(layer, "weight")}
    assert {name: tuple(layer.weight.shape) for name, layer in found.items()} == {
        name: shape for name, (shape, _, _) in CAFFENET.items()
    }
    assert sum(parameter.numel() for parameter in net.parameters()) == 60965224
    for name, (_, bias, std) in CAFFENET.items():
        assert found[name].published == PublishedInit("normal", std, bias)


def test_caffenet_s_layers_stand_in_caffe_s_order_and_give_its_shapes():
    expected = {
        "conv1": (96, 55), "pool1": (96, 27), "norm1": (96, 27), "conv2": (256, 27), "pool2": (256, 13),
        "norm2": (256, 13), "conv3": (384, 13), "conv4": (384, 13), "conv5": (256, 13), "pool5": (256, 6),
    }  # fmt: skip
    with torch.device("meta"):
        net, images, found = models.caffenet((3, 227, 227), 1000), torch.empty(2, 3, 227, 227), {}
        for name, layer in net.named_children():
            images = layer(images)
            found[name] = images.shape
    assert list(found) == [
        "conv1", "relu1", "pool1", "norm1", "conv2", "relu2", "pool2", "norm2", "conv3", "relu3", "conv4", "relu4",
        "conv5", "relu5", "pool5", "flatten", "fc6", "relu6", "dropout6", "fc7", "relu7", "dropout7", "fc8",
    ]  # fmt: skip
    assert {name: (found[name][1], *found[name][2:]) for name in expected} == {
        name: (channels, side, side) for name, (channels, side) in expected.items()
    }
    assert [net.dropout6.p, net.dropout7.p] == [0.5, 0.5]


@pytest.mark.parametrize(("auxiliary", "total"), [(True, 13378280), (False, 6998552)])
def test_googlenet_has_caffe_s_weights_in_the_order_of_its_definition(auxiliary, total):
    with torch.device("meta"):
        net = models.googlenet((3, 224, 224), 1000, auxiliary=auxiliary)
    shapes = _googlenet_weights(auxiliary)
    assert [tuple(layer.weight.shape) for layer in _layers(net)] == shapes
    assert sum(parameter.numel() for parameter in net.parameters()) == total
    assert sum(math.prod(shape) + shape[0] for shape in shapes) == total  # a bias for each output
    for layer in _layers(net):
        fan_in = math.prod(layer.weight.shape[1:])
        bias = 0 if len(layer.weight) == 1000 else 0.2
        assert layer.published == PublishedInit("uniform", pytest.approx(fan_in**-0.5), bias)


def test_googlenet_s_modules_give_the_paper_s_shapes():
    found = []
    with torch.device("meta"):
        net = models.googlenet((3, 224, 224), 1000)
        modules = [module for module in net.modules() if hasattr(module, "branches")]
        for module in [*net.stem, *modules, net.auxiliary1[0], net.last[-1]]:
            module.register_forward_hook(lambda module, inputs, output: found.append(tuple(output.shape[1:])))
        outputs = net(torch.empty(2, 3, 224, 224))
    assert found[:7] == [(64, 112, 112), (64, 56, 56), (64, 56, 56), (64, 56, 56), (192, 56, 56), (192, 56, 56),
                         (192, 28, 28)]  # fmt: skip
    widths = [single + three + five + projection for _, single, _, three, _, five, projection in INCEPTIONS]
    expected = [(width, side, side) for width, side in zip(widths, OUTPUTS, strict=True)]
    expected.insert(3, (512, 4, 4))  # what the first auxiliary classifier pools
    assert found[7:17] == expected
    assert [tuple(output.shape) for output in outputs] == [(2, 1000)] * 3
    assert net.eval()(torch.empty(2, 3, 224, 224, device="meta")).shape == (2, 1000)
    dropped = [module.p for module in net.modules() if isinstance(module, nn.Dropout)]
    assert dropped == [0.7, 0.7, 0.4]


def test_an_inception_module_joins_its_four_branches():
    net, _ = _small("googlenet")
    module = net.first[0]
    inputs = torch.randn(2, 24, 8, 8, generator=_generator())
    single, reduce3, three, reduce5, five, projection = _layers(module)
    with torch.no_grad():
        around = nn.functional.pad(inputs, (1, 1, 1, 1), value=-math.inf)
        largest = torch.stack([around[:, :, i : i + 8, j : j + 8] for i in range(3) for j in range(3)]).amax(0)
        branches = [single(inputs), three(reduce3(inputs).relu()), five(reduce5(inputs).relu()), projection(largest)]
        torch.testing.assert_close(module(inputs), torch.cat(branches, 1).relu())


def test_normalization_is_a_slow_transcription_of_the_formula():
    inputs = torch.randn(2, 7, 3, 3, generator=_generator(), dtype=torch.float64) * 100
    expected = np.empty(inputs.shape)
    for image, channel, row, column in np.ndindex(*inputs.shape):
        total = sum(
            float(inputs[image, other, row, column]) ** 2 for other in range(max(channel - 2, 0), min(channel + 3, 7))
        )
        expected[image, channel, row, column] = (
            float(inputs[image, channel, row, column]) / (1 + 0.0001 / 5 * total) ** 0.75
        )
    found = caffe.LocalResponseNorm()(inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    torch.testing.assert_close(found, nn.LocalResponseNorm(5, 1e-4, 0.75)(inputs))


@pytest.mark.parametrize(("size", "outputs"), [(112, 56), (55, 27), (27, 13), (13, 6), (14, 7), (4, 2), (2, 1)])
def test_pooling_keeps_what_is_over(size, outputs):
    assert caffe.pooled_size(size) == outputs
    inputs = torch.arange(size * size).float().view(1, 1, size, size)
    found = caffe.max_pool()(inputs)
    assert found.shape[2:] == (outputs, outputs)
    assert found.max() == size * size - 1  # no row or column is lost where a window begins


@pytest.mark.parametrize(
    ("name", "least", "options"),
    [("caffenet", 39, {}), ("googlenet", 47, {}), ("googlenet", 31, {"auxiliary": False})],
)
def test_images_of_every_size_are_taken_but_too_small_ones(name, least, options):
    build = getattr(models, name)
    with torch.device("meta"):
        for height, width in ((least, least), (least, least + 31), (least + 100, least)):
            net = build((3, height, width), 10, width=0.25, **options)
            assert net.eval()(torch.empty(2, 3, height, width)).shape == (2, 10)
        with pytest.raises(ValueError, match=f"{name}: images must be at least {least} x {least}, not of shape"):
            build((3, least + 5, least - 1), 10, **options)


@pytest.mark.parametrize("options", [{"width": 0.0}, {"dropout": 1.0}])
@pytest.mark.parametrize("name", ["caffenet", "googlenet"])
def test_options_out_of_their_range_are_refused(name, options):
    with pytest.raises(ValueError, match=f"{name}: width must be more than 0"):
        getattr(models, name)((3, 227, 227), 10, **options)


@pytest.mark.parametrize("name", ["caffenet", "googlenet"])
def test_published_weights_and_biases_are_those_the_layers_name(name):
    net, _ = _small(name)
    initializers.published(net, None, _generator())
    for layer in _layers(net):
        std, weight = layer.published.std, layer.weight.detach().double()
        uniform = layer.published.distribution == "uniform"
        error = math.sqrt((0.8 if uniform else 2) / weight.numel())
        assert abs(weight.square().mean() / std**2 - 1) < 4 * error
        assert (weight.abs().max() <= math.sqrt(3) * std * (1 + 1e-6)) == uniform
        assert (layer.bias == layer.published.bias).all()


def test_a_model_without_a_published_start_is_refused():
    net, images = models.mlp((6,), 3), torch.randn(4, 6)
    batch = Examples(images, torch.zeros(4, dtype=torch.int64))
    for start in (
        lambda: initializers.published(net, None, _generator()),
        lambda: initializers.orthonormal(net, None, _generator(), biases="published"),
        lambda: initializers.lsuv(net, batch, _generator(), biases="published"),
    ):
        with pytest.raises(ValueError, match="the model has no published initialization of the layer 1"):
            start()


@pytest.mark.parametrize("name", ["caffenet", "googlenet"])
@pytest.mark.parametrize("biases", ["zero", "published"])
def test_lsuv_scales_each_layer_s_own_output_in_the_order_of_execution(name, biases):
    net, batch = _small(name, dropout=0.0)
    found = initializers.lsuv(net, batch, _generator(), batches=1, tolerance=0.02, biases=biases)
    outputs = _outputs(net, batch.images)
    assert [layer for layer, _, _ in outputs] == _layers(net)  # listed as they are gone through
    assert len(found.scaled) == len(outputs) == {"caffenet": 8, "googlenet": 64}[name]
    for layer, output, _ in outputs:
        assert abs(float(output.var(correction=0)) - 1) <= 0.0201
        assert (layer.bias == (layer.published.bias if biases == "published" else 0)).all()


@pytest.mark.parametrize("name", ["caffenet", "googlenet"])
def test_lsuv_can_measure_after_the_rectifier_but_for_classifiers(name):
    net, batch = _small(name, 0.25, dropout=0.0)  # of a branch of two channels nothing may be left
    initializers.lsuv(net, batch, _generator(), batches=1, tolerance=0.02, measure="after", biases="published")
    outputs = _outputs(net, batch.images)
    for layer, before, after in outputs:
        measured = before if len(layer.weight) == 10 else after
        assert abs(float(measured.var(correction=0)) - 1) <= 0.0201
    assert float(outputs[0][1].var(correction=0)) > 2  # of something normal a rectifier leaves 0.34 of the variance


def test_measuring_after_a_sum_or_no_non_linearity_is_measuring_the_layer():
    """In a residual net every second convolution goes into a sum; a maxout's pieces go into the maximum."""
    for build, after in ((models.fitresnet4, 10), (models.fitnet_mnist, 0)):
        options = {"activation": "relu"} if after else {}
        net = build((3, 16, 16), 10, dropout=0.0, **options)
        batch = Examples(torch.randn(8, 3, 16, 16, generator=_generator(1)), torch.zeros(8, dtype=torch.int64))
        initializers.lsuv(net, batch, _generator(), batches=1, tolerance=0.02, measure="after")
        own = [abs(float(output.var(correction=0)) - 1) <= 0.0201 for _, output, _ in _outputs(net, batch.images)]
        assert own.count(False) == after


def test_lsuv_without_dropout_leaves_auxiliary_classifiers_orthonormal():
    net, batch = _small("googlenet")
    found = initializers.lsuv(net, batch, _generator(), batches=1, dropout=False)
    assert len(found.scaled) == 58
    matrix = net.auxiliary1[-1].weight.detach()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(10), atol=1e-5, rtol=0)


def test_layer_outputs_of_a_branching_net_are_in_the_order_of_execution():
    net, batch = _small("googlenet", dropout=0.0)
    initializers.published(net, None, _generator())
    with diagnostics.layer_outputs(net, batch, _generator()) as observe:
        found = observe(0)
    outputs = _outputs(net, batch.images)
    np.testing.assert_allclose(
        found["output_variance"], [float(output.var(correction=0)) for _, output, _ in outputs], rtol=1e-5
    )
    np.testing.assert_allclose(
        found["weight_sd"], [float(layer.weight.detach().std(correction=0)) for layer, _, _ in outputs], rtol=1e-5
    )
    with torch.no_grad():
        loss = nn.functional.cross_entropy(net.eval()(batch.images), batch.labels)
    assert found["batch_loss"] == pytest.approx(float(loss), rel=1e-5)


def test_gradients_of_a_net_with_auxiliary_classifiers_are_refused():
    net, batch = _small("googlenet")
    with (
        pytest.raises(ValueError, match="build it without its auxiliary classifiers"),
        diagnostics.gradients(net, batch, _generator()),
    ):
        pass
    net, batch = _small("googlenet", auxiliary=False)
    initializers.published(net, None, _generator())
    with diagnostics.gradients(net, batch, _generator()) as observe:
        assert observe(0)["gradient_variance"].shape == (58,)


def test_auxiliary_losses_are_minimized_and_the_classifier_s_own_is_reported():
    net, batch = _small("googlenet", dropout=0.0)
    initializers.published(net, None, _generator())
    with torch.no_grad():
        logits = net(batch.images)
    own, *others = (-logits_.log_softmax(1)[torch.arange(16), batch.labels].mean() for logits_ in logits)
    loss, metrics = objectives.cross_entropy(net, batch)
    torch.testing.assert_close(loss.detach(), own + 0.3 * sum(others))
    torch.testing.assert_close(metrics["loss"], own)
    torch.testing.assert_close(metrics["auxiliary_loss"], sum(others) / 2)
    loss.backward()
    assert net.auxiliary1[-1].weight.grad.abs().sum() > 0
    loss, metrics = objectives.cross_entropy(net.eval(), batch)
    torch.testing.assert_close(loss.detach(), own)
    assert set(metrics) == {"accuracy"}
    with pytest.raises(ValueError, match="auxiliary_weight must be at least 0"):
        objectives.cross_entropy(net, batch, auxiliary_weight=-0.1)
