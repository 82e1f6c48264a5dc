"""Selection of a subset of the training examples; every prefix of the selected order is a subset, too."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

__all__ = ["SELECTIONS", "Selection", "select"]

Selection = Literal["random", "class_balanced", "k_center", "herding"]
SELECTIONS: tuple[Selection, ...] = get_args(Selection)


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
    - `class_balanced`: one example of each class in turn, in a random order within each class, until it has no more.
    - `k_center`: first a random example, then the example farthest from all selected ones,
      :math:`\arg\max_i \min_{j \in S} \lVert x_i - x_j \rVert`.
    - `herding`: the example that brings the mean of the selected ones nearest to the mean :math:`\mu` of all,
      :math:`\arg\min_i \lVert \mu - \frac{1}{|S| + 1}(x_i + \sum_{j \in S} x_j) \rVert`.

    The last two compare `features`: feature vectors unchanged, images and feature maps reduced to at most 8 x 8 pixels.

    Args:
        selection: how the examples are selected, see above.
        count: number of examples.
        size: number of examples to select, at most `count`.
        generator: draws the random numbers.
        labels: classes of the examples, int64 (count,), for `class_balanced`.
        features: images (count, C, H, W) or feature vectors (count, F), for `k_center` and `herding`.

    Raises:
        ValueError: the labels or features that the strategy compares are missing or not finite, or have another shape.

    Reference: for `k_center` Gonzalez, Clustering to minimize the maximum intercluster distance (1985); for `herding`
        Welling, Herding dynamical weights to learn (2009).
    """
    if selection == "random":
        return torch.randperm(count, generator=generator, device="cpu")[:size]
    if selection == "class_balanced":
        if labels is None or labels.shape != (count,):
            shape = "they are missing" if labels is None else f"not {tuple(labels.shape)}"
            raise ValueError(f"progressive: selection: {selection} needs labels, integers of shape ({count},); {shape}")
        return _class_balanced(labels, size, generator)
    if features is None or features.ndim not in (2, 4) or len(features) != count:
        shape = "they are missing" if features is None else f"not {tuple(features.shape)}"
        raise ValueError(
            f"progressive: selection: {selection} compares features: images of shape ({count}, C, H, W) or feature "
            f"vectors ({count}, F); {shape}"
        )
    vectors = _feature_vectors(features)
    if not vectors.isfinite().all():
        raise ValueError(f"progressive: selection: {selection} compares features, but some are NaN or infinite")
    return _k_center(vectors, size, generator) if selection == "k_center" else _herding(vectors, size)


def _class_balanced(labels: Tensor, size: int, generator: torch.Generator) -> Tensor:
    shuffled = torch.randperm(len(labels), generator=generator, device="cpu")
    labels = labels.cpu()[shuffled]
    rank = torch.empty(len(labels), dtype=torch.int64, device="cpu")  # of each example within its class
    for label in torch.unique(labels):
        of_class = labels == label
        rank[of_class] = torch.arange(int(of_class.sum()), device="cpu")
    return shuffled[rank.argsort(stable=True)][:size]


def _k_center(vectors: Tensor, size: int, generator: torch.Generator) -> Tensor:
    selected = [int(torch.randint(len(vectors), (), generator=generator, device="cpu"))]
    distances = torch.full_like(vectors[:, 0], float("inf"))  # squared, to the nearest selected example
    while len(selected) < size:
        last = selected[-1]
        distances = torch.minimum(distances, (vectors - vectors[last]).square().sum(1))
        distances[last] = -float("inf")  # no example twice, even if two are equal
        selected.append(int(distances.argmax()))
    return torch.tensor(selected, device="cpu")


def _herding(vectors: Tensor, size: int) -> Tensor:
    vectors = vectors - vectors.mean(0)
    squares, total = vectors.square().sum(1), torch.zeros_like(vectors[0])
    selected: list[int] = []
    is_selected = torch.zeros(len(vectors), dtype=torch.bool, device=vectors.device)
    for _ in range(size):
        distances = squares + 2 * (vectors @ total)  # to the mean of all, up to terms that are equal for all examples
        selected.append(int(distances.masked_fill_(is_selected, float("inf")).argmin()))
        total += vectors[selected[-1]]
        is_selected[selected[-1]] = True
    return torch.tensor(selected, device="cpu")


def _feature_vectors(features: Tensor) -> Tensor:
    """Return features as float32 vectors (N, F); images (N, C, H, W) are reduced to at most 8 x 8 pixels."""
    if features.ndim == 2:
        return features.float()
    height, width = features.shape[2:]
    pool = nn.AdaptiveAvgPool2d((min(height, 8), min(width, 8)))
    return torch.cat([pool(chunk.float() / 255).flatten(1) for chunk in torch.split(features, 1000)])
