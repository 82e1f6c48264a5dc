"""The precision in which a device computes."""

import pytest
import torch

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
