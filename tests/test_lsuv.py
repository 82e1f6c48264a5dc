"""LSUV as the studies use it, and the nets that it is for."""

import functools
import math

import lsuv
import pytest
import torch
from torch import nn

from goodinit.datasets.tensors import Examples
from goodinit.methods import initializers, models

NETS = {
    "fitnet_mnist": (models.fitnet_mnist, (1, 28, 28), {}, 21426, 13),
    "fitnet1": (models.fitnet1, (3, 32, 32), {}, 348694, 24),
    "fitnet4": (models.fitnet4, (3, 32, 32), {}, 2742102, 40),
    "fitnet4 of rectifiers": (models.fitnet4, (3, 32, 32), {"activation": "relu"}, 1276806, 19),
    "fitresnet4": (models.fitresnet4, (3, 32, 32), {}, 2765174, 40),
    "fitresnet4 of tanh": (models.fitresnet4, (3, 32, 32), {"activation": "tanh"}, 1288342, 19),
}


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _batch(count=32, shape=(3, 32, 32), seed=0):
    images = torch.randn(count, *shape, generator=_generator(seed))
    return Examples(images, torch.zeros(count, dtype=torch.int64))


def _small():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(6272, 5))


def _layers(net):
    return [layer for layer in net.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


def _output_variances(net, images):
    """Return the variance of each layer's output on the images, in evaluation mode, in forward order."""
    found = []
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, output: found.append(float(output.var(correction=0))))
        for layer in _layers(net)
    ]
    with torch.no_grad():
        net.eval()(images)
    for hook in hooks:
        hook.remove()
    return found


def _algorithm_1(net, images, tolerance, most):
    """The paper's Algorithm 1 word by word: a whole forward pass for every trial, on the same mini-batch."""
    counts = []
    for place, layer in enumerate(_layers(net)):
        counts.append(0)
        while abs((variance := _output_variances(net, images)[place]) - 1) >= tolerance and counts[-1] < most:
            layer.weight.data /= variance**0.5
            counts[-1] += 1
    return counts


@pytest.mark.parametrize("name", NETS)
def test_parameters_and_layers_are_counted(name):
    build, shape, options, parameters, layers = NETS[name]
    net = build(shape, 10, **options)
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters
    assert len(_layers(net)) == layers
    assert net(torch.zeros(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize("name", ["fitnet1", "fitnet4", "fitresnet4"])
def test_width_is_a_factor_of_channels_and_hidden_units(name):
    for activation in ("relu", "maxout"):
        whole = getattr(models, name)((3, 32, 32), 10, activation=activation)
        half = getattr(models, name)((3, 32, 32), 10, activation=activation, width=0.5)
        for layer, thin in zip(_layers(whole), _layers(half), strict=True):
            outputs, inputs = layer.weight.shape[:2]
            assert thin.weight.shape[0] == (10 if outputs == 10 else outputs // 2)
            assert thin.weight.shape[1] == (3 if inputs == 3 else inputs // 2)
    for width in (0.0, -1.0):
        with pytest.raises(ValueError, match="width must be more than 0"):
            getattr(models, name)((3, 32, 32), 10, width=width)


def test_fitnet4_on_a_hundred_classes_has_as_many_parameters_as_the_released_one():
    assert sum(parameter.numel() for parameter in models.fitnet4((3, 32, 32), 100).parameters()) == 2787192


@pytest.mark.parametrize("name", NETS)
def test_lsuv_brings_every_layer_of_every_net_to_unit_variance(name):
    build, shape, options, _, layers = NETS[name]
    net, batch = build(shape, 10, **options), _batch(16, shape)
    found = initializers.lsuv(net, batch, _generator(), batch_size=16, batches=1, tolerance=0.02, dropout=False)
    found = found.rescalings
    assert len(found) == layers
    assert found.max() <= 5
    assert all(abs(variance - 1) <= 0.02 for variance in _output_variances(net, batch.images))


@pytest.mark.parametrize("start", ["orthonormal", "lecun_normal"])
def test_lsuv_is_algorithm_1(start):
    ours, theirs, batch = _small(), _small(), _batch()
    found = initializers.lsuv(ours, batch, _generator(), start=start, batches=1, tolerance=0.01, dropout=False)
    getattr(initializers, start)(theirs, batch, _generator())
    assert found.rescalings.tolist() == _algorithm_1(theirs, batch.images, 0.01, 100)
    for one, other in zip(_layers(ours), _layers(theirs), strict=True):
        torch.testing.assert_close(one.weight, other.weight, rtol=1e-4, atol=1e-6)


def _transcription(net, images, generator, batch_size, batches, biases):
    """The program that trained the recorded runs: SVD, all in one pass, mini-batches from a few times as many."""
    layers = _layers(net)
    for layer in layers:
        matrix = layer.weight.flatten(1)
        left, _, right = torch.linalg.svd(torch.randn(matrix.shape, generator=generator), full_matrices=False)
        layer.weight.copy_(1.0 * (left if left.shape == matrix.shape else right).view_as(layer.weight))
        layer.bias.fill_(layer.published.bias if biases == "published" else 0)
    counts = {}

    def scale(layer, inputs, output):
        counts[layer] = 0
        while True:
            chosen = torch.randperm(len(output), generator=generator)[:batch_size]
            variance = float((output[chosen] if len(output) > batch_size else output).var(correction=0))
            if abs(variance - 1) <= 0.05:
                return output
            layer.weight /= math.sqrt(variance)
            counts[layer] += 1
            output = layer.forward(*inputs)

    hooks = [layer.register_forward_hook(scale) for layer in layers]
    torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
    net.train()(images[: batches * batch_size])
    for hook in hooks:
        hook.remove()
    return list(counts.values())


@pytest.mark.parametrize(
    ("build", "shape", "biases"),
    [
        (models.fitnet1, (3, 32, 32), "zero"),
        (models.fitnet_mnist, (1, 28, 28), "zero"),
        (functools.partial(models.caffenet, width=0.125, units=16), (3, 67, 67), "published"),
    ],
)
@pytest.mark.parametrize(("batch_size", "batches"), [(2, 12), (8, 2), (32, 1)])
def test_with_svd_the_bits_are_those_of_the_recorded_runs(build, shape, biases, batch_size, batches):
    nets, batch = [build(shape, 10) for _ in range(2)], _batch(24, shape)
    nets[1].load_state_dict(nets[0].state_dict())
    options = {"batch_size": batch_size, "batches": batches, "biases": biases}
    found = initializers.lsuv(nets[0], batch, _generator(), decomposition="svd", **options)
    with torch.no_grad(), torch.random.fork_rng([]):
        assert found.rescalings.tolist() == _transcription(nets[1], batch.images, _generator(), **options)
    for ours, theirs in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_lsuv_agrees_with_the_authors_package():
    """Theirs measures the sample's standard deviation, on one batch without dropout, and its tolerance is of that."""
    ours, theirs, batch = _small(), _small(), _batch()
    initializers.lsuv(ours, batch, _generator(), batches=1, tolerance=0.01, dropout=False)
    initializers.orthonormal(theirs, batch, _generator())
    lsuv.lsuv_with_singlebatch(theirs, batch.images, std_tol=0.005, do_orthonorm=False, verbose=False)
    for one, other in zip(_layers(ours), _layers(theirs), strict=True):
        torch.testing.assert_close(one.weight, other.weight, rtol=0.005, atol=0)


def test_lsuv_draws_a_new_mini_batch_for_every_trial():
    """Examples of very different size: one mini-batch serves itself alone, many are met on the average."""
    batch = _batch(512)
    batch.images.mul_(torch.linspace(0.5, 2, 512)[:, None, None, None])
    net = nn.Sequential(nn.Conv2d(3, 8, 3))
    initializers.lsuv(net, batch, _generator(), batch_size=32, batches=1)
    assert _output_variances(net, batch.images[:32])[0] == pytest.approx(1, abs=0.05)
    assert _output_variances(net, batch.images)[0] > 3
    initializers.lsuv(net, batch, _generator(), batch_size=32, batches=16)
    assert _output_variances(net, batch.images)[0] == pytest.approx(1, abs=0.3)


def test_lsuv_leaves_mode_buffers_hooks_and_the_random_state_alone():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(3600, 2)).eval()
    state = torch.get_rng_state()
    initializers.lsuv(net, _batch(), _generator())
    assert torch.equal(torch.get_rng_state(), state)
    assert not net.training
    assert net[1].num_batches_tracked == 0
    assert torch.equal(net[1].running_mean, torch.zeros(4))
    assert not any(layer._forward_hooks for layer in net.modules())


def test_lsuv_leaves_the_streams_of_dropout_alone():
    net = models.mlp((6,), 3, hidden=[8], dropout=0.5)
    (stream,) = net[3].generators
    state = stream.get_state().clone()
    initializers.lsuv(net, _batch(32, (6,)), _generator())
    assert torch.equal(stream.get_state(), state)


def test_lsuv_scales_a_layer_that_is_used_twice_for_its_first_use():
    layer, batch = nn.Conv2d(3, 3, 3, padding=1), _batch()
    report = initializers.lsuv(nn.Sequential(layer, nn.ReLU(), layer), batch, _generator(), batches=1)
    assert [row.note for row in report.rows] == ["called 2 times, scaled at the first"]
    assert float(layer(batch.images).detach().var(correction=0)) == pytest.approx(1, abs=0.05)
    assert not layer._forward_hooks


def test_lsuv_refuses_a_constant_output():
    with pytest.raises(ValueError, match="layer 0: the variance of its output is 0"):
        initializers.lsuv(
            nn.Sequential(nn.Linear(4, 3)), _batch(8, (4,))._replace(images=torch.zeros(8, 4)), _generator()
        )


@pytest.mark.parametrize("option", [{"tolerance": 0.0}, {"max_iterations": 0}, {"batch_size": 0}, {"batches": 0}])
def test_lsuv_refuses_what_makes_no_sense(option):
    with pytest.raises(ValueError, match="lsuv"):
        initializers.lsuv(_small(), _batch(), _generator(), **option)


def test_residual_sums_go_into_the_second_convolutions_of_a_block():
    net = models.fitresnet4((3, 32, 32), 10, activation="relu")
    layers = [layer for layer in net if hasattr(layer, "skip")]
    assert [place for place, layer in enumerate(layers, 1) if layer.skip] == [2, 4, 7, 9, 11, 13, 15, 17]
    inputs = torch.randn(2, 32, 8, 8)
    expected = torch.relu(layers[1].pieces[0](inputs) + inputs)
    torch.testing.assert_close(layers[1](inputs), expected)


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("activation", ["maxout", "relu"])
def test_batch_norm_stands_where_it_is_wanted(place, activation):
    net = models.fitnet4((3, 32, 32), 10, activation=activation, batch_norm=place)
    layer, inputs = net[1], torch.randn(4, 3, 32, 32)
    normalize = functools.partial(nn.functional.batch_norm, running_mean=None, running_var=None, training=True)
    pieces = [piece[0](inputs) for piece in layer.pieces]
    pieces = [normalize(piece) for piece in pieces] if place == "before" else pieces
    outputs = torch.stack(pieces).amax(0) if activation == "maxout" else pieces[0].relu()
    torch.testing.assert_close(layer(inputs), normalize(outputs) if place == "after" else outputs)


def test_very_leaky_rectifier_has_a_slope_of_a_third():
    layer = models.fitnet4((3, 32, 32), 10, activation="vlrelu")[1]
    assert layer.activation(torch.tensor([-3.0, 3.0])).tolist() == pytest.approx([-0.999, 3])


def test_pooling_keeps_what_is_over_as_caffe_does():
    assert models.fitnet_mnist((1, 28, 28), 10)[-1].in_features == 12 * 3 * 3
