"""The global state of torch is restored after a training run, also after an exception."""

import os

import pytest
import torch

from goodinit import studies
from goodinit.errors import InputError
from goodinit.training import timing, trainer
from goodinit.training.torch_state import torch_state

CPU = torch.device("cpu")
PARTS = studies.DEFAULTS | {
    "data": {"name": "digits", "train_examples": 64, "test_examples": 16},
    "model": {"name": "mlp", "hidden": [8], "dropout": 0.5},
    "init": {"name": "he_normal"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "training": {"steps": 3, "batch_size": 8},
}


def _state():
    """Return all global state that a training run changes."""
    methods = torch.optim.Optimizer.add_param_group, torch.optim.Optimizer.zero_grad
    return {
        "deterministic": torch.get_deterministic_debug_mode(),
        "fill": torch.utils.deterministic.fill_uninitialized_memory,
        "tf32": (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
        "threads": torch.get_num_threads(),
        "random": torch.get_rng_state().tolist(),
        "cublas": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        "compiler": [getattr(method.__wrapped__, "__dynamo_disable", None) for method in methods],
    }


@pytest.fixture(params=[False, True], ids=["default", "changed"])
def before(request, monkeypatch):
    """Return the state before the test: the default one, or one in which everything has another value."""
    threads, backends = torch.get_num_threads(), (torch.backends.cuda.matmul, torch.backends.cudnn)
    allowed = [backend.allow_tf32 for backend in backends]
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if request.param:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
        for backend, value in zip(backends, allowed, strict=True):
            backend.allow_tf32 = not value
        torch.set_deterministic_debug_mode("warn")
        torch.set_num_threads(threads + 1)
    yield _state()
    torch.set_deterministic_debug_mode("default")
    torch.set_num_threads(threads)
    for backend, value in zip(backends, allowed, strict=True):
        backend.allow_tf32 = value


def test_inside_the_block_torch_is_deterministic(before):
    with torch_state(CPU, threads=3):
        inside = _state()
        torch.rand(3)
    assert inside["deterministic"] == 2
    assert not inside["fill"]
    assert inside["tf32"] == (False, False)
    assert inside["threads"] == 3
    assert inside["cublas"] in (":4096:8", ":16:8")
    assert all(inside["compiler"])
    assert _state() == before


def test_tf32_is_used_only_if_it_is_the_precision(before):
    for precision in ("fp32", "tf32", "bf16"):
        with torch_state(CPU, precision):
            assert _state()["tf32"] == (precision == "tf32",) * 2
        assert _state() == before


def test_the_state_is_restored_after_an_exception(before):
    def fail():
        with torch_state(CPU, "tf32", threads=3):
            torch.manual_seed(5)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert _state() == before


def test_a_training_restores_the_state(before, data_root):
    runs = [studies.Run(PARTS, 0, {}), studies.Run(PARTS | {"update": {"name": "semi_synchronous"}}, 0, {})]
    training = trainer.execute(runs, data_root=data_root, device=CPU, threads=2)
    first = next(training)
    assert _state() == before  # also between two runs
    assert first.provenance["threads"] == 2
    with pytest.raises(InputError):
        next(training)
    assert _state() == before


def test_timing_a_model_restores_the_state(before):
    assert timing.measure_seconds([studies.Run(PARTS, 0, {})], CPU, threads=1) > 0
    assert _state() == before
