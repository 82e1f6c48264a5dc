"""An option that is NaN is rejected in one line: comparisons with NaN are false, so `value <= 0` does not reject it."""

import ast
import math

import pytest
import torch
from sample_models import new_examples, new_model, seeded
from torch import nn
from torch.utils.data import DataLoader

from goodinit import lsuv
from goodinit.methods import curricula, initializers, models, objectives, optimizers, schedules
from goodinit.studies import components

# Options whose value is not compared with a bound.
UNBOUNDED = {("quadratic", "start"), ("quadratic", "curvatures"), ("gradients", "vanished_below")}
IMAGE = (3, 32, 32)
SHAPES = {"fitnet_mnist": (1, 28, 28), "vgg16": (3, 32, 32), "googlenet": (3, 128, 128), "caffenet": (3, 128, 128)}


def _bounded(part):
    """Return the (name, option) pairs of the functions that serve a part whose values are floating-point numbers."""
    signatures = components._functions(components.MODULES[part])
    return [
        (name, option)
        for name, signature in signatures.items()
        for option, (annotation, _) in signature.items()
        if "float" in ast.unparse(annotation) and (name, option) not in UNBOUNDED
    ]


def _rejects(option):
    return pytest.raises(ValueError, match=option)


@pytest.mark.parametrize(("name", "option"), _bounded("model"))
def test_options_of_models(name, option):
    with _rejects(option):
        getattr(models, name)(SHAPES.get(name, IMAGE), 10, **{option: math.nan})


@pytest.mark.parametrize(("name", "option"), _bounded("init"))
def test_options_of_initializers(name, option):
    with _rejects(option):
        getattr(initializers, name)(new_model(), new_examples(), seeded(), **{option: math.nan})


@pytest.mark.parametrize(("name", "option"), _bounded("optimizer"))
def test_options_of_optimizers(name, option):
    value = {"0": math.nan} if option == "layer_factors" else math.nan
    parameters = nn.Sequential(nn.Linear(2, 2)).named_parameters()
    with _rejects(option):
        getattr(optimizers, name)(parameters, **{"lr": 0.1} | {option: value})


@pytest.mark.parametrize(("name", "option"), _bounded("schedule"))
def test_options_of_schedules(name, option):
    required = {"polynomial": {"steps": 3}, "step": {"at": [2]}}[name]
    with _rejects(option):
        getattr(schedules, name)(**required | {option: math.nan})


def test_options_of_objectives():
    assert _bounded("objective") == [("elbo", "beta")]
    model = models.resnet_vae((3, 8, 8), 10, blocks=1, width=4, widest=4, latent=2)
    with _rejects("beta"):
        objectives.elbo(model, new_examples(), beta=math.nan)


def test_options_of_curricula():
    assert _bounded("curriculum") == [("progressive", "fractions")]
    with _rejects("fractions"):
        curricula.progressive(new_examples(), 10, 10, seeded(), seeded(), fractions=[math.nan], stage_steps=[2])


@pytest.mark.parametrize("option", ["tolerance", "max_iterations", "examples"])
def test_options_of_lsuv_for_any_model(option):
    loader = DataLoader(torch.randn(64, 4), batch_size=32)
    with _rejects(option):
        lsuv(nn.Linear(4, 2), loader, seed=0, **{option: math.nan})
