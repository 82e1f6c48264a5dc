"""Processor time of LSUV relative to `torch.nn.init.orthogonal_` and to the authors' package, on one CPU thread.

LSUV requires orthonormal weights and a forward pass, so it is also compared with the sum of these. The authors' package
runs a forward pass of the whole model in each iteration. Processor time depends less than wall-clock time on other
processes.
"""

import contextlib
import io
import sys
import time
from collections.abc import Callable

import lsuv as package
import torch
from torch import Tensor, nn
from torchvision.models import resnet50

import goodinit
from goodinit.methods import models

MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "FitNet-4": (lambda: models.fitnet4((3, 32, 32), 10), (32, 3, 32, 32)),
    "CaffeNet": (lambda: models.caffenet((3, 227, 227), 1000), (4, 3, 227, 227)),
    "VGG-16": (lambda: models.vgg16((3, 224, 224), 1000), (4, 3, 224, 224)),
    "GoogLeNet": (lambda: models.googlenet((3, 224, 224), 1000, auxiliary=False), (4, 3, 224, 224)),
    "ResNet-50": (resnet50, (4, 3, 224, 224)),
}
REFERENCES = ("orthogonal", "orthogonal and forward", "authors")


def lsuv(model: nn.Module, images: Tensor) -> None:
    goodinit.lsuv(model, images, seed=0)


def orthogonal(model: nn.Module, images: Tensor) -> None:
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.orthogonal_(layer.weight)


def authors(model: nn.Module, images: Tensor) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        package.lsuv_with_singlebatch(model, images, std_tol=0.025, verbose=False)  # 0.05 of the variance


def forward(model: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        model(images)


def seconds(function: Callable[[nn.Module, Tensor], None], model: nn.Module, images: Tensor) -> float:
    start = time.process_time()
    function(model, images)
    return time.process_time() - start


def main(*names: str) -> None:
    torch.set_num_threads(1)
    for name in names or MODELS:
        build, shape = MODELS[name]
        images = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        model = build()
        forward(model, images[:1])  # loads the libraries
        times = {
            function.__name__: seconds(function, model, images) for function in (forward, orthogonal, lsuv, authors)
        }
        table = ", ".join(f"{function} {value:.2f} s" for function, value in times.items())
        times["orthogonal and forward"] = times["orthogonal"] + times["forward"]
        ratios = [f"{times['lsuv'] / times[reference]:.2f} x {reference}" for reference in REFERENCES]
        print(f"{name}, {shape[0]} images: lsuv takes {', '.join(ratios)} ({table})", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
