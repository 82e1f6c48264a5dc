"""The data sets that a study may name."""

from goodinit.datasets.sets.generated import empty, gaussian
from goodinit.datasets.sets.image_folders import folder, imagenette, pictures
from goodinit.datasets.sets.small_images import cifar10, cifar100, digits, mnist, shapes

__all__ = ["cifar10", "cifar100", "digits", "empty", "folder", "gaussian", "imagenette", "mnist", "pictures", "shapes"]
