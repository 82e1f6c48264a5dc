"""One job: from the names in its runs to functions, to `fit`, to the runs' records."""

import contextlib
import functools
import itertools
import math
import os
import re
import time
from typing import NamedTuple

import numpy as np
import torch

from goodinit import catalog, prepared, provenance, record, spec
from goodinit import checkpoint as checkpoints
from goodinit.errors import InputError, nearest
from goodinit.methods import (
    curricula,
    data,
    diagnostics,
    initializers,
    models,
    objectives,
    optimizers,
    schedules,
    stack,
    train,
    updates,
)

__all__ = [
    "autocast",
    "call",
    "choose_device",
    "effective_precision",
    "evaluation_batch",
    "execute",
    "input_errors",
    "objective",
    "options",
    "prepare",
]

EVALUATION_BATCH = {"cpu": 500, "cuda": 5000}  # of images of 32 x 32: what fits a cache, and what keeps a GPU busy
TOGETHER = 5  # nets in a stack: more do not fit a core's cache
PROBE_EXAMPLES = 1024  # of 32 x 32, the first of training: what data-dependent initializers and diagnostics see
FEWEST_EXAMPLES = 16  # of a probe of large images


def prepare(name, data_root, **options):
    """Prepare a data set; return its manifest's path.

    Args:
        name: of what is prepared, such as `mnist` or `imagenette-144`.
        data_root: the data folder.
        options: of `prepared.prepare`.

    Raises:
        InputError: its files are missing or damaged, or the folder cannot be used.
    """
    known = {one for one in data.__all__ if one not in data.DRAWN and one not in data.PREPARED}
    with input_errors():
        if name not in known and not catalog.parse_name(name):
            sizes = {"imagenette-144", "pictures-144", "folder-NAME-144"}
            raise InputError(f"{name}: not a data set that is prepared{nearest(name, known | sizes)}")
        return prepared.prepare(name, data_root, **options)


def choose_device(name):
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


def evaluation_batch(device, shape, batch_size):
    """Return how many inputs of a shape are evaluated at once on a kind of device, `cpu` or `cuda`."""
    return max(_as_many(EVALUATION_BATCH[device], shape), batch_size)


def effective_precision(precision, device):
    """Return the precision in which a device computes what a run asks for.

    A CPU without instructions for bfloat16 emulates them, more slowly than it computes in single precision, and
    therefore computes in the latter.

    Args:
        precision: "fp32", "tf32" or "bf16".
        device: a torch device.
    """
    if precision == "fp32" or device.type == "cuda":
        return precision
    capabilities = torch.cpu.get_capabilities()
    native = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return "bf16" if precision == "bf16" and native else "fp32"


def autocast(precision, device):
    """Return a context in which models compute in a precision; weights, losses and statistics stay in fp32."""
    # A cache would keep the first weights' casts for the whole of training.
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


def _as_many(count, shape):
    """Return how many inputs of a shape have as many pixels as so many images of 32 x 32; no more than these."""
    return count * 1024 // max(math.prod(shape[1:]), 1024)


def execute(runs, *, data_root, device, progress=None, checkpoint=None):
    """Train the runs; neighbors that differ in seed and initializer alone are trained together.

    How many are together changes no bit on one CPU thread: each net of a stack is computed as if alone.

    Args:
        runs: of one job.
        data_root: the data folder.
        device: a torch device.
        progress: called as (runs, step, steps, losses), or None.
        checkpoint: a Checkpoint, from which what was begun goes on, or None.

    Yields:
        A RunRecord for each run, in order.

    Raises:
        InputError: the data cannot be had, or an option's value is out of its range.
    """
    provenance.code()  # as it is before the training: files may change meanwhile
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms would import the compiler
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads any; it costs a tenth
    for method in (torch.optim.Optimizer.add_param_group, torch.optim.Optimizer.zero_grad):
        # Both would import the compiler, a second's work, to be exempt from it; nothing here is compiled.
        method.__wrapped__.__dynamo_disable = method.__wrapped__
    for _, group in itertools.groupby(runs, lambda run: {**run.parts, "init": None}):
        group = list(group)
        for start in range(0, len(group), TOGETHER):
            yield from _train(group[start : start + TOGETHER], data_root, device, progress, checkpoint)


def _train(runs, data_root, device, progress, checkpoint):
    """Return the RunRecords of runs that differ in seed and initializer alone."""
    run, parts = runs[0], runs[0].parts  # but for seed and initializer, all have these options
    with input_errors():
        training = train.Training(**parts["training"])
        precision = effective_precision(training.precision, device)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = training.precision == "tf32"
        first = _load(run, data_root)
        steps = training.total_steps(len(first.train.labels))
        shape = first.preprocessing.shape(first.train.images)
        net = _build(run, shape, first.classes)
        stacked = _stackable(run, net)
        if not stacked and len(runs) > 1:
            return [one for run in runs for one in _train([run], data_root, device, progress, checkpoint)]
        splits = _moved([first, *(_load(run, data_root) for run in runs[1:])], device)
        nets = [net, *(_build(run, shape, first.classes) for run in runs[1:])]
        initial = [_initialize(*one, device) for one in zip(runs, nets, splits, strict=True)]
        model = stack.stack(nets) if stacked else nets[0]
        model = model.to(device, memory_format=torch.channels_last)  # convolutions are faster so
        optimizer = call(optimizers, parts, "optimizer", model.named_parameters()) if "optimizer" in parts else None
        update = call(updates, parts, "update", model, optimizer, _generator(run, "update"))
        schedule = _schedule(run, optimizer) if "schedule" in parts else None
        courses = [_course(*one, training.batch_size, steps) for one in zip(runs, splits, strict=True)]
        streams = [
            data.Augmentation(split.preprocessing, _generator(run, "augment"))
            for run, split in zip(runs, splits, strict=True)
        ]
        orders = [_augmented(*one, device) for one in zip(splits, courses, streams, strict=True)]
    objective_of = objective(parts)
    at_once = evaluation_batch(device.type, shape, training.batch_size)

    def join(batches):
        """Return one batch, with float images, of one batch for each net."""
        batches = [batch.to(device) for batch in batches]  # those of a set that is not held there
        return splits[0].preprocessing.normalize(data.stack(batches) if stacked else batches[0])

    if steps:
        _rehearse(run, model, objective_of, join([next(data.batches(split.train, 2)) for split in splits]))

    with contextlib.ExitStack() as context:
        with input_errors():
            watched = [
                context.enter_context(
                    getattr(diagnostics, part["name"])(
                        model,
                        _probe(splits[0], device, filled.get("examples")),
                        _generator(run, f"diagnostics/{part['name']}"),
                        **options(part),
                    )
                )
                for part, filled in zip(parts["diagnostics"], spec.fill(parts)["diagnostics"], strict=True)
            ]
        context.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        torch.manual_seed(spec.stream(run.seed, "dropout"))
        context.enter_context(autocast(precision, device))
        made = {"device": device.type, "precision": precision, "data": [split.checksum for split in splits]}
        resume = checkpoint and checkpoint.load(runs, made)
        if resume:
            checkpoints.restore(resume, model, optimizer, courses, streams, device)
            resume = {"loop": resume["loop"]}  # the rest is where it belongs, and large

        def keep(state):
            if checkpoint.due():
                checkpoint.save(runs, made, {"loop": state(), **checkpoints.state(model, optimizer, streams, device)})

        seen = checkpoints.steps(resume["loop"]) if resume else 0
        context.enter_context(input_errors())
        history = train.fit(
            model,
            objective_of,
            _forgetting(map(join, zip(*orders, strict=True)), courses[0].starts, optimizer, seen),
            update,
            training,
            schedule=schedule,
            evaluate=_evaluation(splits, objective_of, join, at_once) if splits[0].classes else None,
            diagnostics=watched,
            progress=progress and (lambda step, losses: progress(runs, step, steps, losses)),
            checkpoint=checkpoint and keep,
            resume=resume and resume["loop"],
        )
    records = [
        _record(run, i if stacked else ..., history, (initial[i], courses[i]), splits[i], device, precision, len(runs))
        for i, run in enumerate(runs)
    ]
    if checkpoint:
        checkpoint.end(records)
    return records


def _moved(splits, device):
    """Return the splits on the device, where what is equal in several of them is held once."""
    moved = {}
    return [split.to(device, moved) for split in splits]


def _evaluation(splits, objective_of, join, at_once):
    """Return a function (model, names of parts) -> {metric: mean over the part's examples}."""

    def evaluate(model, names):
        found = {}
        for part in names:
            if len(getattr(splits[0], part).labels):
                parts = [data.batches(getattr(split, part), at_once) for split in splits]
                metrics = train.evaluate(model, objective_of, map(join, zip(*parts, strict=True)))
                found |= {f"{part}_{name}": value for name, value in metrics.items()}
        return found

    return evaluate


class _Initial(NamedTuple):
    """What initializing a net took: rescalings of each layer, (L,), where its initializer rescales; seconds."""

    rescalings: torch.Tensor | None
    seconds: float


def _build(run, shape, classes):
    """Return the run's model with the weights that it is built with, drawn on the CPU: the same for every device."""
    with torch.random.fork_rng([]):  # no GPU takes part
        torch.default_generator.manual_seed(spec.stream(run.seed, "model"))
        return call(models, run.parts, "model", shape, classes)


def _initialize(run, model, split, device):
    """Initialize the run's model on the CPU, in place; return an _Initial."""
    probe = _probe(split, device, spec.fill(run.parts)["init"].get("batch_size")).to("cpu")
    start = time.perf_counter()
    report = call(initializers, run.parts, "init", model, probe, _generator(run, "init"))
    return _Initial(None if report is None else report.rescalings, time.perf_counter() - start)


def _stackable(run, model):
    """Return whether runs like this one, with models like this one, can be trained as a stack.

    Their models must be small nets that nothing looks at as one.
    """
    names = run.parts["update"]["name"], run.parts["curriculum"]["name"]
    whole = run.parts["diagnostics"] or names != ("synchronous", "full")
    return stack.stackable(model) and not whole and "clip_norm" not in run.parts.get("optimizer", {})


def _rehearse(run, model, objective_of, batch):
    """Evaluate the objective on a batch, so that what does not fit is said before there is anything to lose."""
    try:
        with train.evaluating(model):
            objective_of(model, batch)
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        names = " with ".join(f"{part} {run.parts[part]['name']}" for part in ("model", "objective", "data"))
        raise InputError(f"{names}: {str(error).splitlines()[0]}") from None


def _course(run, split, batch_size, steps):
    """Return the BatchSchedule of the run's training batches."""
    generators = _generator(run, "order"), _generator(run, "subset")
    return call(curricula, run.parts, "curriculum", split.train, batch_size, steps, *generators)


def _augmented(split, course, augmentation, device):
    """Return an iterator over the batches of a BatchSchedule, augmented where the data are."""
    if split.preprocessing.pad is None:
        return course
    return (augmentation(batch.to(device)) for batch in course)


def _forgetting(batches, starts, optimizer, first):
    """Yield the batches, those after the first so many; before those at the starts the optimizer forgets the past."""
    for step, batch in enumerate(batches, first):
        if step in starts:
            optimizer.state.clear()
            for group in optimizer.param_groups:
                group["step"] = 0
        yield batch


def _schedule(run, optimizer):
    """Return a function that sets the optimizer's learning rate for the update after so many."""
    factor = call(schedules, run.parts, "schedule")
    first = [group["lr"] for group in optimizer.param_groups]

    def schedule(updates):
        for group, lr in zip(optimizer.param_groups, first, strict=True):
            group["lr"] = lr * factor(updates)

    return schedule


def _probe(split, device, wanted):
    """Return the examples that data-dependent initializers and diagnostics look at, at least as many as they want."""
    count = max(_as_many(PROBE_EXAMPLES, split.preprocessing.shape(split.train.images)), wanted or FEWEST_EXAMPLES)
    return split.preprocessing.normalize(next(data.batches(split.train, count)).to(device))


def _record(run, place, history, begun, split, device, precision, together):
    """Return the RunRecord of the net at one place of a stack, or of the only one (place is ...)."""
    initial, course = begun
    diverged_at = int(history.diverged_at[0 if place is ... else place]) if history.diverged_at is not None else 0
    made = provenance.describe(_describe(device), torch.get_num_threads(), split.checksum)
    series = {}
    if initial.rescalings is not None:
        series["rescalings"] = record.Series(np.array([0]), initial.rescalings.numpy()[None], ("layer",))
    if course.subset is not None:
        series["subset"] = record.Series(np.array([0]), course.subset.numpy()[None], ("example",))
    for name, (at, values) in history.series.items():
        array = np.array(values)
        own = array if place is ... else array[:, place]
        series[name] = record.Series(np.array(at), own, diagnostics.DIMENSIONS.get(name, ()))
    return record.RunRecord(
        id=run.id,
        seed=run.seed,
        parts=run.parts,
        filled=spec.fill(run.parts),
        status=_status(run, diverged_at, history.steps, series.get("loss"), course, split.classes),
        diverged_at=diverged_at or None,
        steps=history.steps,
        seconds={"initializing": round(initial.seconds, 3)}
        | {what: round(seconds / together, 3) for what, seconds in history.seconds.items()},
        provenance=made
        | {"precision": precision, "trained_together": together, "train_examples": len(split.train.labels)}
        | ({"classes": split.classes} if split.classes else {}),
        series=series,
    )


def _status(run, diverged_at, steps, loss, course, classes):
    """Say how a run ended; one whose loss never came below that of guessing, once it saw everything, did not learn."""
    if diverged_at:
        return "diverged"
    start = max(course.starts, default=0)
    if run.parts["objective"]["name"] != "cross_entropy" or classes < 2 or steps <= start:
        return "finished"
    return "did not learn" if loss.values[start:].min() >= record.LEARNED_BELOW * math.log(classes) else "finished"


def call(module, parts, part, *arguments, **more):
    """Call the function that a part of a run names, with the part's options."""
    return getattr(module, parts[part]["name"])(*arguments, **more, **options(parts[part]))


def _load(run, data_root):
    return call(data, run.parts, "data", data_root, _generator(run, "split"))


def objective(parts):
    """Return the objective of a run with these parts, as a function (model, batch)."""
    function, more = getattr(objectives, parts["objective"]["name"]), options(parts["objective"])
    return functools.partial(function, **more) if more else function


def options(part):
    """Return a part without its name."""
    return {key: value for key, value in part.items() if key != "name"}


def _generator(run, purpose):
    """Return a generator on the CPU with the run's random stream for one purpose."""
    return torch.Generator().manual_seed(spec.stream(run.seed, purpose))


def _describe(device):
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


@contextlib.contextmanager
def input_errors():
    """Turn what methods raise about their arguments and files into one line for the user."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the system's, which knows the file
        raise InputError(str(error)) from None
