"""Progressive Data Increasing: training on nested subsets that grow, then on all training examples."""

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from goodinit.methods.contracts import Examples
from goodinit.methods.curricula.batches import BatchSchedule, draw_indices, gather
from goodinit.methods.curricula.subset_selection import SELECTIONS, select

__all__ = ["Stages", "plan_stages", "progressive", "subset_sizes"]


@dataclass(frozen=True)
class Stages:
    """The stages of Progressive Data Increasing, without the examples themselves.

    Args:
        members: for each stage the indices, int64 (M,), of the examples that it draws from.
        steps: for each stage the number of its updates.
        batch_size: examples in a batch; a stage of fewer examples has all of them in each batch.
    """

    members: tuple[Tensor, ...]
    steps: tuple[int, ...]
    batch_size: int

    @property
    def starts(self) -> tuple[int, ...]:
        """The numbers of updates after which the second and each later stage begins."""
        return tuple(itertools.accumulate(self.steps[:-1]))

    @property
    def subset(self) -> Tensor | None:
        """The indices, int64 (M,), of the largest subset in the order of selection; None if there is no subset."""
        return self.members[-2] if len(self.members) > 1 else None

    def indices(self, generator: torch.Generator, subset_generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the indices, int64 (batch size,), of each batch of all stages.

        Args:
            generator: draws the order of the last stage, with all examples.
            subset_generator: draws the orders of the other stages.
        """
        last = len(self.members) - 1
        for stage, (members, steps) in enumerate(zip(self.members, self.steps, strict=True)):
            stream = generator if stage == last else subset_generator
            yield from draw_indices(members, min(self.batch_size, len(members)), steps, stream)


def progressive(
    train: Examples,
    batch_size: int,
    steps: int,
    generator: torch.Generator,
    subset_generator: torch.Generator,
    *,
    fractions: list[float] = (0.001,),
    stage_steps: list[int] = (1000,),
    selection: Literal["random", "class_balanced", "k_center", "herding"] = "random",
    carry_optimizer: bool = False,
) -> BatchSchedule:
    r"""Progressive Data Increasing: first a subset, or several that grow, then all training examples.

    The weights after the subset are the initial weights of the training on all examples:

    .. math:: \theta_0 = \arg\min_\theta L(S, \theta), \qquad S \subset D

    Subsets are nested: each is a beginning of the same selected order.  In a stage of fewer examples than
    `batch_size`, a batch has all of them.

    Deviation: the paper has one subset, drawn at random; several stages, and the other selections, are among its
    future work.  It does not say whether the optimizer's state is carried over; an initialization has none.

    Args:
        train, batch_size, steps, generator: as in `full`; `steps` is the number of updates of all stages together.
        subset_generator: draws the selection and the order of its examples, so that the batches of the last stage are
            those of `full`.
        fractions: share of the training examples in each stage but the last, increasing, more than 0 and at most 1.
        stage_steps: number of updates of each of these stages; the last stage, with all examples, has the rest of
            `steps`.
        selection: the strategy, as in `subset_selection.select`; images are compared reduced to 8 x 8 pixels.
        carry_optimizer: do not reset the optimizer at the beginning of a stage.

    Returns:
        A BatchSchedule of `steps` batches.

    Raises:
        ValueError: there are not as many `stage_steps` as `fractions`, an option is out of its range, there are
            more classes than examples in a class-balanced subset, or the selection compares images and there are none.

    Reference: Sato & Kimura, Progressive Data Increasing (2019), section 2.2.
    """
    stages = plan_stages(
        len(train.labels),
        batch_size=batch_size,
        steps=steps,
        fractions=fractions,
        stage_steps=stage_steps,
        selection=selection,
        generator=subset_generator,
        labels=train.labels,
        features=train.images,
    )
    indices = stages.indices(generator, subset_generator)
    batches = (functools.partial(gather, train, chosen) for chosen in indices)
    return BatchSchedule(batches, () if carry_optimizer else stages.starts, stages.subset)


def plan_stages(
    count: int,
    *,
    batch_size: int,
    steps: int,
    fractions: Sequence[float],
    stage_steps: Sequence[int],
    selection: str,
    generator: torch.Generator,
    labels: Tensor | None,
    features: Tensor | None,
) -> Stages:
    """Select the largest subset and return the stages.

    Args:
        count: number of training examples.
        batch_size, steps, fractions, stage_steps, selection: as in `progressive`.
        generator: draws the selection.
        labels, features: as in `subset_selection.select`.

    Raises:
        ValueError: as in `progressive`.
    """
    if len(fractions) != len(stage_steps):
        raise ValueError(f"progressive: {len(fractions)} fractions and {len(stage_steps)} stage_steps: give one each")
    if sum(stage_steps) > steps or min(stage_steps, default=0) < 0:
        raise ValueError(f"progressive: stage_steps: {list(stage_steps)}: not at least 0 and together at most {steps}")
    if selection not in SELECTIONS:
        raise ValueError(f"progressive: selection: {selection!r}: allowed: {', '.join(SELECTIONS)}")
    sizes = subset_sizes(count, fractions)
    if selection == "class_balanced" and sizes and labels is not None and sizes[0] < len(labels.unique()):
        raise ValueError(
            f"progressive: fractions: {fractions[0]} of {count} examples is {sizes[0]}, fewer than the "
            f"{len(labels.unique())} classes that class_balanced has one of each of"
        )
    chosen = select(selection, count, sizes[-1], generator, labels=labels, features=features) if sizes else None
    members = (*(chosen[:size] for size in sizes), torch.arange(count))
    return Stages(members, (*stage_steps, steps - sum(stage_steps)), batch_size)


def subset_sizes(count: int, fractions: Sequence[float]) -> list[int]:
    """Return the number of examples, at least 1, in each fraction of `count`.

    Raises:
        ValueError: a fraction is not more than 0 and at most 1, or they do not increase.
    """
    if not all(0 < fraction <= 1 for fraction in fractions) or any(a > b for a, b in itertools.pairwise(fractions)):
        raise ValueError(f"progressive: fractions: {list(fractions)}: not more than 0, at most 1, and growing")
    return [max(round(fraction * count), 1) for fraction in fractions]
