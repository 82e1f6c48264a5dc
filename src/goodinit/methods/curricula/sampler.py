"""Progressive Data Increasing as a batch sampler for a DataLoader or a custom training loop."""

import itertools
from collections.abc import Iterator, Sequence, Sized

import torch
from torch import Tensor
from torch.utils.data import Sampler

from goodinit.errors import InputError
from goodinit.methods.arguments import numbers_in, whole_number
from goodinit.methods.curricula.data_arguments import (
    Features,
    Labels,
    Numbers,
    as_features,
    as_labels,
    count_examples,
)
from goodinit.methods.curricula.stages import Stages, plan_stages, subset_sizes
from goodinit.methods.curricula.subset_selection import Selection
from goodinit.seeds import stream_seed
from goodinit.steps import steps_of_epochs

__all__ = ["ProgressiveBatchSampler", "progressive"]


def progressive(
    data: Sized | int,
    *,
    batch_size: int,
    steps: int,
    fractions: Numbers = (0.001,),
    stage_steps: Numbers | None = None,
    stage_epochs: Numbers | None = None,
    selection: Selection = "random",
    labels: Labels | None = None,
    features: Features | None = None,
    seed: int = 0,
) -> "ProgressiveBatchSampler":
    r"""Progressive Data Increasing: batches of one or more growing subsets, then of all training examples.

    The weights after training on the subset are the initial weights of the training on all examples:

    .. math:: \theta_0 = \arg\min_\theta L(S, \theta), \qquad S \subset D

    Subsets are nested: each is a prefix of the same selected order. In a stage with fewer than `batch_size` examples,
    a batch contains all of them. A stage consists of passes over its examples in random order, each of which omits the
    examples left over at its end, fewer than a batch.

    One pass over the sampler is the whole training run. Reset the optimizer after each number of updates in
    `sampler.reset_steps`, since an initialization has no momentum. To resume after k updates, call
    `sampler.set_position(k)` and count the updates with `enumerate(loader, start=k)`.

    Distributed training is not supported: every process would draw the same batches, not a shard of them.

    Args:
        data: the training set, such as a Dataset, or its number of examples N; not a DataLoader or an IterableDataset.
        batch_size: examples in a batch, at most N.
        steps: total number of batches.
        fractions: fraction of the examples in each stage except the last, more than 0 and at most 1; they must not
            decrease. A list of numbers, or one number for one stage, as for the next two arguments.
        stage_steps: number of batches of each of these stages; the last stage, with all examples, has the remaining
            `steps`. Give this or `stage_epochs`.
        stage_epochs: instead, the length of each of these stages in passes over its subset; 0, or at least one batch.
        selection: `random`; `class_balanced`, one example of each class in turn; `k_center`, which adds the example
            farthest from all selected ones; or `herding`, which adds the example that brings the mean of the selected
            ones nearest to the mean of all.
        labels: classes of the examples, integers or strings (N,), for `class_balanced`.
        features: what `k_center` and `herding` compare: images (N, C, H, W), which are reduced to at most 8 x 8
            pixels, or feature vectors (N, F).
        seed: determines the selection and the orders; the same seed gives the same batches as a study's run.

    Returns:
        A sampler for `DataLoader(data, batch_sampler=...)`; iterating over it yields lists of indices.

    Raises:
        ValueError: an argument is out of its range, or the labels or features that the selection needs are missing.

    Reference: Sato & Kimura, Progressive Data Increasing as initialization of neural networks (2019), section 2.2.
    """
    count = count_examples(data)
    batch_size = whole_number("progressive: batch_size", batch_size, 1, count, ", the number of examples")
    steps, seed = whole_number("progressive: steps", steps, 0), whole_number("progressive: seed", seed)
    if (stage_steps is None) == (stage_epochs is None):
        raise InputError("progressive: give either stage_steps or stage_epochs, a number for each of the fractions")
    fractions = numbers_in("progressive: fractions", fractions)
    subset_generator = torch.Generator().manual_seed(stream_seed(seed, "subset"))
    try:
        if stage_epochs is not None:
            epochs = numbers_in("progressive: stage_epochs", stage_epochs)
            lengths = _epochs_to_steps(epochs, subset_sizes(count, fractions), batch_size)
        else:
            given = numbers_in("progressive: stage_steps", stage_steps)
            lengths = [whole_number("progressive: stage_steps: each", length, 0) for length in given]
        stages = plan_stages(
            count,
            batch_size=batch_size,
            steps=steps,
            fractions=fractions,
            stage_steps=lengths,
            selection=selection,
            generator=subset_generator,
            labels=as_labels(labels),
            features=as_features(features),
        )
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error)) from None
    return ProgressiveBatchSampler(stages, stream_seed(seed, "order"), subset_generator.get_state())


def _epochs_to_steps(epochs: Sequence[float], sizes: Sequence[int], batch_size: int) -> list[int]:
    """Return the numbers of batches in `epochs` passes over subsets of `sizes` examples."""
    if len(epochs) != len(sizes):
        raise ValueError(f"progressive: {len(sizes)} fractions and {len(epochs)} stage_epochs: give one each")
    try:
        return [steps_of_epochs(passes, size, batch_size) for passes, size in zip(epochs, sizes, strict=True)]
    except ValueError as error:
        raise ValueError(f"progressive: stage_epochs: {error}") from None


class ProgressiveBatchSampler(Sampler[list[int]]):
    """Yields the indices of each batch, the same in every pass; returned by `progressive`.

    Attributes:
        reset_steps: numbers of updates after which the optimizer should be reset: where a new stage begins.
        subset: indices, int64 (M,), of the largest subset in the order of their selection; None without a subset.
        batch_size: examples in a batch, except in stages with fewer examples.
    """

    def __init__(self, stages: Stages, seed: int, subset_state: Tensor) -> None:
        self.batch_size, self.reset_steps, self.subset = stages.batch_size, stages.reset_steps, stages.subset
        self._stages, self._seed, self._subset_state = stages, seed, subset_state
        self._position = 0

    def set_position(self, steps: int) -> None:
        """Start each following pass after the first `steps` batches, to resume an interrupted training run.

        Count the updates, not the batches that a DataLoader's workers have fetched. `reset_steps` still count from the
        beginning of the training run, so count the resumed updates with `enumerate(loader, start=steps)`.

        Args:
            steps: number of updates already done, at least 0 and at most the total number of batches.

        Raises:
            ValueError: `steps` is not between 0 and the number of batches.
        """
        steps = whole_number("set_position: steps", steps, 0, sum(self._stages.steps))
        self._position = steps

    def __len__(self) -> int:
        """Return the number of batches in a pass."""
        return sum(self._stages.steps) - self._position

    def __iter__(self) -> Iterator[list[int]]:
        subset_generator = torch.Generator()
        subset_generator.set_state(self._subset_state)
        batches = self._stages.draw_batches(torch.Generator().manual_seed(self._seed), subset_generator)
        return (indices.tolist() for indices in itertools.islice(batches, self._position, None))
