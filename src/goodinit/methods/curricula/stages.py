"""Progressive Data Increasing: training on growing nested subsets, then on all training examples."""

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from goodinit.methods.contracts import AnyExamples
from goodinit.methods.curricula.batches import BatchSchedule, draw_indices, gather
from goodinit.methods.curricula.subset_selection import SELECTIONS, Selection, select

__all__ = ["Stages", "plan_stages", "progressive", "subset_sizes"]


@dataclass(frozen=True)
class Stages:
    """The stages of Progressive Data Increasing, as indices of examples.

    Args:
        members: for each stage the indices, int64 (M,), of the examples that it draws from.
        steps: for each stage the number of its updates.
        batch_size: examples in a batch; in a stage with fewer examples, each batch contains all of them.
    """

    members: tuple[Tensor, ...]
    steps: tuple[int, ...]
    batch_size: int

    @property
    def reset_steps(self) -> tuple[int, ...]:
        """The numbers of updates after which a new stage begins, with a reset optimizer."""
        return tuple(itertools.accumulate(self.steps[:-1]))

    @property
    def subset(self) -> Tensor | None:
        """The indices, int64 (M,), of the largest subset in the order of selection; None if there is no subset."""
        return self.members[-2] if len(self.members) > 1 else None

    def draw_batches(self, generator: torch.Generator, subset_generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the indices, int64 (batch size,), of the examples in each batch of all stages.

        Args:
            generator: draws the order of the examples in the last stage.
            subset_generator: draws the orders in the other stages.
        """
        last = len(self.members) - 1
        for stage, (members, steps) in enumerate(zip(self.members, self.steps, strict=True)):
            stream = generator if stage == last else subset_generator
            yield from draw_indices(members, min(self.batch_size, len(members)), steps, stream)


def progressive(
    train: AnyExamples,
    batch_size: int,
    steps: int,
    generator: torch.Generator,
    subset_generator: torch.Generator,
    *,
    fractions: Sequence[float] = (0.001,),
    stage_steps: Sequence[int] = (1000,),
    selection: Literal["random", "class_balanced", "k_center", "herding"] = "random",
) -> BatchSchedule[AnyExamples]:
    r"""Progressive Data Increasing: first one or more growing subsets, then all training examples.

    The weights after training on the subset are the initial weights of the training on all examples:

    .. math:: \theta_0 = \arg\min_\theta L(S, \theta), \qquad S \subset D

    Subsets are nested: each is a prefix of the same selected order. In a stage with fewer than `batch_size` examples,
    a batch contains all of them. The optimizer is reset at the beginning of each stage.

    Deviation: the paper has one subset, drawn at random, and lists other selections as future work; several stages are
    ours.
    It does not state whether the optimizer is reset; an initialization has no optimizer state.

    Args:
        train, batch_size, steps, generator: as in `full`; `steps` is the total number of updates.
        subset_generator: draws the selection and the order of its examples, so that the batches of the last stage are
            the same as those of `full`.
        fractions: fraction of the training examples in each stage except the last, more than 0 and at most 1; they must
            not decrease.
        stage_steps: number of updates of each of these stages; the last stage, with all examples, has the remaining
            `steps`.
        selection: the strategy, as in `subset_selection.select`; images are reduced to 8 x 8 pixels and compared.

    Returns:
        A BatchSchedule of `steps` batches.

    Raises:
        ValueError: the numbers of `fractions` and `stage_steps` differ, an option is out of its range, a
            class-balanced subset has fewer examples than classes, or the examples are not what the selection compares.

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
    batches = stages.draw_batches(generator, subset_generator)
    return BatchSchedule(
        (functools.partial(gather, train, indices) for indices in batches), stages.reset_steps, stages.subset
    )


def plan_stages(
    count: int,
    *,
    batch_size: int,
    steps: int,
    fractions: Sequence[float],
    stage_steps: Sequence[int],
    selection: Selection,
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
    if not all(number >= 0 for number in stage_steps) or sum(stage_steps) > steps:
        raise ValueError(f"progressive: stage_steps: {list(stage_steps)}: must be at least 0, in total at most {steps}")
    if selection not in SELECTIONS:
        raise ValueError(f"progressive: selection: {selection!r}: allowed: {', '.join(SELECTIONS)}")
    sizes = subset_sizes(count, fractions)
    if selection == "class_balanced" and sizes and labels is not None and sizes[0] < len(torch.unique(labels)):
        raise ValueError(
            f"progressive: fractions: {fractions[0]} of {count} examples is {sizes[0]}, fewer than the "
            f"{len(torch.unique(labels))} classes, of each of which class_balanced needs one"
        )
    subsets: list[Tensor] = []
    if sizes:
        largest = select(selection, count, sizes[-1], generator, labels=labels, features=features)
        subsets = [largest[:size] for size in sizes]
    return Stages((*subsets, torch.arange(count, device="cpu")), (*stage_steps, steps - sum(stage_steps)), batch_size)


def subset_sizes(count: int, fractions: Sequence[float]) -> list[int]:
    """Return the number of examples, at least 1, in each fraction of `count`.

    Raises:
        ValueError: a fraction is not more than 0 and at most 1, or the fractions decrease.
    """
    if not all(0 < fraction <= 1 for fraction in fractions) or list(fractions) != sorted(fractions):
        raise ValueError(f"progressive: fractions: {list(fractions)}: must be more than 0, at most 1, and not decrease")
    return [max(round(fraction * count), 1) for fraction in fractions]
