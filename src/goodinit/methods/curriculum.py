"""Curricula: which training examples each mini-batch is made of, in order."""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional

__all__ = ["full", "progressive", "streamed"]


@dataclass
class Course:
    """An iterator over mini-batches, with what is to be known of them.

    Args:
        batches: functions that make the mini-batches, so that those that are skipped are not made.
        starts: after how many updates the optimizer forgets the past; a schedule of the learning rate goes on.
        subset: the places, int64 (M,), of the training examples seen before the last stage, in the order in which
            they were selected; None where all are seen from the beginning.
    """

    batches: Iterator
    starts: tuple = ()
    subset: torch.Tensor | None = None

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.batches)()

    def skip(self, steps):
        """Leave out the next mini-batches: so many were seen before."""
        for _ in itertools.islice(self.batches, steps):
            pass


def full(train, *, batch_size, steps, generator, subset_generator=None, replacement: bool = False):
    """All training examples, in random order.

    Args:
        train: an Examples.
        batch_size: examples in a batch; more than there are is refused without replacement.
        steps: how many batches.
        generator: draws the order.
        subset_generator: not used.
        replacement: draw every batch from the whole set anew; otherwise an epoch is a random
            permutation of the examples, cut into batches, and what is left over is not seen in it.

    Returns:
        A Course of `steps` batches of `batch_size` examples.

    Raises:
        ValueError: without replacement, `batch_size` is larger than the number of examples.
    """
    count = len(train.labels)
    if not replacement and batch_size > count:
        raise ValueError(f"full: batch_size: {batch_size} is more than the {count} training examples")
    return Course(_draw(train, torch.arange(count), batch_size, steps, generator, replacement))


def streamed(train, *, batch_size, steps, generator, subset_generator=None, chunk: int = 64, buffer: int = 64):
    """All training examples, read from where they lie chunk by chunk: for a set larger than memory.

    Chunks of neighbors are drawn in random order; so many are read into a buffer, one after the other, and their
    examples shuffled.  An epoch has every example once, and what is left over comes first in the next.

    Deviation: an order is less random than that of `full`: batches near each other are of the same chunks.  Pictures
    are prepared in random order, so that the chunks are random, too.

    Args:
        train, batch_size, steps, generator, subset_generator: as in `full`.
        chunk: neighbors that are read together.
        buffer: how many chunks are shuffled together; memory is needed for these, and for two batches.

    Returns:
        A Course of `steps` batches of `batch_size` examples.

    Raises:
        ValueError: an option is less than 1, or `batch_size` is larger than the number of examples.
    """
    count = len(train.labels)
    if chunk < 1 or buffer < 1:
        raise ValueError(f"streamed: chunk and buffer must be at least 1, not {chunk}, {buffer}")
    if batch_size > count:
        raise ValueError(f"streamed: batch_size: {batch_size} is more than the {count} training examples")
    return Course(_stream(train, batch_size, steps, generator, chunk, buffer))


def progressive(
    train,
    *,
    batch_size,
    steps,
    generator,
    subset_generator=None,
    fractions: list[float] = (0.001,),
    stage_steps: list[int] = (1000,),
    selection: Literal["random", "class_balanced", "k_center", "herding"] = "random",
    carry_optimizer: bool = False,
):
    r"""Progressive Data Increasing: first a subset, or several that grow, then all training examples.

    What the weights are after the subset is the initialization of the training on everything:

    .. math:: \theta_0 = \arg\min_\theta L(S, \theta), \qquad S \subset D

    Subsets are nested: each is a beginning of the same selected order.  In a stage of fewer examples than
    `batch_size`, a batch has all of them.

    Deviation: the paper has one subset, drawn at random; several stages, and the other selections, are what it
    leaves to the future.  It does not say whether the optimizer's state is carried on; an initialization has none.

    Args:
        train, batch_size, steps, generator: as in `full`; `steps` are those of all stages together.
        subset_generator: draws the selection and the order of its images, so that on everything the batches are those
            of `full`.
        fractions: of the training examples in each stage but the last, growing, more than 0 and at most 1.
        stage_steps: updates of each of these stages; the last stage, with everything, has what is left of `steps`.
        selection: `random`; `class_balanced`, as many of each class, as far as it goes; `k_center`, always the image
            farthest from all those chosen; or `herding`, always the image that brings the mean of those chosen
            nearest to the mean of all.  The last two compare images reduced to 8 x 8 pixels.
        carry_optimizer: do not start the optimizer anew in each stage.

    Returns:
        A Course of `steps` batches.

    Raises:
        ValueError: there are not as many `stage_steps` as `fractions`, an option is out of its range, or there are
            more classes than images in a class-balanced subset.

    Reference: Sato & Kimura, Progressive Data Increasing (2019), section 2.2; for `k_center` Gonzalez, Clustering to
        minimize the maximum intercluster distance (1985); for `herding` Welling, Herding dynamical weights to
        learn (2009).
    """
    if len(fractions) != len(stage_steps):
        raise ValueError(f"progressive: {len(fractions)} fractions and {len(stage_steps)} stage_steps: give one each")
    if sum(stage_steps) > steps or min(stage_steps, default=0) < 0:
        raise ValueError(f"progressive: stage_steps: {list(stage_steps)}: not at least 0 and together at most {steps}")
    if not all(0 < one <= 1 for one in fractions) or any(a > b for a, b in itertools.pairwise(fractions)):
        raise ValueError(f"progressive: fractions: {list(fractions)}: not more than 0, at most 1, and growing")
    count = len(train.labels)
    sizes = [max(round(fraction * count), 1) for fraction in fractions]
    classes = len(train.labels.unique())
    if selection == "class_balanced" and sizes and sizes[0] < classes:
        raise ValueError(
            f"progressive: fractions: {fractions[0]} of {count} examples is {sizes[0]}, fewer than the {classes} "
            "classes that class_balanced has one of each of"
        )
    order = SELECTIONS[selection](train, sizes[-1], subset_generator) if sizes else None
    stages = [(order[:size], updates) for size, updates in zip(sizes, stage_steps, strict=True)]
    stages.append((torch.arange(count), steps - sum(stage_steps)))
    streams = [subset_generator] * len(sizes) + [generator]
    batches = itertools.chain.from_iterable(
        _draw(train, places, min(batch_size, len(places)), updates, stream, replacement=False)
        for (places, updates), stream in zip(stages, streams, strict=True)
    )
    starts = () if carry_optimizer else tuple(itertools.accumulate(stage_steps))
    return Course(batches, starts, order)


def _draw(train, places, batch_size, steps, generator, replacement):
    """Yield functions that make batches of the examples at these places."""
    count, order = len(places), torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if replacement:
            chosen = torch.randint(count, (batch_size,), generator=generator)
        else:
            if len(order) < batch_size:
                order = torch.randperm(count, generator=generator)
            chosen, order = order[:batch_size], order[batch_size:]
        yield functools.partial(_gather, train, places[chosen])


def _gather(train, chosen):
    chosen = chosen.to(train.labels.device, non_blocking=True)
    return type(train)(train.images.index_select(0, chosen), train.labels.index_select(0, chosen))


def _stream(train, batch_size, steps, generator, chunk, buffer):
    """Yield functions that make batches of what is in one buffer, which the first of them fills."""
    count = len(train.labels)
    read = _buffered(train, min(chunk * buffer, count) + batch_size)
    starts = order = places = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        while len(order) < batch_size:
            if not len(starts):
                starts = torch.randperm(-(-count // chunk), generator=generator) * chunk
            some, starts = starts[:buffer].tolist(), starts[buffer:]
            left, fresh = places[order], torch.cat([torch.arange(one, min(one + chunk, count)) for one in some])
            places = torch.cat([left, fresh])
            order = torch.cat([torch.arange(len(left)), len(left) + torch.randperm(len(fresh), generator=generator)])
            held = functools.cache(functools.partial(read, places))
        chosen, order = order[:batch_size], order[batch_size:]
        yield functools.partial(_gather_held, held, chosen)


def _buffered(train, rows):
    """Return a function that reads examples at some places into a buffer of so many rows, always the same."""
    buffers = []

    def read(places):
        if not buffers:
            buffers.extend(whole.new_empty(rows, *whole.shape[1:]) for whole in train)
        places = places.to(train.labels.device)
        return type(train)(
            *(
                torch.index_select(whole, 0, places, out=held[: len(places)])
                for whole, held in zip(train, buffers, strict=True)
            )
        )

    return read


def _gather_held(held, chosen):
    return _gather(held(), chosen)


def _random(train, size, generator):
    return torch.randperm(len(train.labels), generator=generator)[:size]


def _class_balanced(train, size, generator):
    """Take one of each class in turn, in a random order of each."""
    shuffled = torch.randperm(len(train.labels), generator=generator)
    labels = train.labels.cpu()[shuffled]
    turn = torch.empty_like(labels)
    for label in labels.unique():
        of_class = labels == label
        turn[of_class] = torch.arange(int(of_class.sum()))
    return shuffled[turn.argsort(stable=True)][:size]


def _k_center(train, size, generator):
    images = _reduced(train.images)
    squares = images.square().sum(1)
    chosen = [int(torch.randint(len(images), (), generator=generator))]
    nearest = torch.full_like(squares, float("inf"))
    while len(chosen) < size:
        last = chosen[-1]
        nearest = torch.minimum(nearest, squares + squares[last] - 2 * (images @ images[last]))
        nearest[last] = -1  # no image twice, also where two are alike
        chosen.append(int(nearest.argmax()))
    return torch.tensor(chosen)


def _herding(train, size, generator):
    images = _reduced(train.images)
    images -= images.mean(0)
    squares, total = images.square().sum(1), torch.zeros(images.shape[1], device=images.device)
    chosen, taken = [], torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for _ in range(size):
        distance = squares + 2 * (images @ total)  # of the new mean to the mean of all, but for what is the same
        chosen.append(int(distance.masked_fill_(taken, float("inf")).argmin()))
        total += images[chosen[-1]]
        taken[chosen[-1]] = True
    return torch.tensor(chosen)


def _reduced(images):
    """Return images (N, C, H, W) as float rows (N, features), of 8 x 8 pixels."""
    if images.ndim != 4:
        raise ValueError("progressive: selection: k_center and herding compare images, and these are none")
    parts = [functional.adaptive_avg_pool2d(part.float() / 255, 8).flatten(1) for part in images.split(1000)]
    return torch.cat(parts)


SELECTIONS = {"random": _random, "class_balanced": _class_balanced, "k_center": _k_center, "herding": _herding}
