"""Model architectures, without their initialization: functions `(shape, classes, *, options) -> nn.Module`."""

from goodinit.methods.models.caffenet import caffenet
from goodinit.methods.models.convnet import convnet3
from goodinit.methods.models.fitnet import fitnet1, fitnet4, fitnet_mnist, fitresnet4
from goodinit.methods.models.googlenet import googlenet
from goodinit.methods.models.mlp import mlp
from goodinit.methods.models.quadratic import quadratic
from goodinit.methods.models.resnet_vae import resnet_vae
from goodinit.methods.models.vgg import vgg16

__all__ = [
    "caffenet",
    "convnet3",
    "fitnet1",
    "fitnet4",
    "fitnet_mnist",
    "fitresnet4",
    "googlenet",
    "mlp",
    "quadratic",
    "resnet_vae",
    "vgg16",
]
