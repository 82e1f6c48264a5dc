"""Progressive Data Increasing for a DataLoader or a training loop of one's own."""

import itertools
from collections.abc import Iterator, Sequence, Sized

import torch
from torch import Tensor
from torch.utils.data import Sampler

from goodinit.errors import InputError
from goodinit.methods.curricula.stages import Stages, plan_stages, subset_sizes
from goodinit.methods.curricula.subset_selection import Selection
from goodinit.seeds import stream_seed

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
    r"""Progressive Data Increasing: batches of a subset, or of several that grow, then of all training examples.

    The weights after the subset are the initial weights of the training on all examples:

    .. math:: \theta_0 = \arg\min_\theta L(S, \theta), \qquad S \subset D

    Subsets are nested: each is a beginning of the same selected order.  In a stage of fewer examples than
    `batch_size`, a batch has all of them.  One pass over the sampler is the whole training; reset the
    optimizer after `sampler.starts` updates, since an initialization has no momentum.

    Args:
        data: the training set, or its number of examples N.
        batch_size: examples in a batch, at most N.
        steps: number of batches of all stages together.
        fractions: share of the examples in each stage but the last, increasing, more than 0 and at most 1.
        stage_steps: number of batches of each of these stages; the last stage, with all examples, has the rest of
            `steps`.  Give this or `stage_epochs`.
        stage_epochs: instead, the length of each of these stages in passes over its subset.
        selection: `random`; `class_balanced`, one of each class in turn; `k_center`, always the example farthest
            from all those selected; or `herding`, always the example that brings the mean of those selected nearest
            to the mean of all.
        labels: classes of the examples, integers (N,), for `class_balanced`.
        features: what `k_center` and `herding` compare: images (N, C, H, W), which are reduced to 8 x 8 pixels, or
            rows of numbers (N, F).
        seed: of the selection and of the orders; the same seed gives the batches of a study's run with that seed.

    Returns:
        A sampler for `DataLoader(dataset, batch_sampler=...)`; iterating over it yields lists of indices.

    Raises:
        ValueError: an argument is out of its range, or the labels or features that the selection needs are missing.

    Reference: Sato & Kimura, Progressive Data Increasing as initialization of neural networks (2019), section 2.2.
    """
    count = data if isinstance(data, int) else len(data)
    if not 1 <= batch_size <= count or steps < 0:
        raise InputError(
            f"progressive: batch_size: {batch_size} is not between 1 and the {count} examples, or steps, {steps}, is "
            "less than 0"
        )
    if (stage_steps is None) == (stage_epochs is None):
        raise InputError("progressive: give either stage_steps or stage_epochs, a number for each of the fractions")
    subset_stream = torch.Generator().manual_seed(stream_seed(seed, "subset"))
    try:
        if stage_steps is None:
            stage_steps = _steps_of(stage_epochs, subset_sizes(count, fractions), batch_size)
        stages = plan_stages(
            count,
            batch_size=batch_size,
            steps=steps,
            fractions=fractions,
            stage_steps=stage_steps,
            selection=selection,
            generator=subset_stream,
            labels=None if labels is None else torch.as_tensor(labels),
            features=None if features is None else torch.as_tensor(features),
        )
    except ValueError as error:
        raise InputError(str(error)) from None
    return ProgressiveBatchSampler(stages, stream_seed(seed, "order"), subset_stream.get_state())


def _steps_of(epochs, sizes, batch_size):
    """Return the number of batches in `epochs` passes over subsets of `sizes` examples."""
    if len(epochs) != len(sizes):
        raise ValueError(f"progressive: {len(sizes)} fractions and {len(epochs)} stage_epochs: give one each")
    return [int(passes * max(size / batch_size, 1)) for passes, size in zip(epochs, sizes, strict=True)]


class ProgressiveBatchSampler(Sampler[list[int]]):
    """Lists of the indices of each batch, the same in every pass; `progressive` makes it.

    Attributes:
        starts: the numbers of batches after which the second and each later stage begins.
        subset: indices, int64 (M,), of the largest subset in the order of their selection; None without a subset.
        batch_size: examples in a batch of a stage that has as many.
    """

    def __init__(self, stages: Stages, seed: int, subset_state: Tensor) -> None:
        self.batch_size, self.starts, self.subset = stages.batch_size, stages.starts, stages.subset
        self._stages, self._seed, self._subset_state = stages, seed, subset_state
        self._position = 0

    def set_position(self, steps: int) -> None:
        """Let each following pass begin after the first `steps` batches, to resume training that was interrupted.

        Batches that a DataLoader's workers fetched ahead have not been trained on: count the updates.

        Raises:
            ValueError: `steps` is not between 0 and the number of batches.
        """
        if not 0 <= steps <= sum(self._stages.steps):
            raise InputError(f"set_position: {steps} is not between 0 and the {sum(self._stages.steps)} batches")
        self._position = steps

    def __len__(self) -> int:
        """The number of batches in a pass."""
        return sum(self._stages.steps) - self._position

    def __iter__(self) -> Iterator[list[int]]:
        subset_stream = torch.Generator()
        subset_stream.set_state(self._subset_state)
        indices = self._stages.indices(torch.Generator().manual_seed(self._seed), subset_stream)
        return (chosen.tolist() for chosen in itertools.islice(indices, self._position, None))
