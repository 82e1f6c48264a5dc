"""`goodinit.lsuv`: options, randomness, the report, and the definition of unit variance."""

import copy
import doctest
import math
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from sample_convnets import new_convnet, new_images
from sample_models import seeded
from torch import nn
from torch.nn.utils import parameters_to_vector
from torch.utils.data import DataLoader, TensorDataset

import goodinit
from goodinit import lsuv
from goodinit.datasets.tensors import Examples
from goodinit.methods import initializers
from goodinit.methods.initializers import public


def test_goodinit_lists_the_name_without_importing_torch():
    code = "import sys, goodinit; assert 'lsuv' in dir(goodinit); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert goodinit.lsuv is public.lsuv
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = goodinit.nothing


def test_example_of_the_docstring_runs():
    results = doctest.testmod(public)
    assert results.failed == 0
    assert results.attempted >= 4


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"seed": 1, "generator": torch.Generator()}, "either seed or generator"),
        ({"start": "normal"}, "start must be orthonormal or lecun_normal, not 'normal'"),
        ({"measure": "between"}, "measure must be before or after"),
        ({"decomposition": "lu"}, "decomposition must be qr or svd"),
        *[
            ({"tolerance": value}, f"lsuv: tolerance must be a number, more than 0 and finite, not {value!r}")
            for value in (0.0, math.nan, math.inf, "a", None, True)
        ],
        ({"max_iterations": 0}, "lsuv: max_iterations must be a whole number, at least 1, not 0"),
        ({"max_iterations": 2.5}, "lsuv: max_iterations must be a whole number, at least 1, not 2.5"),
        ({"dropout": 0.5}, "lsuv: dropout must be True or False, not 0.5"),
        ({"include_frozen": "0"}, "lsuv: include_frozen must be True or False, not '0'"),
        ({"examples": 0}, "lsuv: examples must be a whole number, at least 1, not 0"),
        ({"examples": "8"}, "lsuv: examples must be a whole number, at least 1, not '8'"),
        *[
            ({"seed": seed}, f"lsuv: seed must be a whole number of 64 bits, not {seed!r}")
            for seed in ("a", 1.5, True, 2**64, -(2**63) - 1)
        ],
        ({"seed": torch.Generator()}, "lsuv: seed must be a whole number of 64 bits, not <torch"),
        ({"generator": 3}, "lsuv: generator must be a torch.Generator or None, not 3"),
        ({"generator": "a"}, "lsuv: generator must be a torch.Generator or None, not 'a'"),
    ],
)
def test_options_out_of_range_are_rejected(options, reason):
    with pytest.raises(ValueError, match=reason):
        lsuv(new_convnet(), new_images(), **options)


def _initialized(**options):
    model = new_convnet()
    lsuv(model, new_images(), **options)
    return parameters_to_vector(model.parameters())


def test_a_seed_or_generator_determines_the_weights():
    weights = []
    for global_seed, options in enumerate(
        ({"seed": 1}, {"seed": 1}, {"generator": torch.Generator().manual_seed(1)}, {"seed": 2})
    ):
        torch.manual_seed(global_seed)
        weights.append(_initialized(**options))
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[3])


def test_without_a_seed_the_global_random_state_determines_the_weights_and_advances():
    weights = []
    for global_seed in (5, 5, 6):
        torch.manual_seed(global_seed)
        weights.append(_initialized())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[2], _initialized())


@pytest.mark.parametrize("seed", [np.int64(1), 1.0, torch.tensor(1)])
def test_a_seed_may_be_of_any_type(seed):
    assert all(map(torch.equal, _initialized(seed=seed), _initialized(seed=1)))


def test_a_generator_advances():
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    lsuv(new_convnet(), new_images(), generator=generator)
    assert not torch.equal(generator.get_state(), state)


def test_the_seed_determines_the_order_of_a_shuffling_data_loader():
    data_set, weights = TensorDataset(new_images(), torch.zeros(40)), []
    for global_seed, seed in enumerate((1, 1, 2)):
        torch.manual_seed(global_seed)
        model = new_convnet()
        lsuv(model, DataLoader(data_set, batch_size=8, shuffle=True), seed=seed, examples=8)
        weights.append(parameters_to_vector(model.parameters()))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_report_is_printed_as_a_table():
    model = nn.Sequential(OrderedDict(first=nn.Linear(4, 3), second=nn.Linear(3, 2), last=nn.LSTM(2, 2)))
    model.second.requires_grad_(False)
    lines = str(lsuv(model, torch.randn(50, 4), seed=0)).splitlines()
    assert [line.split()[0] for line in lines] == ["layer", "first", "second", "last.weight_ih_l0", "last.weight_hh_l0"]
    shape, note = lines[0].index("shape"), lines[0].index("note")
    assert lines[1][shape:].startswith("3x4")
    assert lines[2][note:].startswith("frozen: its weight requires no gradient")
    assert lines[3][note:] == "not initialized: LSTM is not a linear or convolutional layer"
    assert lines[1].split()[3] == "1"


@pytest.mark.parametrize("tolerance", [0.05, 1e-4])
def test_dividing_the_output_equals_recomputing_it(tolerance):
    """The initializer of the studies recomputes the output after each rescaling."""
    model, other, images = new_convnet(), new_convnet(), new_images()
    model[3].p = other[3].p = 0.0
    report = lsuv(model, images, seed=7, tolerance=tolerance)
    batch, generator = Examples(images, torch.zeros(40)), torch.Generator().manual_seed(7)
    expected = initializers.lsuv(other, batch, generator, batches=1, tolerance=tolerance)
    for parameter, value in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(parameter, value, rtol=1e-5, atol=1e-7)
    assert report.rescalings.tolist() == expected.rescalings.tolist()


class _ClampedLinear(nn.Linear):
    """A subclass of a linear layer that is not linear in its weight."""

    def forward(self, x):
        return nn.functional.linear(x, self.weight.clamp(-0.2, 0.2))


def test_the_output_of_a_layer_with_another_forward_is_recomputed():
    model, data = nn.Sequential(_ClampedLinear(16, 8), nn.ReLU(), nn.Linear(8, 2)), 8 * torch.randn(200, 16)
    lsuv(model, data, seed=0)
    with torch.no_grad():
        assert float(model[0](data).var(correction=0)) == pytest.approx(1, abs=0.05)
        assert float(model(data).var(correction=0)) == pytest.approx(1, abs=0.05)


def test_variance_is_the_population_variance_over_all_elements():
    """By hand, for two outputs with different means."""
    layer, data = nn.Linear(3, 2), torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0]])
    report = lsuv(layer, data, seed=0, tolerance=1e-5)
    output = layer(data).detach()
    assert float(((output - output.mean()) ** 2).mean()) == pytest.approx(1, abs=1e-5)
    unscaled = copy.deepcopy(layer)
    unscaled.weight.data *= report.rows[0].std_before
    torch.testing.assert_close(unscaled.weight @ unscaled.weight.T, torch.eye(2), atol=1e-5, rtol=0)


def test_an_output_that_is_constant_up_to_rounding_is_rejected():
    data = torch.ones(64, 1)
    data[::2] += torch.finfo(data.dtype).eps
    with pytest.raises(ValueError, match="variance of its output is 0"):
        lsuv(nn.Linear(1, 1), data)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1e-12), (1.0, 1e-4), (1e4, 1.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outputs_may_have_any_mean_and_variance(mean, std, dtype):
    data = mean + std * torch.randn(256, 1, generator=seeded(), dtype=dtype)
    layer = nn.Linear(1, 1, dtype=dtype)
    assert lsuv(layer, data, seed=0).rows[0].std_before == pytest.approx(std, rel=0.1)
    assert float(layer(data).detach().var()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("not enough memory: you tried to allocate memory")],
)
def test_a_lack_of_memory_is_not_reported_as_wrong_data(error):
    model = nn.Linear(3, 2)

    def fail(layer, args):
        raise error

    model.register_forward_pre_hook(fail)
    with pytest.raises(type(error)) as raised:
        lsuv(model, torch.randn(8, 3))
    assert raised.value is error


def test_iterations_end_at_the_maximum_with_a_note():
    class Cubed(nn.Linear):
        """Its variance is not proportional to that of its weights, so that one rescaling does not suffice."""

        def forward(self, inputs):
            return super().forward(inputs) ** 3

    report = lsuv(Cubed(4, 8), torch.randn(64, 4), seed=0, max_iterations=1)
    assert report.rows[0].rescalings == 1
    assert report.rows[0].note == "not within the tolerance after 1 rescalings"
