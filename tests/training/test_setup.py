"""Setting up a training run: parts that do not fit each other are rejected, and GPUs are not used on a CPU."""

import contextlib

import pytest
import torch
from sample_training import execute

from goodinit import studies
from goodinit.errors import InputError
from goodinit.methods import diagnostics, initializers
from goodinit.training import build


@pytest.mark.parametrize(
    ("init", "seen"),
    [
        ({"name": "lsuv", "batch_size": 24, "batches": 1}, 24),
        ({"name": "lsuv", "batch_size": 24, "batches": 3}, 72),
        ({"name": "he_normal"}, 16),
    ],
)
def test_initializers_get_the_number_of_large_images_that_they_request(init, seen, data_root, monkeypatch):
    found = []
    monkeypatch.setattr(initializers, init["name"], lambda model, batch, generator, **more: found.append(batch.images))
    parts = studies.DEFAULTS | {
        "data": {"name": "shapes", "size": 256},
        "model": {"name": "convnet3", "channels": [1, 1, 1]},
        "init": init,
        "training": {"steps": 0, "evaluate_on": []},
    }
    execute([studies.Run(parts, 0, {})], data_root)
    assert [images.shape for images in found] == [(seen, 3, 256, 256)]


@pytest.mark.parametrize(
    ("diagnostic", "seen"),
    [
        ({"name": "reconstructions", "images": 20}, 20),
        ({"name": "reconstructions"}, 16),  # 6 images, of the 16 that are used in any case
        ({"name": "layer_outputs", "examples": 40}, 40),
        ({"name": "gradients"}, 16),
        ({"name": "gradients", "examples": 24}, 24),
        ({"name": "weight_variance"}, 16),
    ],
)
def test_diagnostics_get_the_number_of_large_images_that_they_request(diagnostic, seen, data_root, monkeypatch):
    found = []

    @contextlib.contextmanager
    def observed(model, batch, generator, **options):
        found.append(batch.images)
        yield lambda step: {}

    monkeypatch.setattr(diagnostics, diagnostic["name"], observed)
    parts = studies.DEFAULTS | {
        "data": {"name": "shapes", "size": 256},
        "model": {"name": "convnet3", "channels": [1, 1, 1]},
        "init": {"name": "he_normal"},
        "diagnostics": [diagnostic],
        "training": {"steps": 0, "evaluate_on": []},
    }
    execute([studies.Run(parts, 0, {})], data_root)
    assert [images.shape for images in found] == [(seen, 3, 256, 256)]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"objective": {"name": "elbo"}}, "model mlp with objective elbo with data digits: "),
        ({"objective": {"name": "elbo", "beta": -1.0}}, "beta must be at least 0"),
        (
            {"data": {"name": "shapes"}, "model": {"name": "resnet_vae", "blocks": 3, "width": 4}},
            "model resnet_vae with objective cross_entropy with data shapes: ",
        ),
        ({"data": {"name": "gaussian"}, "model": {"name": "fitnet_mnist"}}, "model fitnet_mnist: "),
        (
            {"data": {"name": "shapes"}, "objective": {"name": "value"}},
            r"model mlp with objective value with data shapes: the loss has the shape \(1, 2, 10\)",
        ),
        (
            {
                "data": {"name": "shapes"},
                "model": {"name": "resnet_vae", "blocks": 3, "width": 4},
                "objective": {"name": "elbo"},
                "diagnostics": [{"name": "layer_outputs"}],
            },
            "diagnostic layer_outputs with model resnet_vae: ",
        ),
        (
            {"data": {"name": "gaussian"}, "model": {"name": "fitnet4"}, "init": {"name": "lsuv"}},
            "init lsuv with model fitnet4 with data gaussian: ",
        ),
        (
            {"data": {"name": "empty"}, "model": {"name": "mlp"}, "init": {"name": "he_normal"}},
            "init he_normal with model mlp with data empty: ",
        ),
        ({"objective": {"name": "elbo"}, "training": {"steps": 0}}, "model mlp with objective elbo with data digits: "),
        ({"data": {"name": "gaussian"}, "model": {"name": "convnet3"}}, "convnet3: images must be at least 8 x 8"),
        (
            {"model": {"name": "mlp", "hidden": [20]}, "update": {"name": "semi_synchronous"}},
            "the nearest are 16 and 25",
        ),
        (
            {"optimizer": {"name": "sgd", "lr": 0.1, "layer_factors": {"fc1": 0.5}}},
            "sgd: layer_factors: no module with parameters is called 'fc1'; allowed: ",
        ),
        ({"diagnostics": [{"name": "reconstructions"}]}, "needs a variational auto-encoder"),
        ({"diagnostics": [{"name": "gradients", "examples": 0}]}, "examples must be at least 1"),
    ],
)
@pytest.mark.filterwarnings("ignore:Initializing zero-element")
def test_parts_that_do_not_fit_are_reported_in_one_line_before_training(study, data_root, parts, message):
    run = studies.Run(study.runs("paper")[-1].parts | parts, 0, {})
    with pytest.raises(InputError, match=message) as raised:
        execute([run], data_root)
    assert "\n" not in str(raised.value)


def test_large_images_are_evaluated_in_smaller_batches():
    small, large = torch.Size((3, 32, 32)), torch.Size((3, 1024, 1024))
    assert [build.evaluation_batch("cpu", shape, 16) for shape in (small, large)] == [500, 16]
    assert [build.evaluation_batch("cuda", shape, 1) for shape in (small, large)] == [5000, 4]
    assert build.evaluation_batch("cpu", torch.Size((784,)), 16) == 500
    assert build.evaluation_batch("cpu", torch.Size((1, 28, 28)), 16) == 500


def test_precision_is_set_before_a_model_is_built(study, data_root, monkeypatch):
    """A GPU would otherwise compute what initializers look at in another precision than training."""
    flags = []
    original = build.build_model

    def look(*arguments):
        flags.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
        return original(*arguments)

    monkeypatch.setattr(build, "build_model", look)
    for wanted in ("tf32", "fp32"):
        parts = study.runs("laptop")[0].parts
        execute([studies.Run(parts | {"training": parts["training"] | {"precision": wanted}}, 0, {})], data_root)
    assert flags == [(True, True), (False, False)]


def test_on_a_cpu_no_gpu_is_touched(study, data_root, monkeypatch):
    """Where a GPU's random state is read, CUDA starts, which takes its time and its memory."""

    def touched(*arguments):
        raise AssertionError("a GPU's random state is read")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_rng_state", touched)
    execute(study.runs("laptop"), data_root)
