"""Data sets as tensors, mapped into memory; their parts, batches and pixels."""

from goodinit.methods.data.augmentation import Augmentation as Augmentation
from goodinit.methods.data.examples import Examples as Examples
from goodinit.methods.data.examples import Preprocessing as Preprocessing
from goodinit.methods.data.examples import Splits as Splits
from goodinit.methods.data.examples import batches as batches
from goodinit.methods.data.examples import stack as stack
from goodinit.methods.data.pictured import PREPARED as PREPARED
from goodinit.methods.data.pictured import folder, imagenette, pictures
from goodinit.methods.data.sets import DRAWN as DRAWN
from goodinit.methods.data.sets import cifar10, cifar100, digits, empty, gaussian, mnist, shapes

# What a study may name.
__all__ = ["cifar10", "cifar100", "digits", "empty", "folder", "gaussian", "imagenette", "mnist", "pictures", "shapes"]
