"""One job: from the names in its runs to functions, to `fit`, to the runs' records."""

import contextlib
import os
import time

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from goodinit import record, spec
from goodinit.methods import (
    curriculum,
    data,
    diagnostics,
    initialize,
    models,
    objectives,
    optimizers,
    train,
    updates,
)
from goodinit.signatures import InputError

__all__ = ["choose_device", "cpu_rate", "estimate", "execute", "prepare"]

EVALUATION_BATCH = 2500
PROBE_EXAMPLES = 1000  # the first training examples are what data-dependent initializers and diagnostics see


def prepare(name, data_root):
    """Prepare a data set; return its manifest's path.

    Raises:
        InputError: its files are missing or damaged, or the folder cannot be used.
    """
    with _input_errors():
        return data.prepare(name, data_root)


def choose_device(name):
    """Return the torch device called `name`; `auto` is a GPU where there is one.

    Raises:
        InputError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device: {name}: there are {torch.cuda.device_count()} GPUs; use cpu or auto")
    return device


def execute(runs, *, data_root, device, progress=None):
    """Train the runs one after the other.

    Args:
        runs: of one job.
        data_root: the data folder.
        device: a torch device.
        progress: called as (run, step, steps, loss), or None.

    Yields:
        A RunRecord for each run.

    Raises:
        InputError: the data cannot be had, or an option's value is out of its range.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    for run in runs:
        with _input_errors():
            splits = _load(run, data_root).to(device)
        yield _train(run, splits, device, progress)


def estimate(runs, data_root):
    """Return the floating-point operations of training the runs, counted on one batch of each.

    Raises:
        InputError: as in `execute`.
    """
    total = 0
    for run in runs:
        with _input_errors():
            splits = _load(run, data_root)
            training = train.Training(**run.parts["training"])
            steps = training.total_steps(len(splits.train.labels))
        if not steps:
            continue
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            model = _call(models, run, "model", splits.train.images.shape[1:], splits.classes)
            images = torch.empty(training.batch_size, *splits.train.images.shape[1:])
            labels = torch.empty(training.batch_size, dtype=torch.int64)
            loss, _ = _objective(run)(model, data.Examples(images, labels))
            loss.backward()
        total += steps * counter.get_total_flops()
    return total


def cpu_rate():
    """Return this machine's floating-point operations a second, all threads, on a matrix product."""
    matrix = torch.rand(1024, 1024)
    matrix @ matrix
    start = time.perf_counter()
    for _ in range(5):
        matrix @ matrix
    return 5 * 2 * 1024**3 / (time.perf_counter() - start)


def _train(run, splits, device, progress):
    with _input_errors(), torch.random.fork_rng():
        torch.manual_seed(spec.stream(run.seed, "model"))
        training = train.Training(**run.parts["training"])
        steps = training.total_steps(len(splits.train.labels))
        model = _call(models, run, "model", splits.train.images.shape[1:], splits.classes)
        probe = next(data.batches(splits.train, PROBE_EXAMPLES))
        # Weights are drawn on the CPU, so that they are the same on every device.
        _call(initialize, run, "init", model, probe.to("cpu"), _generator(run, "init"))
        model.to(device)
        optimizer = _call(optimizers, run, "optimizer", model.parameters()) if "optimizer" in run.parts else None
        update = _call(updates, run, "update", model, optimizer, _generator(run, "update"))
        drawn = _call(
            curriculum,
            run,
            "curriculum",
            splits.train,
            batch_size=training.batch_size,
            steps=steps,
            generator=_generator(run, "order"),
        )
    objective = _objective(run)

    def evaluate(model):
        found = {}
        for part in ("validation", "test"):
            examples = getattr(splits, part)
            if len(examples.labels):
                metrics = train.evaluate(model, objective, data.batches(examples, EVALUATION_BATCH))
                found |= {f"{part}_{name}": value for name, value in metrics.items()}
        return found

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = training.precision == "tf32"
    with contextlib.ExitStack() as stack:
        watched = [
            stack.enter_context(
                getattr(diagnostics, part["name"])(
                    model, probe, _generator(run, f"diagnostics/{part['name']}"), **_options(part)
                )
            )
            for part in run.parts["diagnostics"]
        ]
        stack.enter_context(torch.random.fork_rng())
        torch.manual_seed(spec.stream(run.seed, "dropout"))
        if training.precision == "bf16":
            stack.enter_context(torch.autocast(device.type, torch.bfloat16))
        history = train.fit(
            model,
            objective,
            (data.Examples(data.pixels(batch.images), batch.labels) for batch in drawn),
            update,
            training,
            evaluate=evaluate if splits.classes else None,
            diagnostics=watched,
            progress=progress and (lambda step, loss: progress(run, step, steps, loss)),
        )
    return record.RunRecord(
        id=run.id,
        seed=run.seed,
        parts=run.parts,
        filled=spec.fill(run.parts),
        status="finished" if history.diverged_at is None else "diverged",
        diverged_at=history.diverged_at,
        steps=history.steps,
        seconds={what: round(seconds, 3) for what, seconds in history.seconds.items()},
        provenance=record.provenance(_describe(device), torch.get_num_threads(), splits.checksum),
        series={
            name: record.Series(np.array(at), np.array(values), diagnostics.DIMENSIONS.get(name, ()))
            for name, (at, values) in history.series.items()
        },
    )


def _call(module, run, part, *arguments, **more):
    """Call the function that a part of the run names, with the part's options."""
    options = run.parts[part]
    return getattr(module, options["name"])(*arguments, **more, **_options(options))


def _load(run, data_root):
    return _call(data, run, "data", data_root, _generator(run, "split"))


def _objective(run):
    part = run.parts["objective"]
    function, options = getattr(objectives, part["name"]), _options(part)
    return (lambda model, batch: function(model, batch, **options)) if options else function


def _options(part):
    return {key: value for key, value in part.items() if key != "name"}


def _generator(run, purpose):
    """Return a generator on the CPU with the run's random stream for one purpose."""
    return torch.Generator().manual_seed(spec.stream(run.seed, purpose))


def _describe(device):
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


@contextlib.contextmanager
def _input_errors():
    """Turn what methods raise about their arguments and files into one line for the user."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(str(error)) from None
