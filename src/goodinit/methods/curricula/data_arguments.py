"""Conversion of what users pass to `progressive`: data sets, labels and features of any usual type."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from goodinit.errors import InputError
from goodinit.methods.arguments import whole_number

__all__ = ["Features", "Labels", "Numbers", "as_features", "as_labels", "count_examples"]

Numbers = Sequence[float] | NDArray[Any] | Tensor | float
Labels = Tensor | NDArray[Any] | Sequence[int] | Sequence[str]
Features = Tensor | NDArray[Any]

CHANNELS = (1, 3, 4)  # of images: gray, color, color with transparency
PASS_THIS = "pass the data set, or its number of examples"


def count_examples(data: Any) -> int:
    """Return the number of examples of a data set, or the number itself.

    Raises:
        InputError: the data have no length, or one that is not the number of examples; or there are no examples.
    """
    if isinstance(data, DataLoader):
        raise InputError(f"progressive: data is a DataLoader, whose length is a number of batches: {PASS_THIS}")
    if isinstance(data, IterableDataset):
        raise InputError(
            "progressive: data is an IterableDataset, whose examples have no index: use a data set with __getitem__, "
            "and pass it or its number of examples"
        )
    if isinstance(data, Tensor | np.ndarray) and not data.ndim:
        data = data.item()
    if hasattr(data, "__len__") and not isinstance(data, str | dict):
        data = len(data)
    return whole_number(f"progressive: data: {PASS_THIS}, which", data, 1)


def as_labels(labels: Labels | None) -> Tensor | None:
    """Return labels as a tensor; strings are replaced by numbers.

    Raises:
        InputError: they cannot be converted.
    """
    if labels is None or isinstance(labels, Tensor):
        return labels
    try:
        array = np.asarray(labels)
        if array.dtype.kind in "USO":
            if not all(isinstance(label, str) for label in array.flat):
                raise TypeError("some labels are neither")
            array = np.unique(array.astype(str), return_inverse=True)[1].reshape(array.shape)
        return torch.as_tensor(array)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"progressive: labels must be integers or strings of shape (N,): {error}") from None


def as_features(features: Features | None) -> Tensor | None:
    """Return features as a tensor without gradients.

    Raises:
        InputError: they cannot be converted, are sparse or complex, or are images with the channels in the last
            dimension.
    """
    if features is None:
        return None
    try:
        tensor = torch.as_tensor(features).detach()
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"progressive: features must be a tensor or an array, images (N, C, H, W) or vectors (N, F): {error}"
        ) from None
    if tensor.is_complex() or tensor.layout is not torch.strided:
        kind = "complex" if tensor.is_complex() else "sparse"
        raise InputError(f"progressive: features must be dense and real, not {kind}")
    if tensor.ndim == 4 and _has_channels_last(tensor.shape):
        raise InputError(
            f"progressive: features of shape {tuple(tensor.shape)} have the channels in the last dimension; images "
            "must be (N, C, H, W): use torch.as_tensor(images).permute(0, 3, 1, 2); flatten other features to (N, F)"
        )
    return tensor


def _has_channels_last(shape: torch.Size) -> bool:
    """Return whether a shape is that of images (N, H, W, C), not of images or feature maps (N, C, H, W)."""
    is_square = shape[2] == shape[3]  # a small feature map, such as (N, 512, 1, 1)
    return shape[3] in CHANNELS and shape[1] not in CHANNELS and not is_square
