"""The precision in which a device computes."""

import numpy as np
import pytest
import torch
from sample_training import execute
from torch import nn
from torch.overrides import TorchFunctionMode

from goodinit import studies
from goodinit.training import precision


@pytest.mark.parametrize(
    ("asked", "device", "capabilities", "used"),
    [
        ("fp32", "cpu", {"avx512_bf16": True}, "fp32"),
        ("bf16", "cpu", {"avx512_bf16": True}, "bf16"),
        ("bf16", "cpu", {"amx_bf16": True}, "bf16"),
        ("bf16", "cpu", {"bf16": True}, "bf16"),
        ("bf16", "cpu", {"avx512_bf16": False, "avx2": True}, "fp32"),
        ("bf16", "cpu", {}, "fp32"),
        ("tf32", "cpu", {"avx512_bf16": True}, "fp32"),
        ("bf16", "cuda", {}, "bf16"),
        ("tf32", "cuda", {}, "tf32"),
    ],
)
def test_a_cpu_computes_in_bf16_only_if_it_has_instructions_for_it(monkeypatch, asked, device, capabilities, used):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert precision.effective_precision(asked, torch.device(device)) == used


class _RoundToTF32(torch.autograd.Function):
    """Round to the 10 bits of mantissa of TF32, to nearest; the gradient is rounded, too."""

    @staticmethod
    def forward(_, x):
        bits = x.detach().view(torch.int32)
        return ((bits + 0x0FFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)

    @staticmethod
    def backward(_, gradient):
        return _RoundToTF32.forward(None, gradient)


class _RoundGradient(torch.autograd.Function):
    """Return the input, whose gradient is rounded to TF32."""

    @staticmethod
    def forward(_, x):
        return x.view_as(x)

    @staticmethod
    def backward(_, gradient):
        return _RoundToTF32.forward(None, gradient)


class EmulateTF32(TorchFunctionMode):
    """Round the inputs of convolutions and linear layers, forward and backward, as a GPU does in TF32."""

    def __torch_function__(self, function, _, arguments=(), options=None):
        if function not in (nn.functional.conv2d, nn.functional.linear):
            return function(*arguments, **(options or {}))
        x, weight, *others = arguments
        product = function(_RoundToTF32.apply(x), _RoundToTF32.apply(weight), *others, **(options or {}))
        return _RoundGradient.apply(product)


def test_tf32_is_emulated_as_it_is_defined():
    exact = torch.tensor([1.0, 1 + 2**-10, 1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-12, -1 - 2**-11 - 2**-20])
    rounded = torch.tensor([1.0, 1 + 2**-10, 1.0, 1 + 2**-9, 1.0, -1 - 2**-10])  # ties to even
    torch.testing.assert_close(_RoundToTF32.forward(None, exact), rounded, rtol=0, atol=0)


NET = {
    "data": {"name": "shapes", "train_examples": 512, "test_examples": 16},
    "model": {"name": "fitnet1", "activation": "relu"},
    "init": {"name": "he_normal"},
    "optimizer": {"name": "momentum", "lr": 0.01, "momentum": 0.9},
    "training": {"steps": 100, "batch_size": 16, "evaluate_on": []},
}


@pytest.mark.slow
def test_the_losses_of_tf32_and_bf16_differ_from_fp32_by_less_than_seeds_do(data_root):
    """Over the first hundred updates, by step, averaged over the last fifty."""

    def losses(seed, used="fp32"):
        parts = NET | {"training": NET["training"] | {"precision": used}}
        expanded = {part: studies.runs.expand_names(value) for part, value in (studies.DEFAULTS | parts).items()}
        (record,) = execute([studies.Run(expanded, seed, {})], data_root)
        return record.series["loss"].values

    seeds = [losses(seed) for seed in range(3)]
    with EmulateTF32():
        tf32 = [losses(seed) for seed in range(3)]
    bf16 = [losses(seed, "bf16") for seed in range(3)]
    spread = np.std(seeds, axis=0, ddof=1)[50:].mean()
    for changed in (tf32, bf16):
        difference = np.abs(np.mean(changed, axis=0) - np.mean(seeds, axis=0))[50:].mean()
        assert difference < spread
    assert np.abs(np.subtract(tf32, seeds)).max() > 0
