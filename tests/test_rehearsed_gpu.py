"""The rehearsed GPU refuses what fails on a GPU, and counts what waits for it."""

from collections import Counter

import numpy as np
import pytest
import torch
from nondeterministic_operators import NONDETERMINISTIC
from rehearsal import CPU, CUDA, Rehearsal, RehearsalError
from torch import nn
from torch.nn import functional


def test_every_operator_that_torch_documents_as_nondeterministic_is_refused():
    text = torch.use_deterministic_algorithms.__doc__
    text = text.partition("operations will throw a")[2].partition("In addition")[0]
    items = [line for line in text.splitlines() if line.strip().startswith("*")]
    documented = {item.partition("`")[2].partition("`")[0] for item in items}
    assert documented
    assert documented <= set(NONDETERMINISTIC)
    names = {name for names in NONDETERMINISTIC.values() for name in names}
    for name in names:
        packet, _, overload = name.partition(".")
        assert not overload or overload in getattr(torch.ops.aten, packet).overloads(), name


def on_gpu(*shape):
    return torch.ones(shape, device=CUDA)


FAULTS = {  # code that fails on a GPU: the message of the rehearsal
    "indices on the CPU": (lambda: on_gpu(3).index_select(0, torch.arange(2)), "same device"),
    "a mask on the CPU": (lambda: on_gpu(3) * (torch.rand(3) > 0.5), "same device"),
    "statistics on the CPU": (lambda: on_gpu(3).sub_(torch.ones(3)), "same device"),
    "a number on the CPU among others": (lambda: torch.stack([on_gpu(), torch.zeros(())]), "same device"),
    "a result on another device": (lambda: torch.add(on_gpu(3), 1, out=torch.empty(3)), "same device"),
    "a model on the CPU": (lambda: nn.Linear(3, 2)(on_gpu(4, 3)), "same device"),
    "labels on the CPU": (lambda: functional.cross_entropy(on_gpu(2, 3), torch.tensor([0, 1])), "same device"),
    "a loss of two devices": (lambda: functional.mse_loss(on_gpu(3), torch.zeros(3)), "same device"),
    "momentum on the CPU": (lambda: torch.zeros(3).mul_(0.9).add_(on_gpu(3)), "same device"),
    "a generator of the CPU for new numbers": (
        lambda: torch.randn(3, generator=torch.Generator(), device=CUDA),
        "generator",
    ),
    "a generator of the CPU for weights": (
        lambda: nn.init.normal_(on_gpu(3), generator=torch.Generator()),
        "generator",
    ),
    "an array": (lambda: on_gpu(3).numpy(), "numpy"),
    "an array that NumPy makes": (lambda: np.asarray(on_gpu(3)), "numpy"),
    "page-locked memory of a GPU": (lambda: on_gpu(3).pin_memory(), "page-locked"),
    "histogram": (lambda: torch.histc(on_gpu(3)), "deterministic"),
    "median with indices": (lambda: on_gpu(3).median(0), "deterministic"),
    "put": (lambda: on_gpu(3).put_(torch.zeros(1, dtype=torch.int64, device=CUDA), on_gpu(1)), "deterministic"),
    "cumulative sum": (lambda: on_gpu(3).cumsum(0), "deterministic"),
    "gradient of adaptive pooling": (
        lambda: functional.adaptive_avg_pool2d(on_gpu(1, 1, 4, 4).requires_grad_(), 2).sum().backward(),
        "deterministic",
    ),
    "gradient of bicubic enlarging": (
        lambda: functional.interpolate(on_gpu(1, 1, 4, 4).requires_grad_(), size=8, mode="bicubic").sum().backward(),
        "deterministic",
    ),
    "gradient of reflecting": (
        lambda: functional.pad(on_gpu(1, 1, 4, 4).requires_grad_(), [1] * 4, mode="reflect").sum().backward(),
        "deterministic",
    ),
    "loss of every pixel": (
        lambda: functional.cross_entropy(on_gpu(1, 2, 3, 3), torch.zeros(1, 3, 3, dtype=torch.int64, device=CUDA)),
        "deterministic",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_rehearsal_refuses_what_fails_on_a_gpu(name):
    fault, message = FAULTS[name]
    with Rehearsal(), pytest.raises(RehearsalError, match=message):
        fault()


WAITS = {
    "a loss that is printed": lambda: float(on_gpu()),
    "a condition": lambda: bool(on_gpu() > 0),
    "a list": lambda: on_gpu(3).tolist(),
    "selection by a mask": lambda: on_gpu(3)[on_gpu(3) > 0],
    "indices of nonzero elements": lambda: on_gpu(3).nonzero(),
    "a copy to the GPU": lambda: torch.ones(3).to(CUDA),
    "an asynchronous copy from memory that is not page-locked": lambda: torch.ones(3).to(CUDA, non_blocking=True),
    "a number that is created on the GPU": lambda: torch.tensor(1.0, device=CUDA),
    "a copy from the GPU": lambda: on_gpu(3).cpu(),
    "a copy into memory of the CPU": lambda: torch.empty(3).copy_(on_gpu(3)),
}


@pytest.mark.parametrize("name", WAITS)
def test_the_rehearsal_counts_waits(name):
    with Rehearsal() as rehearsal:
        WAITS[name]()
    assert rehearsal.waits.total() == 1, rehearsal.waits


def test_the_rehearsal_counts_no_asynchronous_copy():
    with Rehearsal() as rehearsal:
        moved = torch.ones(3).pin_memory().to(CUDA, non_blocking=True)
        assert (moved.device, (moved + 1).device, moved[1:].device, moved.cpu().device) == (CUDA, CUDA, CUDA, CPU)
    assert rehearsal.waits == Counter({"copy from the GPU": 1})
