"""Compare batches of tensors with a plain loop over torch's DataLoader, on one CPU thread.

Both crop and mirror images of noise, of the size of CIFAR-10, in batches of 128; then a FitNet-4 is trained on each
for a few updates. The plain loop transforms single images, and does not change the memory format of the weights.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from goodinit.datasets.preprocessing import Preprocessing
from goodinit.datasets.tensors import Examples
from goodinit.methods import curricula, initializers, models, objectives, optimizers

BATCH, COUNT = 128, 5120
IMAGES = torch.randint(256, (COUNT, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(10, (COUNT,), generator=torch.Generator().manual_seed(1))


class Images(Dataset[tuple[torch.Tensor, int]]):
    """One image at a time, through the transforms of torchvision."""

    def __init__(self) -> None:
        self.images = [transforms.functional.to_pil_image(image) for image in IMAGES]
        steps = [transforms.RandomCrop(32, 8), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        self.transform = transforms.Compose([*steps, transforms.Normalize((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))])

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), int(LABELS[index])


def tensor_batches(steps: int) -> Iterator[Examples]:
    train, generator = Examples(IMAGES, LABELS), torch.Generator().manual_seed(2)
    preprocessing = Preprocessing(contrast=55.0, pad=8)
    for batch in curricula.full(train, batch_size=BATCH, steps=steps, generator=generator):
        yield preprocessing.augment(batch, generator)


def loader_batches(steps: int) -> Iterator[Examples]:
    loader = DataLoader(Images(), BATCH, shuffle=True, drop_last=True)
    for images, labels in itertools.islice(itertools.chain.from_iterable(itertools.repeat(loader)), steps):
        yield Examples(images, labels)


def images_per_second(new_batches: Callable[[int], Iterator[Examples]], steps: int, model: nn.Module | None) -> float:
    """Return the rate of a few updates of a model, or of the batches alone; the first batch is not counted."""
    optimizer = None if model is None else optimizers.momentum(model.named_parameters(), lr=0.01)
    batches = new_batches(steps + 1)
    next(batches)
    start = time.perf_counter()
    for batch in batches:
        if model is not None and optimizer is not None:
            objectives.cross_entropy(model, batch)[0].backward()
            optimizer.step()
            optimizer.zero_grad()
    return steps * BATCH / (time.perf_counter() - start)


def new_model(layout: torch.memory_format) -> nn.Module:
    model = models.fitnet4((3, 32, 32), 10, activation="relu")
    initializers.orthonormal(model, None, torch.Generator().manual_seed(3))
    return model.to(memory_format=layout)


def report(name: str, rates: list[tuple[float, float]]) -> None:
    """Print the ratio of the rates with batches of tensors and with the loader, measured in turn."""
    ratios = [tensors / loader for tensors, loader in rates]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(
        f"{name}: {statistics.median(ratios):.2f} ({spread}) times as many images/s with batches of tensors as with a "
        f"DataLoader, {rates[-1][0]:,.0f} images/s",
        flush=True,
    )


def main(repeats: int = 3) -> None:
    torch.set_num_threads(1)
    rates = [
        (images_per_second(tensor_batches, 30, None), images_per_second(loader_batches, 30, None))
        for _ in range(repeats)
    ]
    report("batches alone", rates)
    rates = [
        (
            images_per_second(tensor_batches, 5, new_model(torch.channels_last)),
            images_per_second(loader_batches, 5, new_model(torch.contiguous_format)),
        )
        for _ in range(repeats)
    ]
    report("training FitNet-4", rates)


if __name__ == "__main__":
    main()
