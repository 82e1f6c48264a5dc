"""Setting up a training run: parts that do not fit each other are rejected, and GPUs are not used on a CPU."""

import contextlib

import pytest
import torch
from sample_training import execute

from goodinit import studies
from goodinit.errors import InputError
from goodinit.methods import curricula, diagnostics, initializers, models, optimizers, updates
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
    shapes = []

    def initialize(model, batch, generator, **options):
        shapes.append(batch.images.shape)

    monkeypatch.setattr(initializers, init["name"], initialize)
    parts = studies.DEFAULTS | {
        "data": {"name": "shapes", "size": 256},
        "model": {"name": "convnet3", "channels": [1, 1, 1]},
        "init": init,
        "training": {"steps": 0, "evaluate_on": []},
    }
    execute([studies.Run(parts, 0, {})], data_root)
    assert shapes == [(seen, 3, 256, 256)]


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
    shapes = []

    @contextlib.contextmanager
    def observed(model, batch, generator, **options):
        shapes.append(batch.images.shape)
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
    assert shapes == [(seen, 3, 256, 256)]


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


@pytest.mark.parametrize(
    ("module", "name", "part", "result", "message"),
    [
        (initializers, "he_normal", "init", 5, "init he_normal: must return None or a report with .*, not int"),
        (optimizers, "sgd", "optimizer", 5, "optimizer sgd: must return a torch.optim.Optimizer, not int"),
        (models, "mlp", "model", None, "model mlp: must return a torch.nn.Module, not NoneType"),
        (updates, "synchronous", "update", [], r"update synchronous: must return an object with step\(\), not list"),
        (curricula, "full", "curriculum", [], "curriculum full: must return a BatchSchedule, not list"),
    ],
)
def test_an_object_of_another_type_is_rejected(study, data_root, monkeypatch, module, name, part, result, message):
    monkeypatch.setattr(module, name, lambda *arguments, **options: result)
    run = study.runs("paper")[-1]
    with pytest.raises(InputError, match=message):
        execute([studies.Run(run.parts | {part: {"name": name}}, 0, {})], data_root)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("x"), "init he_normal with model mlp with data digits: KeyError: 'x'"),
        (IndexError("x"), "init he_normal with model mlp with data digits: IndexError: x"),
        (AttributeError("x"), "init he_normal with model mlp with data digits: AttributeError: x"),
        (TypeError(), "init he_normal with model mlp with data digits: TypeError"),
        (ValueError("x"), "init he_normal with model mlp with data digits: x"),
    ],
    ids=repr,
)
def test_an_error_of_a_method_has_its_type(study, data_root, monkeypatch, error, message):
    def failing(*arguments, **options):
        raise error

    monkeypatch.setattr(initializers, "he_normal", failing)
    run = study.runs("paper")[-1]
    with pytest.raises(InputError, match=f"^{message}$"):
        execute([studies.Run(run.parts | {"init": {"name": "he_normal"}}, 0, {})], data_root)


def test_an_error_begins_with_the_labels_of_its_runs(study, data_root):
    parts = study.runs("paper")[0].parts | {"training": {"steps": 0}}
    runs = [
        studies.Run(parts | {"init": {"name": "gaussian", "std": std}}, 0, {"condition": "late", "init": f"std {std}"})
        for std in (1.0, -1.0)
    ]
    with pytest.raises(InputError, match=r"^condition: late, init: std -1.0: gaussian: std must be at least 0, not -1"):
        execute(runs, data_root)
    optimizer = {"name": "sgd", "lr": -1.0}
    runs = [studies.Run(run.parts | {"optimizer": optimizer}, 0, run.labels) for run in runs]
    with pytest.raises(InputError, match=r"^condition: late, init: std -1.0: sgd: lr must be more than 0, not -1"):
        execute(runs[1:], data_root)
    with pytest.raises(InputError, match=r"^condition: late: sgd: lr must be more than 0, not -1"):
        execute(runs, data_root)
