"""What runs will cost, before anything is run: floating-point operations, memory, time."""

import contextlib
import functools
import gc
import itertools
import json
import math
import time
from typing import NamedTuple

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from goodinit.datasets import catalog
from goodinit.datasets.splits import MAX_DEVICE_BYTES
from goodinit.datasets.tensors import Examples
from goodinit.studies import components, settings
from goodinit.training import build
from goodinit.training.loop import Training, evaluate, fit
from goodinit.training.precision import autocast, effective_precision

__all__ = ["Cost", "estimate", "format_duration", "measure_rate", "measure_seconds"]

TIMED_SECONDS = 1.0  # each model is trained for at least this long, after one update to warm up


class Cost(NamedTuple):
    """Floating-point operations, of training and of evaluation; bytes that one run needs on its device."""

    training: int
    evaluation: int
    memory: int

    @property
    def operations(self):
        """Return the operations of training and evaluation."""
        return self.training + self.evaluation


def estimate(runs, batch_size=None):
    """Return the Cost of runs, without any data: operations are counted on one batch of nothing.

    Not counted are initializers that look at data, diagnostics, and what is not a matrix product or a convolution.

    Args:
        runs: of any studies.
        batch_size: instead of their own.

    Raises:
        InputError: a model or its options cannot be used.
    """
    own = {} if batch_size is None else {"batch_size": batch_size}
    costs = [_estimate_run(run.parts | {"training": run.parts["training"] | own}) for run in runs]
    return Cost(
        sum(cost.training for cost in costs),
        sum(cost.evaluation for cost in costs),
        max((cost.memory for cost in costs), default=0),
    )


def measure_rate(device):
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


def measure_seconds(runs, device):
    """Return the seconds that runs would take on a device, from timing a few updates of each of their models.

    Models are trained on random inputs, so that no data are needed.  Not counted are initializers that look at data,
    diagnostics, augmentation, and that runs which diverge end early.

    Args:
        runs: of any studies.
        device: a torch device; on a CPU torch's number of threads counts.

    Raises:
        InputError: a model or its options cannot be used.
    """
    total = 0.0
    for run in runs:
        parts = run.parts
        training = Training(**parts["training"])
        with build.input_errors():
            shape, classes, sizes, _ = _sizes(parts["data"])
            steps = training.total_steps(sizes["train"])
        timed = {part: parts[part] for part in ("model", "objective", "optimizer", "update") if part in parts}
        timed["training"] = {"batch_size": training.batch_size, "precision": training.precision}
        timed["training"] |= {"loss_after_update": training.loss_after_update, "steps": 1}
        if steps or classes:
            update, evaluation = _timed(json.dumps(timed, sort_keys=True), shape, classes, device)
            total += steps * update + _evaluated(training, steps, sizes, classes) * evaluation
    return total


def format_duration(seconds):
    """Return a time in the unit that fits."""
    units = (("days", 86400), ("hours", 3600), ("minutes", 60), ("seconds", 1))
    unit, size = next((pair for pair in units if seconds >= pair[1] * (2 if pair[0] == "days" else 1)), units[-1])
    return f"{seconds / size:.1f} {unit}"


def _estimate_run(parts):
    training = Training(**parts["training"])
    with build.input_errors():
        shape, classes, sizes, pixels = _sizes(parts["data"])
        steps = training.total_steps(sizes["train"])
        net = json.dumps({part: parts[part] for part in ("model", "objective")}, sort_keys=True)
        slots = build.call(parts, "optimizer", _parameters(net, shape, classes)).slots if steps else 0
        forward = _count(net, shape, classes, training.batch_size, backward=False)
        both = _count(net, shape, classes, training.batch_size, backward=True) if steps else _Count(0, 0, 0)
        evaluated = _evaluated(training, steps, sizes, classes)
        largest = min(build.evaluation_batch("cuda", shape, training.batch_size), max(sizes.values()))
        looking = _count(net, shape, classes, largest, backward=False) if evaluated else forward
        held = sum(pixels * size for size in sizes.values() if pixels * size <= MAX_DEVICE_BYTES)
    return Cost(
        steps * (both.operations + forward.operations * training.loss_after_update),
        evaluated * forward.operations // training.batch_size,
        forward.weights * (1 + slots) + max(both.memory, looking.memory) + held,
    )


def _evaluated(training, steps, sizes, classes):
    """Return how many examples a run evaluates, those evaluated again counted again."""
    points = 2 + (steps // training.evaluate_every if training.evaluate_every else 0)
    repeated = sum(sizes[part] for part in training.evaluate_on) * points if classes else 0
    return repeated + sum(sizes[part] for part in training.evaluate_at_end_on)


def _sizes(part):
    """Return the shape of an input, the number of classes, the examples in each part of the data, and one's bytes."""
    if part["name"] in catalog.GENERATED_PER_RUN:
        splits = components.resolve("data", part["name"])(None, torch.Generator(), **build.options(part))
        images = splits.train.images
        return images.shape[1:], splits.classes, {"train": len(images), "validation": 0, "test": 0}, images[0].nbytes
    filled = components.fill("data", part)
    name = catalog.prepared_name(filled)
    shape, classes, train_examples, test_examples = catalog.size_of(name, settings.data_root())
    held_out = filled["validation_examples"]
    sizes = {
        "train": (filled["train_examples"] or train_examples) - held_out,
        "validation": held_out,
        "test": filled["test_examples"] or test_examples,
    }
    size = filled.get("crop") or filled.get("size")
    enlarged = (shape[0], size, size) if size else shape
    return torch.Size(enlarged), classes, sizes, math.prod(shape)


class _Count(NamedTuple):
    """Operations on one batch; the most bytes of tensors that live at once, beside the parameters; and theirs."""

    operations: int
    memory: int
    weights: int


@functools.cache
def _parameters(net, shape, classes):
    """Return the named parameters, without values, of a model that is given as text."""
    with torch.device("meta"):
        return list(build.call(json.loads(net), "model", shape, classes).named_parameters())


@functools.cache
def _count(net, shape, classes, size, *, backward):
    """Return a _Count of a model and an objective, given as text, on a batch of so many inputs."""
    parts = json.loads(net)
    with _frozen(), torch.device("meta"):
        model = build.call(parts, "model", shape, classes)
        batch = Examples(torch.empty(size, *shape), torch.empty(size, dtype=torch.int64))
        inputs = [*model.parameters(), *model.buffers(), batch.images, batch.labels]
        with _Peak(inputs) as memory, FlopCounterMode(display=False) as counter, torch.set_grad_enabled(backward):
            loss, _ = build.objective(parts)(model, batch)
            if backward:
                loss.backward()
    return _Count(counter.get_total_flops(), memory.peak, sum(parameter.nbytes for parameter in model.parameters()))


@functools.cache
def _timed(text, shape, classes, device):
    """Return the seconds of one update, and of evaluating one example, of parts given as text."""
    parts = json.loads(text)
    training = Training(**parts["training"])
    with build.input_errors(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        model = build.call(parts, "model", shape, classes)
        model = model.to(device, memory_format=torch.channels_last)
        objective = build.objective(parts)

        def batch(size):
            labels = torch.randint(max(classes, 1), (size,))
            return Examples(torch.randn(size, *shape), labels).to(device)

        def trained(steps):
            batches = itertools.repeat(batch(training.batch_size), steps)
            return fit(model, objective, batches, update, training).seconds["training"] / steps

        def evaluated(examples):
            start = time.perf_counter()
            evaluate(model, objective, [examples])  # fetches its result, and so waits for a GPU
            return (time.perf_counter() - start) / len(examples.labels)

        with autocast(effective_precision(training.precision, device), device):
            examples = batch(build.evaluation_batch(device.type, shape, training.batch_size))
            evaluated(examples)
            evaluation = evaluated(examples) if classes else 0.0
            if "optimizer" not in parts:
                return 0.0, evaluation
            optimizer = build.call(parts, "optimizer", model.named_parameters())
            update = build.call(parts, "update", model, optimizer, torch.Generator())
            return trained(max(3, round(TIMED_SECONDS / trained(1)))), evaluation


@contextlib.contextmanager
def _frozen():
    """Let collections of garbage pass over what there was before the block."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class _Peak(TorchDispatchMode):
    """The most bytes of storage, made in the block and not of tensors that were there before, that live at once."""

    def __init__(self, there):
        super().__init__()
        self.there = {storage.cdata: storage for storage in map(_storage, there)}
        self.living, self.now, self.peak = {}, 0, 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **options or {})
        for tensor in tree_leaves((result,)):
            if isinstance(tensor, torch.Tensor):
                storage = _storage(tensor)
                if storage.cdata not in self.there and storage.cdata not in self.living:
                    self.living[storage.cdata] = storage, tensor.untyped_storage().nbytes()
                    self.now += self.living[storage.cdata][1]
        if self.now > self.peak and self._sweep() > self.peak:
            # Recomputed activations lie in cycles; when these are collected, and in how many turns, is chance.
            before = None
            while before != self.now:
                before = self.now
                gc.collect()
                self._sweep()
            self.peak = max(self.peak, self.now)
        return result

    def _sweep(self):
        self.living = {name: one for name, one in self.living.items() if not one[0].expired()}
        self.now = sum(size for _, size in self.living.values())
        return self.now


def _storage(tensor):
    return StorageWeakRef(tensor.untyped_storage())
