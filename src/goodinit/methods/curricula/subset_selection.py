"""Selection of a subset of the training examples; every beginning of the selected order is a subset, too."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["SELECTIONS", "Selection", "select"]

Selection = Literal["random", "class_balanced", "k_center", "herding"]


def select(
    selection: Selection,
    count: int,
    size: int,
    generator: torch.Generator,
    *,
    labels: Tensor | None = None,
    features: Tensor | None = None,
) -> Tensor:
    r"""Return the indices, int64 (size,), of a subset in the order of their selection.

    - `random`: uniformly, without replacement.
    - `class_balanced`: one of each class in turn, in a random order of each, as long as there are any.
    - `k_center`: after a random first, the example farthest from all those selected,
      :math:`\arg\max_i \min_{j \in S} \lVert x_i - x_j \rVert`.
    - `herding`: the example that brings the mean of those selected nearest to the mean :math:`\mu` of all,
      :math:`\arg\min_i \lVert \mu - \frac{1}{|S| + 1}(x_i + \sum_{j \in S} x_j) \rVert`.

    The last two compare `features`: rows of numbers as they are, images reduced to 8 x 8 pixels.

    Args:
        selection: the strategy.
        count: number of examples.
        size: number of examples to select, at most `count`.
        generator: draws whatever is random.
        labels: classes of the examples, int64 (count,), for `class_balanced`.
        features: images (count, C, H, W) or rows (count, F), for `k_center` and `herding`.

    Raises:
        ValueError: the labels or features that the strategy compares are missing or of another shape.

    Reference: for `k_center` Gonzalez, Clustering to minimize the maximum intercluster distance (1985); for `herding`
        Welling, Herding dynamical weights to learn (2009).
    """
    needs, function = SELECTIONS[selection]
    if needs == "labels":
        if labels is None or labels.shape != (count,):
            shape = "they are missing" if labels is None else f"not {tuple(labels.shape)}"
            raise ValueError(f"progressive: selection: {selection} needs labels, integers of shape ({count},); {shape}")
        return function(labels, size, generator)
    if needs == "features":
        if features is None or features.ndim not in (2, 4) or len(features) != count:
            shape = "they are missing" if features is None else f"not {tuple(features.shape)}"
            raise ValueError(
                f"progressive: selection: {selection} compares features: images of shape ({count}, C, H, W) or rows "
                f"({count}, F); {shape}"
            )
        return function(_rows(features), size, generator)
    return function(count, size, generator)


def _random(count, size, generator):
    return torch.randperm(count, generator=generator)[:size]


def _class_balanced(labels, size, generator):
    shuffled = torch.randperm(len(labels), generator=generator)
    labels = labels.cpu()[shuffled]
    turn = torch.empty_like(labels)
    for label in labels.unique():
        of_class = labels == label
        turn[of_class] = torch.arange(int(of_class.sum()), dtype=turn.dtype)
    return shuffled[turn.argsort(stable=True)][:size]


def _k_center(rows, size, generator):
    squares = rows.square().sum(1)
    chosen = [int(torch.randint(len(rows), (), generator=generator))]
    nearest = torch.full_like(squares, float("inf"))
    while len(chosen) < size:
        last = chosen[-1]
        nearest = torch.minimum(nearest, squares + squares[last] - 2 * (rows @ rows[last]))
        nearest[last] = -float("inf")  # no example twice, even if two are alike
        chosen.append(int(nearest.argmax()))
    return torch.tensor(chosen)


def _herding(rows, size, generator):
    rows = rows - rows.mean(0)
    squares, total = rows.square().sum(1), torch.zeros(rows.shape[1], device=rows.device)
    chosen, taken = [], torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    for _ in range(size):
        distance = squares + 2 * (rows @ total)  # to the mean of all, up to terms that are the same for every example
        chosen.append(int(distance.masked_fill_(taken, float("inf")).argmin()))
        total += rows[chosen[-1]]
        taken[chosen[-1]] = True
    return torch.tensor(chosen)


def _rows(features):
    """Return features as float32 rows (N, F); images (N, C, H, W) are reduced to 8 x 8 pixels."""
    if features.ndim == 2:
        return features.float()
    parts = [functional.adaptive_avg_pool2d(part.float() / 255, 8).flatten(1) for part in features.split(1000)]
    return torch.cat(parts)


# strategy: what it compares, and its function of that, of the size and of the generator
SELECTIONS = {
    "random": (None, _random),
    "class_balanced": ("labels", _class_balanced),
    "k_center": ("features", _k_center),
    "herding": ("features", _herding),
}
