"""The training loop, the only one; it knows no method by name."""

import contextlib
import time
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

__all__ = ["History", "Training", "evaluate", "evaluating", "fit"]

CHECK_EVERY_STEPS = 100  # losses are fetched from the device, and looked at, this often


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long a run trains, in what batches, and how often it is watched.

    Args:
        steps: updates; give this or `epochs`.
        epochs: passes over the training examples, each of `examples / batch_size` updates.
        batch_size: examples in a mini-batch.
        loss_after_update: log the mini-batch's loss after the update that it caused, with the model in
            evaluation mode, instead of before; it costs a second forward pass.
        evaluate_every: evaluate after so many steps; always at step 0 and at the last.
        evaluate_from: the step that `evaluate_every` counts from.
        evaluate_on: the parts of the data that are evaluated.
        evaluate_at_end_on: further parts, evaluated after the last step alone.
        diagnose_every: run the diagnostics after so many steps, likewise.
        precision: of the arithmetic.
        diverged_above: a loss above this, or one that is not finite, makes the run `diverged`.
        stop_when_diverged: end the run then; otherwise it goes on, and what it answers is evaluated.
    """

    steps: int | None = None
    epochs: float | None = None
    batch_size: int = 128
    loss_after_update: bool = False
    evaluate_every: int | None = None
    evaluate_from: int = 0
    evaluate_on: list[Literal["train", "validation", "test"]] = ("validation", "test")
    evaluate_at_end_on: list[Literal["train", "validation", "test"]] = ()
    diagnose_every: int | None = None
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    diverged_above: float = 1e8
    stop_when_diverged: bool = True

    def total_steps(self, examples):
        """Return the number of updates for a training set of so many examples.

        Raises:
            ValueError: not exactly one of `steps` and `epochs` is given, or a number is out of range.
        """
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("training: give either steps or epochs")
        if self.batch_size < 1 or (self.steps or 0) < 0 or (self.epochs or 0) < 0:
            raise ValueError("training: batch_size must be at least 1, steps and epochs at least 0")
        return self.steps if self.epochs is None else int(self.epochs * max(examples / self.batch_size, 1))


@dataclass
class History:
    """What happened in a run.

    Args:
        steps: updates done.
        diverged_at: for each net of a stack (one alone is a stack of one) the first step whose loss was
            not finite or too large; 0 where there is none.
        series: {name: (steps, values)}, the values at those steps; of a stack, each with S in front.
        seconds: {what: wall time}, of `training`, `evaluating` and `diagnosing`.
    """

    steps: int = 0
    diverged_at: np.ndarray | None = None
    series: dict = field(default_factory=dict)
    seconds: dict = field(default_factory=lambda: dict.fromkeys(("training", "evaluating", "diagnosing"), 0.0))

    def add(self, step, values):
        """Append {name: value} at a step."""
        for name, value in values.items():
            steps, past = self.series.setdefault(name, ([], []))
            steps.append(step)
            past.append(value)

    def state(self):
        """Return the same as tensors and plain data."""
        series = {
            name: (torch.tensor(at), torch.from_numpy(np.array(past))) for name, (at, past) in self.series.items()
        }
        diverged_at = None if self.diverged_at is None else torch.from_numpy(self.diverged_at)
        return {"steps": self.steps, "diverged_at": diverged_at, "series": series, "seconds": dict(self.seconds)}

    @classmethod
    def of(cls, state):
        """Return the History whose state this is."""
        series = {name: (at.tolist(), list(past.numpy())) for name, (at, past) in state["series"].items()}
        diverged_at = None if state["diverged_at"] is None else state["diverged_at"].numpy()
        return cls(state["steps"], diverged_at, series, dict(state["seconds"]))


def fit(
    model,
    objective,
    batches,
    update,
    training,
    *,
    schedule=None,
    evaluate=None,
    diagnostics=(),
    progress=None,
    checkpoint=None,
    resume=None,
):
    """Train `model` in place: one update for every batch, until they end or the loss diverges.

    Args:
        model: an nn.Module, or a stack of S; a stack goes on until all its losses have diverged.
        objective: (model, batch) -> (loss, {metric: tensor}), () or, of a stack, (S,).
        batches: an iterator; as many updates are done as it yields.
        update: its step() applies the gradients and clears them.
        training: a Training; of it, everything but the length and the batch size is used here.
        schedule: called before every update with the number of those done, to set the learning rate; or None.
        evaluate: (model, parts) -> {metric: number}, of the parts of the data so called, or None.
        diagnostics: functions (step) -> {name: array}; one that remembers has a `state`, a list of tensors.
        progress: called as (step, losses), (S,), after every 100 steps and at the end, or None.
        checkpoint: called after every step with a function that returns the state of this loop, or None.  With the
            states of the model, of the optimizer and of the random streams, training can go on from there.
        resume: such a state, or None; `batches` are those that follow.

    Returns:
        A History, with the series `loss` and the objective's metrics at every step, and what
        `evaluate` and the diagnostics gave.
    """
    history = History() if resume is None else History.of(resume["history"])
    observers = [(training.diagnose_every, 0, "diagnosing", diagnose) for diagnose in diagnostics]
    if evaluate is not None:
        when = training.evaluate_every, training.evaluate_from
        observers.append((*when, "evaluating", lambda step: evaluate(model, training.evaluate_on)))

    seen = {} if resume is None else dict(resume["seen"])
    remembering = [diagnose.state for diagnose in diagnostics if hasattr(diagnose, "state")]

    def look(step, what, observer):
        start = time.perf_counter()
        history.add(step, observer(step))
        history.seconds[what] += time.perf_counter() - start

    def observe(step, always=False):
        for index, (every, first, what, observer) in enumerate(observers):
            if seen.get(index) != step and (always or (every and step >= first and (step - first) % every == 0)):
                seen[index] = step
                look(step, what, observer)

    def state():
        return {
            "history": history.state(),
            "pending": [{name: value.cpu() for name, value in metrics.items()} for metrics in pending],
            "seen": dict(seen),
            "remembered": [[tensor.cpu() for tensor in tensors] for tensors in remembering],
            "elapsed": time.perf_counter() - start,
        }

    start = time.perf_counter()
    pending = []
    if resume is None:
        observe(0, always=True)
    else:
        start -= resume["elapsed"]
        pending = [dict(metrics) for metrics in resume["pending"]]
        for tensors, past in zip(remembering, resume["remembered"], strict=True):
            for tensor, value in zip(tensors, past, strict=True):
                tensor.copy_(value)
    for batch in batches:
        loss, metrics = objective(model, batch)
        loss.sum().backward()
        if schedule is not None:
            schedule(history.steps + len(pending))
        update.step()
        if training.loss_after_update:
            with evaluating(model):
                loss, metrics = objective(model, batch)
        pending.append({"loss": loss.detach(), **metrics})
        if len(pending) == CHECK_EVERY_STEPS:
            _collect(history, pending, training.diverged_above, progress)
            if training.stop_when_diverged and history.diverged_at.all():
                break
        observe(history.steps + len(pending))
        if checkpoint is not None:
            checkpoint(state)
    _collect(history, pending, training.diverged_above, progress)
    observe(history.steps, always=True)
    further = [part for part in training.evaluate_at_end_on if part not in training.evaluate_on]
    if evaluate is not None and further:
        look(history.steps, "evaluating", lambda step: evaluate(model, further))
    history.seconds["training"] = time.perf_counter() - start - sum(history.seconds.values())
    return history


def evaluate(model, objective, batches):
    """Return {metric: mean over the examples, () or (S,)}, `loss` among them, in evaluation mode."""
    totals, count = {}, 0
    with evaluating(model):
        for batch in batches:
            loss, metrics = objective(model, batch)
            size = batch.labels.shape[-1]
            count += size
            for name, value in {"loss": loss, **metrics}.items():
                totals[name] = totals.get(name, 0) + value.double() * size
    return {name: (total / count).cpu().numpy() for name, total in totals.items()}


@contextlib.contextmanager
def evaluating(model):
    """Put the model in evaluation mode, without gradients, for the block."""
    was_training = model.training
    model.eval()
    with torch.no_grad():
        yield
    model.train(was_training)


def _collect(history, pending, diverged_above, progress):
    """Move the pending metrics, tensors on the device, into the history, and look whether they diverged."""
    if not pending:
        return
    first = history.steps + 1
    history.steps += len(pending)
    for name in pending[0]:
        values = [metrics[name] for metrics in pending]
        values = torch.stack([value.to(values[-1].device) for value in values]).cpu()
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()  # numpy has no bfloat16
        steps, past = history.series.setdefault(name, ([], []))
        steps.extend(range(first, history.steps + 1))
        past.extend(values)
        if name == "loss":
            losses = values.reshape(len(values), -1)
            bad = ~(np.isfinite(losses) & (losses <= diverged_above))
            found = np.where(bad.any(0), first + bad.argmax(0), 0)
            past = history.diverged_at
            history.diverged_at = found if past is None else np.where(past, past, found)
            if progress is not None:
                progress(history.steps, losses[-1])
    pending.clear()
