"""`goodinit.lsuv` changes only weights and biases, also if it fails."""

import random

import numpy as np
import pytest
import torch
from sample_convnets import new_convnet, new_images
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from goodinit import lsuv
from goodinit.methods.initializers.preserve import preserve_data_state


def _state(model):
    """Return everything that must not change: modes, buffers, hooks, global random states and settings."""
    return {
        "modes": [module.training for module in model.modules()],
        "buffers": {name: (id(buffer), buffer.tolist()) for name, buffer in model.named_buffers()},
        "hooks": [(list(module._forward_hooks), list(module._forward_pre_hooks)) for module in model.modules()],
        "torch": torch.get_rng_state().tolist(),
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "gradients": [parameter.grad for parameter in model.parameters()],
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "parameters": [id(parameter) for parameter in model.parameters()],
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "grad mode": torch.is_grad_enabled(),
    }


class _DrawingLayer(nn.Module):
    """Draws from all global generators, and replaces a buffer by another tensor."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x):
        self.count = self.count + 1
        return x + torch.randn_like(x) * random.random() * float(np.random.rand())  # noqa: NPY002


class _RaisingLayer(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        raise self.error


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"measure": "after"}, {"dropout": False}, {"start": "lecun_normal"}])
def test_modes_buffers_hooks_and_random_states_do_not_change(training, options):
    model = new_convnet().insert(4, _DrawingLayer()).train(training)
    model[3].train()  # dropout in training mode within a model in evaluation mode, as for Monte Carlo dropout
    before = _state(model)
    lsuv(model, new_images(), seed=0, **options)
    assert _state(model) == before


@pytest.mark.parametrize("measure", ["before", "after"])
def test_an_error_of_the_model_is_the_cause_and_has_no_side_effects(measure):
    model = new_convnet().append(_RaisingLayer(RuntimeError("first line\nsecond line")))
    model[1].eval()
    before = _state(model)
    with pytest.raises(ValueError, match="cannot process this data: RuntimeError: first line") as error:
        lsuv(model, new_images(), seed=0, measure=measure)
    assert isinstance(error.value.__cause__, RuntimeError)
    assert _state(model) == before


def test_an_interruption_has_no_side_effects():
    model = new_convnet().append(_RaisingLayer(KeyboardInterrupt()))
    before = _state(model)
    with pytest.raises(KeyboardInterrupt):
        lsuv(model, new_images(), seed=0)
    assert _state(model) == before


def test_data_that_do_not_fit_the_model_have_no_side_effects():
    model, data = new_convnet(), torch.randn(4, 5, 8, 8)
    before = _state(model)
    with pytest.raises(ValueError, match="cannot process this data"):
        lsuv(model, data, seed=0)
    assert _state(model) == before


def test_frozen_batch_normalization_stays_in_evaluation_mode():
    model, other = new_convnet(), new_convnet()
    model[1].running_var.fill_(25.0)
    other[1].running_var.fill_(25.0)
    model[1].eval()
    lsuv(model, new_images(), seed=0)
    lsuv(other, new_images(), seed=0)
    assert not model[1].training
    assert model.training
    assert not torch.allclose(model[5].weight, other[5].weight)  # because the inputs differ
    with torch.no_grad():
        hidden = model[:3](new_images())
    assert float(hidden.var()) < 0.1  # normalized by the running variance, not by that of the batch
    assert float(model[5](model[4](hidden)).detach().var()) == pytest.approx(1, abs=0.2)  # without dropout


def test_hooks_of_the_user_are_called_once_with_the_scaled_output():
    model, variances, inputs = new_convnet(), [], []
    model[0].register_forward_hook(lambda layer, args, output: variances.append(float(output.var(correction=0))))
    model[0].register_forward_pre_hook(lambda layer, args: inputs.append(args) or (2 * args[0],))
    report = lsuv(model, new_images(), seed=0)
    assert len(variances) == len(inputs) == 1
    assert variances[0] == pytest.approx(report.rows[0].std_after ** 2)
    assert report.rows[0].rescalings == 1
    with torch.no_grad():
        assert float(model[0](new_images()).var()) == pytest.approx(1, abs=0.05)  # with the input that the hook returns


def test_data_do_not_change_and_get_no_gradients():
    data, model = new_images(), nn.Sequential(nn.ReLU(inplace=True), *new_convnet())
    before = data.clone()
    lsuv(model, data, seed=0, measure="after")
    assert torch.equal(data, before)
    lsuv(new_convnet(), data.requires_grad_(), seed=0)
    assert data.grad is None


def test_generators_of_a_data_loader_and_its_sampler_do_not_change():
    data_set = TensorDataset(new_images(), torch.zeros(40))
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    sampler = RandomSampler(data_set, generator=generators[0])
    before = [generator.get_state() for generator in generators]
    lsuv(new_convnet(), DataLoader(data_set, batch_size=8, sampler=sampler, generator=generators[1]))
    assert all(map(torch.equal, before, [generator.get_state() for generator in generators]))


def test_a_data_loader_gets_workers_of_its_own():
    loader = DataLoader(new_images(), num_workers=1, persistent_workers=True)
    for workers in (None, object()):
        loader._iterator = workers
        with preserve_data_state(loader, 0):
            assert loader._iterator is None
            loader._iterator = object()
        assert loader._iterator is workers


@pytest.mark.slow
def test_workers_that_persist_draw_the_same_numbers_as_without_lsuv():
    model, drawn = nn.Linear(4, 2), []
    for initialized in (False, True):
        options = {"num_workers": 1, "persistent_workers": True, "multiprocessing_context": "forkserver"}
        loader = DataLoader([torch.zeros(8, 4)] * 3, batch_size=None, collate_fn=torch.rand_like, **options)
        torch.manual_seed(1)
        if initialized:
            lsuv(model, loader, seed=0)
        drawn.append(torch.stack(list(loader)))
    assert torch.equal(*drawn)


@pytest.mark.parametrize("generators", [nn.ModuleList([nn.Linear(4, 4)]), 3, None, ["text"]])
def test_an_attribute_called_generators_may_be_anything(generators):
    """As in an ensemble of generative adversarial networks."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    model.forward = lambda x: model[1](model[0](x))
    model.generators = generators
    assert len(lsuv(model, torch.randn(32, 4), seed=0).scaled) == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_model_on_a_gpu_accepts_data_on_the_cpu():
    model, expected = new_convnet().cuda(), new_convnet()
    state = torch.cuda.get_rng_state()
    lsuv(model, new_images(), seed=0, dropout=False)
    lsuv(expected, new_images(), seed=0, dropout=False)
    for parameter, value in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(parameter.cpu(), value, atol=1e-4, rtol=1e-3)
    assert torch.equal(torch.cuda.get_rng_state(), state)
