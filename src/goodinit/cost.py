"""What runs will cost, before anything is run: floating-point operations, memory, time."""

import functools
import json
import time
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from goodinit import prepared, runner
from goodinit.methods import data, models, optimizers, train

__all__ = ["Cost", "of", "rate", "words"]


class Cost(NamedTuple):
    """Floating-point operations, of training and of evaluation; bytes that one run needs on its device."""

    training: int
    evaluation: int
    memory: int

    @property
    def operations(self):
        """Return the operations of training and evaluation."""
        return self.training + self.evaluation


def of(runs):
    """Return the Cost of runs, without any data: operations are counted on one batch of nothing.

    Not counted are initializers that look at data, diagnostics, and what is not a matrix product or a convolution.

    Args:
        runs: of any studies.

    Raises:
        InputError: a model or its options cannot be used.
    """
    costs = [_of_one(json.dumps(run.parts | {"init": None}, sort_keys=True)) for run in runs]
    return Cost(
        sum(cost.training for cost in costs),
        sum(cost.evaluation for cost in costs),
        max((cost.memory for cost in costs), default=0),
    )


def rate(device):
    """Return a device's floating-point operations a second, all threads, on the product of large matrices."""
    matrix = torch.rand(2048, 2048, device=device)

    def seconds(times):
        start = time.perf_counter()
        for _ in range(times):
            product = matrix @ matrix
        product[0, 0].item()  # waits for a GPU
        return time.perf_counter() - start

    seconds(1)
    return 3 * 2 * 2048**3 / seconds(3)


def words(seconds):
    """Return a time in the unit that fits."""
    units = (("days", 86400), ("hours", 3600), ("minutes", 60), ("seconds", 0))
    unit, size = next(pair for pair in units if seconds >= pair[1])
    return f"{seconds / (size or 1):.1f} {unit}"


@functools.cache
def _of_one(text):
    parts = json.loads(text)
    training = train.Training(**parts["training"])
    with runner.input_errors():
        shape, classes, sizes = _sizes(parts["data"])
        steps = training.total_steps(sizes["train"])
        with torch.device("meta"):
            model = runner.call(models, parts, "model", shape, classes)
    forward = _count(model, parts, shape, training.batch_size, backward=False)[0]
    both, saved = _count(model, parts, shape, training.batch_size, backward=True) if steps else (0, 0)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    slots = runner.call(optimizers, parts, "optimizer", model.named_parameters()).slots if steps else 0
    points = 2 + (steps // training.evaluate_every if training.evaluate_every else 0)
    evaluated = sum(sizes[part] for part in training.evaluate_on) * points if classes else 0
    evaluated += sum(sizes[part] for part in training.evaluate_at_end_on)
    pixels = shape.numel() * (sizes["train"] + sizes["validation"] + sizes["test"])
    return Cost(
        steps * (both + forward * training.loss_after_update),
        evaluated * forward // training.batch_size,
        weights * (2 + slots) + saved + pixels,
    )


def _sizes(part):
    """Return the shape of an input, the number of classes, and the examples in each part of the data."""
    if part["name"] not in prepared.SIZES:
        splits = getattr(data, part["name"])(None, torch.Generator(), **runner.options(part))
        return (
            splits.train.images.shape[1:],
            splits.classes,
            {"train": len(splits.train.labels), "validation": 0, "test": 0},
        )
    shape, classes, train_examples, test_examples = prepared.SIZES[part["name"]]
    held_out = part.get("validation_examples", 0)
    sizes = {
        "train": (part.get("train_examples") or train_examples) - held_out,
        "validation": held_out,
        "test": part.get("test_examples") or test_examples,
    }
    if size := part.get("size"):
        shape = (shape[0], size, size)
    return torch.Size(shape), classes, sizes


def _count(model, parts, shape, size, *, backward):
    """Return the operations on one batch, and the bytes that the backward pass needs of the forward one."""
    saved = {}

    def keep(tensor):
        saved[tensor.untyped_storage()._cdata] = tensor.nbytes
        return tensor

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        batch = data.Examples(torch.empty(size, *shape), torch.empty(size, dtype=torch.int64))
        with torch.set_grad_enabled(backward), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss, _ = runner.objective(parts)(model, batch)
            if backward:
                loss.backward()
    return counter.get_total_flops(), sum(saved.values())
