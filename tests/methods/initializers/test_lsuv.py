"""LSUV as an option of a study: unit variance, the paper's algorithm, the authors' package and the recorded runs."""

import functools
import math

import lsuv
import pytest
import torch
from output_variances import output_variances
from sample_models import seeded
from torch import nn

from goodinit.datasets.tensors import Examples
from goodinit.methods import initializers, models

MODELS = {  # name: function, shape of an image, options, number of layers
    "fitnet_mnist": (models.fitnet_mnist, (1, 28, 28), {}, 13),
    "fitnet1": (models.fitnet1, (3, 32, 32), {}, 24),
    "fitnet4": (models.fitnet4, (3, 32, 32), {}, 40),
    "fitnet4 with rectifiers": (models.fitnet4, (3, 32, 32), {"activation": "relu"}, 19),
    "fitresnet4": (models.fitresnet4, (3, 32, 32), {}, 40),
    "fitresnet4 with tanh": (models.fitresnet4, (3, 32, 32), {"activation": "tanh"}, 19),
}


def _batch(count=32, shape=(3, 32, 32), seed=0):
    images = torch.randn(count, *shape, generator=seeded(seed))
    return Examples(images, torch.zeros(count, dtype=torch.int64))


def _small():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Tanh(), nn.Flatten(), nn.Linear(6272, 5))


def _layers(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


def _output_variances(model, images):
    return list(output_variances(model.eval(), images).values())


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_of_every_model_has_unit_variance(name):
    build, shape, options, layers = MODELS[name]
    model, batch = build(shape, 10, **options), _batch(16, shape)
    report = initializers.lsuv(model, batch, seeded(), batch_size=16, batches=1, tolerance=0.02, dropout=False)
    assert len(report.rescalings) == layers
    assert report.rescalings.max() <= 5
    assert all(abs(variance - 1) <= 0.02 for variance in _output_variances(model, batch.images))


def _algorithm_1(model, images, tolerance, max_iterations):
    """Algorithm 1 of the paper: a forward pass of the whole model in each iteration, on the same mini-batch."""
    counts = []
    for index, layer in enumerate(_layers(model)):
        counts.append(0)
        while abs((variance := _output_variances(model, images)[index]) - 1) >= tolerance:
            if counts[-1] == max_iterations:
                break
            layer.weight.data /= variance**0.5
            counts[-1] += 1
    return counts


@pytest.mark.parametrize("start", ["orthonormal", "lecun_normal"])
def test_result_equals_that_of_algorithm_1(start):
    model, reference, batch = _small(), _small(), _batch()
    report = initializers.lsuv(model, batch, seeded(), start=start, batches=1, tolerance=0.01, dropout=False)
    getattr(initializers, start)(reference, batch, seeded())
    assert report.rescalings.tolist() == _algorithm_1(reference, batch.images, 0.01, 100)
    for layer, expected in zip(_layers(model), _layers(reference), strict=True):
        torch.testing.assert_close(layer.weight, expected.weight, rtol=1e-4, atol=1e-6)


def _transcription(model, images, generator, batch_size, batches, biases):
    """The program of the recorded runs: SVD, a single forward pass, random mini-batches."""
    layers = _layers(model)
    for layer in layers:
        matrix = layer.weight.flatten(1)
        left, _, right = torch.linalg.svd(torch.randn(matrix.shape, generator=generator), full_matrices=False)
        layer.weight.copy_(1.0 * (left if left.shape == matrix.shape else right).view_as(layer.weight))
        layer.bias.fill_(layer.published.bias if biases == "published" else 0)
    counts = {}

    def scale(layer, inputs, output):
        counts[layer] = 0
        while True:
            indices = torch.randperm(len(output), generator=generator)[:batch_size]
            variance = float((output[indices] if len(output) > batch_size else output).var(correction=0))
            if abs(variance - 1) <= 0.05:
                return output
            layer.weight /= math.sqrt(variance)
            counts[layer] += 1
            output = layer.forward(*inputs)

    handles = [layer.register_forward_hook(scale) for layer in layers]
    torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
    model.train()(images[: batches * batch_size])
    for handle in handles:
        handle.remove()
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
def test_weights_with_svd_are_bit_equal_to_those_of_the_recorded_runs(build, shape, biases, batch_size, batches):
    model, reference, batch = build(shape, 10), build(shape, 10), _batch(24, shape)
    reference.load_state_dict(model.state_dict())
    options = {"batch_size": batch_size, "batches": batches, "biases": biases}
    report = initializers.lsuv(model, batch, seeded(), decomposition="svd", **options)
    with torch.no_grad(), torch.random.fork_rng([]):
        assert report.rescalings.tolist() == _transcription(reference, batch.images, seeded(), **options)
    assert all(map(torch.equal, model.parameters(), reference.parameters()))


def test_result_agrees_with_the_authors_package():
    """It uses the sample standard deviation, a tolerance of the standard deviation, and one batch without dropout."""
    model, reference, batch = _small(), _small(), _batch()
    initializers.lsuv(model, batch, seeded(), batches=1, tolerance=0.01, dropout=False)
    initializers.orthonormal(reference, batch, seeded())
    lsuv.lsuv_with_singlebatch(reference, batch.images, std_tol=0.005, do_orthonorm=False, verbose=False)
    for layer, expected in zip(_layers(model), _layers(reference), strict=True):
        torch.testing.assert_close(layer.weight, expected.weight, rtol=0.005, atol=0)


def test_each_iteration_draws_a_new_mini_batch():
    """Examples differ strongly in scale: one mini-batch is not representative, several are on average."""
    batch = _batch(512)
    batch.images.mul_(torch.linspace(0.5, 2, 512)[:, None, None, None])
    model = nn.Sequential(nn.Conv2d(3, 8, 3))
    initializers.lsuv(model, batch, seeded(), batch_size=32, batches=1)
    assert _output_variances(model, batch.images[:32])[0] == pytest.approx(1, abs=0.05)
    assert _output_variances(model, batch.images)[0] > 3
    initializers.lsuv(model, batch, seeded(), batch_size=32, batches=16)
    assert _output_variances(model, batch.images)[0] == pytest.approx(1, abs=0.3)


def test_modes_buffers_hooks_and_the_random_state_do_not_change():
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(3600, 2)]
    model = nn.Sequential(*layers).eval()
    state = torch.get_rng_state()
    initializers.lsuv(model, _batch(), seeded())
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
    assert model[1].num_batches_tracked == 0
    assert torch.equal(model[1].running_mean, torch.zeros(4))
    assert not any(module._forward_hooks for module in model.modules())


def test_generators_of_dropout_layers_do_not_change():
    model = models.mlp((6,), 3, hidden=[8], dropout=0.5)
    (generator,) = model[3].generators
    state = generator.get_state().clone()
    initializers.lsuv(model, _batch(32, (6,)), seeded())
    assert torch.equal(generator.get_state(), state)


def test_a_layer_that_is_called_twice_is_scaled_at_its_first_call():
    layer, batch = nn.Conv2d(3, 3, 3, padding=1), _batch()
    report = initializers.lsuv(nn.Sequential(layer, nn.ReLU(), layer), batch, seeded(), batches=1)
    assert [row.note for row in report.rows] == ["called 2 times, scaled at the first"]
    assert float(layer(batch.images).detach().var(correction=0)) == pytest.approx(1, abs=0.05)


def test_a_constant_output_is_rejected():
    batch = Examples(torch.zeros(8, 4), torch.zeros(8))
    with pytest.raises(ValueError, match=r"layer 0: the variance of its output is 0; it must be finite and more than"):
        initializers.lsuv(nn.Sequential(nn.Linear(4, 3)), batch, seeded())


@pytest.mark.parametrize("option", [{"tolerance": 0.0}, {"max_iterations": 0}, {"batch_size": 0}, {"batches": 0}])
def test_options_out_of_range_are_rejected(option):
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"lsuv: {name} must be (more than 0|at least 1), not {value}"):
        initializers.lsuv(_small(), _batch(), seeded(), **option)
