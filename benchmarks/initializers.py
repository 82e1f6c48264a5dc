"""LSUV against `torch.nn.init.orthogonal_` over the same layers, and against the authors' package, on one CPU thread.

LSUV cannot take less than orthonormal weights and one forward pass, so it is also compared with the sum of the two.
The package runs the whole net for every trial.  Seconds are those of the processor, which other processes on the
machine lengthen less than those of the clock.
"""

import contextlib
import io
import sys
import time

import lsuv as package
import torch
from torch import nn
from torchvision.models import resnet50

import goodinit
from goodinit.methods import models

NETS = {
    "FitNet-4": (lambda: models.fitnet4((3, 32, 32), 10), (32, 3, 32, 32)),
    "CaffeNet": (lambda: models.caffenet((3, 227, 227), 1000), (4, 3, 227, 227)),
    "VGG-16": (lambda: models.vgg16((3, 224, 224), 1000), (4, 3, 224, 224)),
    "GoogLeNet": (lambda: models.googlenet((3, 224, 224), 1000, auxiliary=False), (4, 3, 224, 224)),
    "ResNet-50": (resnet50, (4, 3, 224, 224)),
}
OTHERS = ("orthogonal", "orthogonal and forward", "authors")


def lsuv(net, images):
    return goodinit.lsuv(net, images, seed=0)


def orthogonal(net, images):
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.orthogonal_(layer.weight)


def authors(net, images):
    with contextlib.redirect_stdout(io.StringIO()):
        package.lsuv_with_singlebatch(net, images, std_tol=0.025, verbose=False)  # 0.05 of the variance


def forward(net, images):
    with torch.no_grad():
        net(images)


def seconds(function, net, images):
    start = time.process_time()
    function(net, images)
    return time.process_time() - start


def main(*names):
    torch.set_num_threads(1)
    for name in names or NETS:
        build, shape = NETS[name]
        images = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        net = build()
        forward(net, images[:1])  # the libraries are loaded
        spent = {one.__name__: seconds(one, net, images) for one in (forward, orthogonal, lsuv, authors)}
        listed = ", ".join(f"{what} {value:.2f} s" for what, value in spent.items())
        spent["orthogonal and forward"] = spent["orthogonal"] + spent["forward"]
        ratios = [f"{spent['lsuv'] / spent[other]:.2f} x {other}" for other in OTHERS]
        print(f"{name}, {shape[0]} images: lsuv takes {', '.join(ratios)} ({listed})", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
