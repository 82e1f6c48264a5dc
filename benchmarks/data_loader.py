"""Compare batches of tensors with a plain loop over torch's DataLoader, on one CPU thread.

Both crop and mirror images of noise, of the size of CIFAR-10, in batches of 128; then a FitNet-4 is trained on each
for a few updates. The plain loop transforms single images, and does not change the memory format of the weights.
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


class Images(Dataset):
    """One image at a time, through the transforms of torchvision."""

    def __init__(self):
        self.images = [transforms.functional.to_pil_image(image) for image in IMAGES]
        steps = [transforms.RandomCrop(32, 8), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        self.transform = transforms.Compose([*steps, transforms.Normalize((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))])

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        return self.transform(self.images[index]), int(LABELS[index])


def ours(steps):
    train, generator = Examples(IMAGES, LABELS), torch.Generator().manual_seed(2)
    preprocessing = Preprocessing(contrast=55.0, pad=8)
    for batch in curricula.full(train, batch_size=BATCH, steps=steps, generator=generator):
        yield preprocessing.augment(batch, generator)


def theirs(steps):
    loader = DataLoader(Images(), BATCH, shuffle=True, drop_last=True)
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
