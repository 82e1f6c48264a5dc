"""Building the objects of a training run from the parts of the run."""

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from goodinit import studies
from goodinit.datasets import tensors
from goodinit.datasets.splits import Splits
from goodinit.datasets.tensors import Examples
from goodinit.errors import InputError, input_errors, is_out_of_memory
from goodinit.methods.contracts import Objective, requested_examples
from goodinit.methods.curricula.batches import BatchSchedule
from goodinit.seeds import stream_seed
from goodinit.studies import components

__all__ = [
    "Initialization",
    "build_batches",
    "build_model",
    "call",
    "evaluation_batch",
    "generator",
    "initialize",
    "load_splits",
    "mismatch_errors",
    "objective",
    "options",
    "probe",
    "run_errors",
]

# Numbers of images of 32 x 32; of larger images, there are fewer.
EVALUATION_BATCH = {"cpu": 500, "cuda": 5000}  # fits the cache of a CPU; keeps a GPU busy
PROBE_EXAMPLES = 1024  # the first training examples, which data-dependent initializers and diagnostics use
MIN_PROBE_EXAMPLES = 16  # however large the images are

# {part: (a test of what its function must return, what that is)}
RESULTS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "data": (lambda result: isinstance(result, Splits), "Splits"),
    "model": (lambda result: isinstance(result, nn.Module), "a torch.nn.Module"),
    "init": (lambda result: result is None or hasattr(result, "rescalings"), "None or a report with `rescalings`"),
    "optimizer": (lambda result: isinstance(result, torch.optim.Optimizer), "a torch.optim.Optimizer"),
    "update": (lambda result: callable(getattr(result, "step", None)), "an object with step()"),
    "curriculum": (lambda result: isinstance(result, BatchSchedule), "a BatchSchedule"),
    "schedule": (callable, "a function of the number of updates"),
}


class Initialization(NamedTuple):
    """What initializing a model took.

    Args:
        rescalings: number of rescalings of each layer, (L,), or None if the initializer does not rescale.
        seconds: wall time.
    """

    rescalings: Tensor | None
    seconds: float


def evaluation_batch(device: str, shape: torch.Size, batch_size: int) -> int:
    """Return the number of inputs of a shape that are evaluated at once on a type of device, `cpu` or `cuda`."""
    return max(_scale_count(EVALUATION_BATCH[device], shape), batch_size)


def call(parts: studies.Parts, part: str, *arguments: Any) -> Any:
    """Call the function that a part of a run names with the options of the part.

    Raises:
        InputError: it returns an object of another type than its contract says.
    """
    result = components.resolve(part, parts[part]["name"])(*arguments, **options(parts[part]))
    fits, expected = RESULTS[part]
    if not fits(result):
        raise InputError(f"{part} {parts[part]['name']}: must return {expected}, not {type(result).__name__}")
    return result


def options(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a part, without its name."""
    return {key: value for key, value in part.items() if key != "name"}


def generator(run: studies.Run, purpose: str) -> torch.Generator:
    """Return a generator on the CPU with the random stream of a run for one purpose."""
    return torch.Generator().manual_seed(stream_seed(run.seed, purpose))


def load_splits(run: studies.Run, data_root: str | Path) -> Splits:
    """Return the data of a run, mapped into memory.

    Raises:
        InputError: the data are missing, or an option is out of its range.
    """
    with input_errors():
        splits: Splits = call(run.parts, "data", data_root, generator(run, "split"))
        return splits


def build_model(run: studies.Run, shape: torch.Size, classes: int) -> nn.Module:
    """Return the model of a run with its default weights, which are drawn on the CPU and so equal on every device.

    Raises:
        InputError: an option is out of range, or the model cannot process inputs of this shape.
    """
    with mismatch_errors(model=run.parts["model"]), torch.random.fork_rng([]):  # the generators of GPUs are not used
        torch.default_generator.manual_seed(stream_seed(run.seed, "model"))
        model: nn.Module = call(run.parts, "model", shape, classes)
        return model


def initialize(run: studies.Run, model: nn.Module, splits: Splits, device: torch.device) -> Initialization:
    """Initialize the model of a run on the CPU, in place.

    Raises:
        InputError: an option is out of range, or the initializer cannot be used for the model.
    """
    with mismatch_errors(init=run.parts["init"], model=run.parts["model"], data=run.parts["data"]):
        batch = probe(splits, device, studies.fill(run.parts)["init"]).to("cpu")
        start = time.perf_counter()
        report = call(run.parts, "init", model, batch, generator(run, "init"))
    return Initialization(None if report is None else report.rescalings, time.perf_counter() - start)


def build_batches(run: studies.Run, splits: Splits, batch_size: int, steps: int) -> BatchSchedule[Examples]:
    """Return the training batches of a run.

    Raises:
        InputError: an option is out of range.
    """
    with input_errors():
        generators = generator(run, "order"), generator(run, "subset")
        batches: BatchSchedule[Examples] = call(run.parts, "curriculum", splits.train, batch_size, steps, *generators)
        return batches


def objective(parts: studies.Parts) -> Objective:
    """Return the objective of a run with its options, as a function (model, batch)."""
    return functools.partial(components.resolve("objective", parts["objective"]["name"]), **options(parts["objective"]))


def probe(splits: Splits, device: torch.device, options: Mapping[str, Any]) -> Examples:
    """Return the batch that a data-dependent initializer or a diagnostic uses: the first training examples.

    Args:
        splits: the data set, whose training examples are used.
        device: the device of the batch.
        options: those of the initializer or diagnostic, with defaults, which may request a number of examples, see
            `methods.contracts.requested_examples`.
    """
    shape = splits.preprocessing.shape(splits.train.images)
    count = max(_scale_count(PROBE_EXAMPLES, shape), requested_examples(options) or MIN_PROBE_EXAMPLES)
    return splits.preprocessing.normalize(next(tensors.batches(splits.train, count)).to(device))


@contextlib.contextmanager
def mismatch_errors(**parts: Mapping[str, Any]) -> Iterator[None]:
    """Turn the errors of parts of a run that do not fit each other into errors of the user.

    Args:
        **parts: these parts, whose names begin the message.
    """
    try:
        yield
    except InputError:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        names = " with ".join(f"{kind} {part['name']}" for kind, part in parts.items())
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        if str(error) and not isinstance(error, RuntimeError | ValueError):
            text = f"{type(error).__name__}: {text}"  # the text of a KeyError is only the key
        names_itself = text.startswith(tuple(f"{part['name']}: " for part in parts.values()))  # as our methods do
        raise InputError(text if names_itself else f"{names}: {text}") from None


@contextlib.contextmanager
def run_errors(runs: Sequence[studies.Run]) -> Iterator[None]:
    """Begin the message of an InputError with the labels that runs have in common.

    Args:
        runs: those that are trained together; a message that begins with the labels of one of them does not change.
    """
    try:
        yield
    except InputError as error:
        first, *others = (run.labels for run in runs)
        common = {axis: label for axis, label in first.items() if all(other.get(axis) == label for other in others)}
        labels = ", ".join(f"{axis}: {label}" for axis, label in common.items())
        if not labels or str(error).startswith(tuple(run.title for run in runs)):
            raise
        raise InputError(f"{labels}: {error}") from None


def _scale_count(count: int, shape: torch.Size) -> int:
    """Return the number of inputs of a shape that have as many pixels as `count` images of 32 x 32, at most `count`."""
    return count * 1024 // max(math.prod(shape[1:]), 1024)
