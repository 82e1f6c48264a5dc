"""LSUV against the authors' package: the seconds of one call, on one CPU thread, on the same net and mini-batch.

Both measure on one mini-batch without dropout, so they do the same work; theirs runs the whole net for every trial.
"""

import contextlib
import io
import statistics
import time

import lsuv
import torch
from torchvision.models import vgg16

from goodinit.methods import data, initializers, models

NETS = {
    "FitNet-4, 32 images of 32 x 32": (lambda: models.fitnet4((3, 32, 32), 10), (32, 3, 32, 32)),
    "VGG-16, 8 images of 64 x 64": (lambda: vgg16(weights=None, num_classes=10), (8, 3, 64, 64)),
}


def ours(net, images):
    batch = data.Examples(images, torch.zeros(len(images), dtype=torch.int64))
    generator = torch.Generator().manual_seed(0)
    initializers.lsuv(net, batch, generator, batch_size=len(images), batches=1, dropout=False)


def theirs(net, images):
    with contextlib.redirect_stdout(io.StringIO()):
        lsuv.lsuv_with_singlebatch(net, images, std_tol=0.025)  # of the deviation; 0.05 of the variance


def seconds(function, net, images):
    start = time.perf_counter()
    function(net, images)
    return time.perf_counter() - start


def main(repeats=3):
    torch.set_num_threads(1)
    for name, (build, shape) in NETS.items():
        images = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        pairs = [[seconds(one, build(), images) for one in (theirs, ours)] for _ in range(repeats)]
        ratios = [one / other for one, other in pairs]
        middle, spread = statistics.median(ratios), f"{min(ratios):.1f} to {max(ratios):.1f}"
        print(f"{name}: the package / ours: {middle:.1f} ({spread}), ours {pairs[-1][1]:.1f} s", flush=True)


if __name__ == "__main__":
    main()
