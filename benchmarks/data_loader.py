"""Batches as tensors against a plain loop over torchvision's DataLoader, on one CPU thread.

Both cut and mirror images of noise, as large as CIFAR-10's, in batches of 128; then a FitNet-4 is trained on either
for a few updates.  The plain loop transforms image by image, and leaves the layout of the weights as it is.
"""

import itertools
import statistics
import time

import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from goodinit.datasets.preprocessing import Preprocessing
from goodinit.datasets.tensors import Examples
from goodinit.methods import curricula, initializers, models, objectives, optimizers

BATCH, COUNT = 128, 5120
IMAGES = torch.randint(256, (COUNT, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(10, (COUNT,), generator=torch.Generator().manual_seed(1))


class Pictures(Dataset):
    """As torchvision's: one image at a time, through its transforms."""

    def __init__(self):
        self.images = [transforms.functional.to_pil_image(image) for image in IMAGES]
        steps = [transforms.RandomCrop(32, 8), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        self.transform = transforms.Compose([*steps, transforms.Normalize((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))])

    def __len__(self):
        return COUNT

    def __getitem__(self, place):
        return self.transform(self.images[place]), int(LABELS[place])


def ours(steps):
    train, generator = Examples(IMAGES, LABELS), torch.Generator().manual_seed(2)
    preprocessing = Preprocessing(contrast=55.0, pad=8)
    for batch in curricula.full(train, batch_size=BATCH, steps=steps, generator=generator):
        yield preprocessing.augment(batch, generator)


def theirs(steps):
    loader = DataLoader(Pictures(), BATCH, shuffle=True, drop_last=True)
    for images, labels in itertools.islice(itertools.chain.from_iterable(itertools.repeat(loader)), steps):
        yield Examples(images, labels)


def images_a_second(batches, steps, net=None):
    optimizer = None if net is None else optimizers.momentum(net.named_parameters(), lr=0.01)
    batches = batches(steps + 1)
    next(batches)
    start = time.perf_counter()
    for batch in batches:
        if net is not None:
            objectives.cross_entropy(net, batch)[0].backward()
            optimizer.step()
            optimizer.zero_grad()
    return steps * BATCH / (time.perf_counter() - start)


def fitnet(layout):
    net = models.fitnet4((3, 32, 32), 10, activation="relu")
    initializers.orthonormal(net, None, torch.Generator().manual_seed(3))
    return net.to(memory_format=layout)


def main(repeats=3):
    torch.set_num_threads(1)
    loops = (ours, torch.channels_last), (theirs, torch.contiguous_format)
    for name, steps, build in (("batches alone", 30, lambda layout: None), ("training FitNet-4", 5, fitnet)):
        pairs = [[images_a_second(one, steps, build(layout)) for one, layout in loops] for _ in range(repeats)]
        ratios = [one / other for one, other in pairs]
        middle, spread = statistics.median(ratios), f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{name}: ours / the plain loop: {middle:.2f} ({spread}), ours {pairs[-1][0]:,.0f} images/s", flush=True)


if __name__ == "__main__":
    main()
