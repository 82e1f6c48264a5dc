"""Progressive Data Increasing as a batch sampler for a DataLoader or a custom training loop."""

import itertools
from collections.abc import Iterator, Sequence, Sized

import torch
from torch import Tensor
from torch.utils.data import Sampler

from goodinit.errors import InputError
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
    fractions: Sequence[float] = (0.001,),
    stage_steps: Sequence[int] | None = None,
    stage_epochs: Sequence[float] | None = None,
    selection: Selection = "random",
    labels: Tensor | Sequence[int] | None = None,
    features: Tensor | None = None,
    seed: int = 0,
) -> "ProgressiveBatchSampler":
    r"""Progressive Data Increasing: batches of one or more growing subsets, then of all training examples.

    The weights after training on the subset are the initial weights of the training on all examples:

    .. math:: \theta_0 = \arg\min_\theta L(S, \theta), \qquad S \subset D

    Subsets are nested: each is a prefix of the same selected order. In a stage with fewer than `batch_size` examples,
    a batch contains all of them. One pass over the sampler is the whole training run. Reset the optimizer after each
    number of updates in `sampler.reset_steps`, since an initialization has no momentum.

    Args:
        data: the training set, or its number of examples N.
        batch_size: examples in a batch, at most N.
        steps: total number of batches.
        fractions: fraction of the examples in each stage except the last, increasing, more than 0 and at most 1.
        stage_steps: number of batches of each of these stages; the last stage, with all examples, has the remaining
            `steps`. Give this or `stage_epochs`.
        stage_epochs: instead, the length of each of these stages in passes over its subset; 0, or at least one batch.
        selection: `random`; `class_balanced`, one example of each class in turn; `k_center`, which adds the example
            farthest from all selected ones; or `herding`, which adds the example that brings the mean of the selected
            ones nearest to the mean of all.
        labels: classes of the examples, integers (N,), for `class_balanced`.
        features: what `k_center` and `herding` compare: images (N, C, H, W), which are reduced to 8 x 8 pixels, or
            feature vectors (N, F).
        seed: determines the selection and the orders; the same seed gives the same batches as a study's run.

    Returns:
        A sampler for `DataLoader(data, batch_sampler=...)`; iterating over it yields lists of indices.

    Raises:
        ValueError: an argument is out of its range, or the labels or features that the selection needs are missing.

    Reference: Sato & Kimura, Progressive Data Increasing as initialization of neural networks (2019), section 2.2.
    """
    count = data if isinstance(data, int) else len(data)
    if not 1 <= batch_size <= count:
        raise InputError(
            f"progressive: batch_size must be at least 1 and at most {count}, the number of examples, not {batch_size}"
        )
    if not steps >= 0:
        raise InputError(f"progressive: steps must be at least 0, not {steps}")
    if (stage_steps is None) == (stage_epochs is None):
        raise InputError("progressive: give either stage_steps or stage_epochs, a number for each of the fractions")
    subset_generator = torch.Generator().manual_seed(stream_seed(seed, "subset"))
    try:
        if stage_epochs is not None:
            stage_steps = _epochs_to_steps(stage_epochs, subset_sizes(count, fractions), batch_size)
        stages = plan_stages(
            count,
            batch_size=batch_size,
            steps=steps,
            fractions=fractions,
            stage_steps=stage_steps or (),
            selection=selection,
            generator=subset_generator,
            labels=None if labels is None else torch.as_tensor(labels),
            features=None if features is None else torch.as_tensor(features),
        )
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

        Count the updates, not the batches that a DataLoader's workers have fetched.

        Raises:
            ValueError: `steps` is not between 0 and the number of batches.
        """
        if not 0 <= steps <= sum(self._stages.steps):
            raise InputError(
                f"set_position: steps must be at least 0 and at most {sum(self._stages.steps)}, not {steps}"
            )
        self._position = steps

    def __len__(self) -> int:
        """Return the number of batches in a pass."""
        return sum(self._stages.steps) - self._position

    def __iter__(self) -> Iterator[list[int]]:
        subset_generator = torch.Generator()
        subset_generator.set_state(self._subset_state)
        batches = self._stages.draw_batches(torch.Generator().manual_seed(self._seed), subset_generator)
        return (indices.tolist() for indices in itertools.islice(batches, self._position, None))
