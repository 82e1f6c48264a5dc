"""The training loop; it refers to no method by name."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from goodinit.methods.contracts import Examples, Metrics, Objective, Update
from goodinit.studies.training import Training
from goodinit.training.devices import wait_for_gpu
from goodinit.training.history import History

__all__ = ["Callback", "Loop", "evaluate", "evaluating", "fit"]

FETCH_INTERVAL = 100  # steps after which losses are fetched from the device and checked


class Callback:
    """Base class of what happens between updates; a subclass overrides the methods that it needs."""

    def start(self, loop: "Loop") -> None:
        """Called once before the first update, but not when training is resumed."""

    def before_update(self, loop: "Loop") -> None:
        """Called after the gradients are computed and before they are applied."""

    def losses_fetched(self, loop: "Loop", losses: NDArray[np.floating]) -> None:
        """Called every `FETCH_INTERVAL` updates and after the last one with the latest losses, (S,)."""

    def after_update(self, loop: "Loop") -> None:
        """Called after every update, except that after which a diverged run ends."""

    def end(self, loop: "Loop") -> None:
        """Called once after the last update."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the callback as tensors and plain data."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""


class Loop:
    """The state of a training run between two updates.

    Attributes:
        history: the history of the steps whose losses have been fetched from the device.
        callbacks: the callbacks of the training run.
    """

    def __init__(self, diverged_above: float, callbacks: Sequence[Callback]) -> None:
        self.history, self.callbacks = History(), callbacks
        self._diverged_above = diverged_above
        self._pending: list[Metrics] = []  # of each step after those in the history, on the device
        self._start = time.perf_counter()

    @property
    def step(self) -> int:
        """The number of updates so far."""
        return self.history.steps + len(self._pending)

    @property
    def diverged(self) -> bool:
        """Whether all losses have diverged, as far as they have been fetched."""
        return bool(self.history.diverged_at is not None and self.history.diverged_at.all())

    def add(self, metrics: Metrics) -> None:
        """Append the metrics of one update; they stay on the device until `FETCH_INTERVAL` of them have accumulated."""
        self._pending.append(metrics)
        if len(self._pending) == FETCH_INTERVAL:
            self.fetch()

    def fetch(self) -> None:
        """Move the metrics that are still on the device into the history, and check the losses."""
        if not self._pending:
            return
        first = self.history.steps + 1
        self.history.steps += len(self._pending)
        fetched = {name: _fetch([metrics[name] for metrics in self._pending]) for name in self._pending[0]}
        self._pending.clear()
        for name, values in fetched.items():
            self.history.extend(name, list(range(first, self.history.steps + 1)), list(values))
        losses = fetched["loss"].reshape(len(fetched["loss"]), -1)
        bad = ~(np.isfinite(losses) & (losses <= self._diverged_above))
        diverged_at = np.where(bad.any(0), first + bad.argmax(0), 0)
        earlier = self.history.diverged_at
        self.history.diverged_at = diverged_at if earlier is None else np.where(earlier, earlier, diverged_at)
        for callback in self.callbacks:
            callback.losses_fetched(self, losses[-1])

    @contextlib.contextmanager
    def timed(self, activity: str) -> Iterator[None]:
        """Count the wall time of the block as that of an activity; on a GPU, wait before and after it."""
        wait_for_gpu()
        start = time.perf_counter()
        yield
        wait_for_gpu()
        self.history.seconds[activity] += time.perf_counter() - start

    def finish(self) -> History:
        """Return the history; the wall time of no other activity is that of training."""
        wait_for_gpu()
        elapsed = time.perf_counter() - self._start
        self.history.seconds["training"] = elapsed - sum(self.history.seconds.values())
        return self.history

    def state_dict(self) -> dict[str, Any]:
        """Return the state as tensors on the CPU and plain data."""
        return {
            "step": self.step,
            "history": self.history.state_dict(),
            "pending": [{name: value.cpu() for name, value in metrics.items()} for metrics in self._pending],
            "callbacks": [callback.state_dict() for callback in self.callbacks],
            "elapsed": time.perf_counter() - self._start,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self.history = History.from_state_dict(state["history"])
        self._pending = [dict(metrics) for metrics in state["pending"]]
        self._start = time.perf_counter() - state["elapsed"]
        for callback, callback_state in zip(self.callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(callback_state)


def fit(
    model: nn.Module,
    objective: Objective,
    batches: Iterable[Examples],
    update: Update,
    training: Training,
    callbacks: Sequence[Callback] = (),
    resume: Mapping[str, Any] | None = None,
) -> History:
    """Train a model in place, with one update for each mini-batch, until they end or the loss diverges.

    Args:
        model: the model, or a stack of S models, which is trained until all its losses have diverged.
        objective: (model, batch) -> (loss, {metric: tensor}), each () or, for a stack, (S,).
        batches: the mini-batches.
        update: the object whose step() applies the gradients and clears them.
        training: the options of the training run, of which the length and the batch size are not used.
        callbacks: called in this order.
        resume: the state of the loop from which training is resumed, or None; `batches` are the remaining ones.

    Returns:
        The history, with the series `loss` and the metrics of the objective at every step, and those that the
        callbacks add.
    """
    loop = Loop(training.diverged_above, callbacks)
    if resume is not None:
        loop.load_state_dict(resume)
    else:
        for callback in callbacks:
            callback.start(loop)
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


def evaluate(model: nn.Module, objective: Objective, batches: Iterable[Examples]) -> dict[str, NDArray[np.float64]]:
    """Return {metric: mean over the examples, () or (S,)}, including `loss`, in evaluation mode."""
    totals: Metrics = {}
    count = 0
    with evaluating(model):
        for batch in batches:
            loss, metrics = objective(model, batch)
            size = batch.labels.shape[-1]
            count += size
            for name, value in {"loss": loss, **metrics}.items():
                totals[name] = value.double() * size + totals.get(name, 0.0)
    return {name: (total / count).cpu().numpy() for name, total in totals.items()}


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode, without gradients, inside the block."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def _fetch(values: list[Tensor]) -> NDArray[np.floating]:
    """Return values of successive steps, which may be on different devices, as one array."""
    stacked = torch.stack([value.to(values[-1].device) for value in values]).cpu()
    array: NDArray[np.floating] = (stacked.float() if stacked.dtype == torch.bfloat16 else stacked).numpy()
    return array  # numpy has no bfloat16
