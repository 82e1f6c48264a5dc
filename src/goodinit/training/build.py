"""From the names in a run's parts to the objects that it is trained with."""

import contextlib
import functools
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from goodinit import studies
from goodinit.datasets import cache, catalog, sets, tensors
from goodinit.datasets.splits import Splits
from goodinit.datasets.tensors import Examples
from goodinit.errors import InputError, nearest
from goodinit.methods.curricula.batches import BatchSchedule
from goodinit.seeds import stream_seed
from goodinit.studies import components

__all__ = [
    "Initialization",
    "build_model",
    "build_schedule",
    "call",
    "choose_device",
    "evaluation_batch",
    "generator",
    "initialize",
    "input_errors",
    "load_splits",
    "objective",
    "options",
    "prepare",
    "probe",
]

EVALUATION_BATCH = {"cpu": 500, "cuda": 5000}  # of images of 32 x 32: what fits a cache, and what keeps a GPU busy
PROBE_EXAMPLES = 1024  # of 32 x 32, the first of training: what data-dependent initializers and diagnostics see
MIN_PROBE_EXAMPLES = 16  # of large images

Parts = Mapping[str, Any]


class Initialization(NamedTuple):
    """What initializing a model took: rescalings of each layer, (L,), where its initializer rescales; seconds."""

    rescalings: Tensor | None
    seconds: float


def choose_device(name: str) -> torch.device:
    """Return the torch device called `name`; `auto` is a GPU where there is one.

    Raises:
        InputError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise InputError(f"device: unknown device {name!r}{nearest(name, ('auto', 'cpu', 'cuda', 'cuda:N'))}")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device: {name}: there are {torch.cuda.device_count()} GPUs; use cpu or auto")
    return device


def evaluation_batch(device: str, shape: torch.Size, batch_size: int) -> int:
    """Return how many inputs of a shape are evaluated at once on a kind of device, `cpu` or `cuda`."""
    return max(_scale_count(EVALUATION_BATCH[device], shape), batch_size)


def prepare(name: str, data_root: str, **options: Any) -> Path:
    """Prepare a data set; return its manifest's path.

    Args:
        name: of what is prepared, such as `mnist` or `imagenette-144`.
        data_root: the data folder.
        options: of `cache.prepare`.

    Raises:
        InputError: its files are missing or damaged, or the folder cannot be used.
    """
    known = set(sets.__all__) - {*catalog.GENERATED_PER_RUN, *catalog.PREPARED_PER_OPTIONS}
    with input_errors():
        if name not in known and not catalog.parse_name(name):
            sizes = {"imagenette-144", "pictures-144", "folder-NAME-144"}
            raise InputError(f"{name}: not a data set that is prepared{nearest(name, known | sizes)}")
        return cache.prepare(name, data_root, **options)


def call(parts: Parts, part: str, *arguments: Any) -> Any:
    """Call the function that a part of a run names, with the part's options."""
    return components.resolve(part, parts[part]["name"])(*arguments, **options(parts[part]))


def options(part: Parts) -> dict[str, Any]:
    """Return a part without its name."""
    return {key: value for key, value in part.items() if key != "name"}


def generator(run: studies.Run, purpose: str) -> torch.Generator:
    """Return a generator on the CPU with the run's random stream for one purpose."""
    return torch.Generator().manual_seed(stream_seed(run.seed, purpose))


def load_splits(run: studies.Run, data_root: str) -> Splits:
    """Return the run's data, mapped into memory.

    Raises:
        InputError: the data are missing, or an option is out of its range.
    """
    with input_errors():
        return call(run.parts, "data", data_root, generator(run, "split"))


def build_model(run: studies.Run, shape: torch.Size, classes: int) -> nn.Module:
    """Return the run's model with its default weights, drawn on the CPU: the same for every device.

    Raises:
        InputError: an option is out of its range.
    """
    with input_errors(), torch.random.fork_rng([]):  # no GPU takes part
        torch.default_generator.manual_seed(stream_seed(run.seed, "model"))
        return call(run.parts, "model", shape, classes)


def initialize(run: studies.Run, model: nn.Module, splits: Splits, device: torch.device) -> Initialization:
    """Initialize the run's model on the CPU, in place.

    Raises:
        InputError: an option is out of its range, or the model cannot be initialized so.
    """
    with input_errors():
        batch = probe(splits, device, studies.fill(run.parts)["init"].get("batch_size")).to("cpu")
        start = time.perf_counter()
        report = call(run.parts, "init", model, batch, generator(run, "init"))
    return Initialization(None if report is None else report.rescalings, time.perf_counter() - start)


def build_schedule(run: studies.Run, splits: Splits, batch_size: int, steps: int) -> BatchSchedule:
    """Return the run's training batches.

    Raises:
        InputError: an option is out of its range.
    """
    with input_errors():
        generators = generator(run, "order"), generator(run, "subset")
        return call(run.parts, "curriculum", splits.train, batch_size, steps, *generators)


def objective(parts: Parts) -> Callable[[nn.Module, Examples], tuple[Tensor, dict[str, Tensor]]]:
    """Return the objective of a run with these parts, as a function (model, batch)."""
    function, more = components.resolve("objective", parts["objective"]["name"]), options(parts["objective"])
    return functools.partial(function, **more) if more else function


def probe(splits: Splits, device: torch.device, wanted: int | None) -> Examples:
    """Return the examples that data-dependent initializers and diagnostics see, at least as many as are wanted."""
    count = max(
        _scale_count(PROBE_EXAMPLES, splits.preprocessing.shape(splits.train.images)), wanted or MIN_PROBE_EXAMPLES
    )
    return splits.preprocessing.normalize(next(tensors.batches(splits.train, count)).to(device))


@contextlib.contextmanager
def input_errors() -> Iterator[None]:
    """Turn what methods raise about their arguments and files into one line for the user."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the system's, which names the file
        raise InputError(str(error)) from None


def _scale_count(count: int, shape: torch.Size) -> int:
    """Return how many inputs of a shape have as many pixels as `count` images of 32 x 32; at most `count`."""
    return count * 1024 // max(math.prod(shape[1:]), 1024)
