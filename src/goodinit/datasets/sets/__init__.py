"""The data sets that a study may name."""

from goodinit.datasets.sets.arrays import cifar10, cifar100, digits, empty, gaussian, mnist, shapes
from goodinit.datasets.sets.folders import folder, imagenette, pictures

__all__ = ["cifar10", "cifar100", "digits", "empty", "folder", "gaussian", "imagenette", "mnist", "pictures", "shapes"]
