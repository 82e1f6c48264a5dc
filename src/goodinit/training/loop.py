"""The training loop, the only one; it knows no method by name."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Callback", "History", "Loop", "Training", "Update", "evaluate", "evaluating", "fit"]

CHECK_EVERY_STEPS = 100  # losses are fetched from the device, and checked, this often


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long a run is trained, with which batches, and how often it is observed.

    Args:
        steps: number of updates; give this or `epochs`.
        epochs: passes over the training examples, each of `examples / batch_size` updates.
        batch_size: examples in a mini-batch.
        loss_after_update: log the mini-batch's loss after the update that it caused, with the model in
            evaluation mode, instead of before; it costs a second forward pass.
        evaluate_every: evaluate every so many steps; always at step 0 and at the last.
        evaluate_from: the step that `evaluate_every` counts from.
        evaluate_on: the parts of the data that are evaluated.
        evaluate_at_end_on: further parts, evaluated after the last step alone.
        diagnose_every: run the diagnostics every so many steps, likewise.
        precision: of the arithmetic.
        diverged_above: a loss above this, or one that is not finite, makes the run `diverged`.
        stop_when_diverged: end the run then; otherwise it continues, and its predictions are evaluated.
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

    def total_steps(self, examples: int) -> int:
        """Return the number of updates for a training set of `examples` examples.

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
        steps: number of updates.
        diverged_at: for each net of a stack (one alone is a stack of one) the first step whose loss was
            not finite or too large; 0 where there is none.
        series: {name: (steps, values)}, the values at those steps; of a stack, each with S in front.
        seconds: {activity: wall time}, of `training`, `evaluating` and `diagnosing`.
    """

    steps: int = 0
    diverged_at: np.ndarray | None = None
    series: dict[str, tuple[list[int], list]] = field(default_factory=dict)
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("training", "evaluating", "diagnosing"), 0.0)
    )

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Append {name: value} at a step."""
        for name, value in values.items():
            steps, past = self.series.setdefault(name, ([], []))
            steps.append(step)
            past.append(value)

    def state_dict(self) -> dict[str, Any]:
        """Return the history as tensors and plain data."""
        series = {
            name: (torch.tensor(at), torch.from_numpy(np.array(past))) for name, (at, past) in self.series.items()
        }
        diverged_at = None if self.diverged_at is None else torch.from_numpy(self.diverged_at)
        return {"steps": self.steps, "diverged_at": diverged_at, "series": series, "seconds": dict(self.seconds)}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> "History":
        """Return the History with this state."""
        series = {name: (at.tolist(), list(past.numpy())) for name, (at, past) in state["series"].items()}
        diverged_at = None if state["diverged_at"] is None else state["diverged_at"].numpy()
        return cls(state["steps"], diverged_at, series, dict(state["seconds"]))


class Update(Protocol):
    """Applies the gradients of one mini-batch to the model, and clears them."""

    def step(self) -> None:
        """Apply and clear the gradients."""


class Callback:
    """What is done beside the updates; a subclass overrides the methods that it needs."""

    def start(self, loop: "Loop") -> None:
        """Called once before the first update; not where training is resumed."""

    def before_update(self, loop: "Loop") -> None:
        """Called between the gradients and the update."""

    def losses_fetched(self, loop: "Loop", losses: np.ndarray) -> None:
        """Called after every 100 updates and after the last with the latest losses, (S,)."""

    def after_update(self, loop: "Loop") -> None:
        """Called after every update that the training does not end with."""

    def end(self, loop: "Loop") -> None:
        """Called once after the last update."""

    def state_dict(self) -> dict[str, Any]:
        """Return, as tensors and plain data, what the callback remembers."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""


class Loop:
    """The state of a training between two updates.

    Attributes:
        history: what happened until the last time that losses were fetched from the device.
        callbacks: those of the training.
    """

    def __init__(self, diverged_above: float, callbacks: Sequence[Callback]) -> None:
        self.history, self.callbacks = History(), callbacks
        self._diverged_above = diverged_above
        self._pending: list[dict[str, Tensor]] = []  # metrics of each update since then, on the device
        self._start = time.perf_counter()

    @property
    def step(self) -> int:
        """The number of updates so far."""
        return self.history.steps + len(self._pending)

    @property
    def diverged(self) -> bool:
        """Whether all losses have diverged, as far as they have been fetched."""
        return bool(self.history.diverged_at is not None and self.history.diverged_at.all())

    def add(self, metrics: dict[str, Tensor]) -> None:
        """Append the metrics of one update, which stay on the device until `CHECK_EVERY_STEPS` of them are there."""
        self._pending.append(metrics)
        if len(self._pending) == CHECK_EVERY_STEPS:
            self.fetch()

    def fetch(self) -> None:
        """Move the metrics that are still on the device into the history, and check the losses."""
        if not self._pending:
            return
        first = self.history.steps + 1
        self.history.steps += len(self._pending)
        for name in self._pending[0]:
            values = [metrics[name] for metrics in self._pending]
            values = torch.stack([value.to(values[-1].device) for value in values]).cpu()
            values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()  # numpy has no bfloat16
            steps, past = self.history.series.setdefault(name, ([], []))
            steps.extend(range(first, self.history.steps + 1))
            past.extend(values)
            if name == "loss":
                losses = values.reshape(len(values), -1)
        self._pending.clear()
        bad = ~(np.isfinite(losses) & (losses <= self._diverged_above))
        diverged_at = np.where(bad.any(0), first + bad.argmax(0), 0)
        earlier = self.history.diverged_at
        self.history.diverged_at = diverged_at if earlier is None else np.where(earlier, earlier, diverged_at)
        for callback in self.callbacks:
            callback.losses_fetched(self, losses[-1])

    @contextlib.contextmanager
    def timed(self, activity: str) -> Iterator[None]:
        """Count the wall time of the block as that of an activity."""
        start = time.perf_counter()
        yield
        self.history.seconds[activity] += time.perf_counter() - start

    def finish(self) -> History:
        """Return the history; what is left of the wall time was training."""
        elapsed = time.perf_counter() - self._start
        self.history.seconds["training"] = elapsed - sum(self.history.seconds.values())
        return self.history

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors on the CPU and plain data, from which training can be resumed."""
        return {
            "step": self.step,
            "history": self.history.state_dict(),
            "pending": [{name: value.cpu() for name, value in metrics.items()} for metrics in self._pending],
            "callbacks": [callback.state_dict() for callback in self.callbacks],
            "elapsed": time.perf_counter() - self._start,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.history = History.from_state_dict(state["history"])
        self._pending = [dict(metrics) for metrics in state["pending"]]
        self._start = time.perf_counter() - state["elapsed"]
        for callback, past in zip(self.callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(past)


def fit(
    model: nn.Module,
    objective: Callable[[nn.Module, Any], tuple[Tensor, dict[str, Tensor]]],
    batches: Iterable[Any],
    update: Update,
    training: Training,
    callbacks: Sequence[Callback] = (),
    resume: Mapping[str, Any] | None = None,
) -> History:
    """Train `model` in place: one update for every batch, until they end or the loss diverges.

    Args:
        model: the model, or a stack of S; a stack is trained until all its losses have diverged.
        objective: (model, batch) -> (loss, {metric: tensor}), () or, of a stack, (S,).
        batches: as many updates are done as it yields.
        update: its step() applies the gradients and clears them.
        training: of it, everything but the length and the batch size is used here.
        callbacks: what is done beside the updates, in this order.
        resume: a Loop's state, or None; `batches` are those that follow.

    Returns:
        A History with the series `loss` and the objective's metrics at every step, and what the callbacks added.
    """
    loop = Loop(training.diverged_above, callbacks)
    if resume is None:
        for callback in callbacks:
            callback.start(loop)
    else:
        loop.load_state_dict(resume)
    for batch in batches:
        loss, metrics = objective(model, batch)
        loss.sum().backward()
        for callback in callbacks:
            callback.before_update(loop)
        update.step()
        if training.loss_after_update:
            with evaluating(model):
                loss, metrics = objective(model, batch)
        loop.add({"loss": loss.detach(), **metrics})
        if training.stop_when_diverged and loop.diverged:
            break
        for callback in callbacks:
            callback.after_update(loop)
    loop.fetch()
    for callback in callbacks:
        callback.end(loop)
    return loop.finish()


def evaluate(
    model: nn.Module,
    objective: Callable[[nn.Module, Any], tuple[Tensor, dict[str, Tensor]]],
    batches: Iterable[Any],
) -> dict[str, np.ndarray]:
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
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode, without gradients, for the block."""
    was_training = model.training
    model.eval()
    with torch.no_grad():
        yield
    model.train(was_training)
