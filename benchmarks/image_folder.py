"""Prepare an image folder with one and with two processes, and read it for training, streamed or from memory.

The images are JPEG files of 500 x 375 pixels, like most of ImageNet; a few are generated, and each file is a copy of
one with a different comment. They are prepared at 144 x 144, and cropped to 128 x 128 and mirrored in batches of 128,
on one CPU thread. Worker processes import this file, so torch is imported only where it is needed.
"""

import argparse
import io
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from goodinit.datasets import cache

BATCH, GENERATED = 128, 50


def write_images(tree: Path, count: int) -> float:
    """Write images; return the mean size of a file in bytes."""
    random = np.random.default_rng(0)
    contents = []
    for _ in range(GENERATED):
        rough = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((500, 375))
        noisy = np.asarray(rough).astype(int) + random.normal(0, 12, (375, 500, 1)).round().astype(int)
        buffer = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "jpeg", quality=85)
        contents.append(buffer.getvalue())
    for number in range(count):
        split = "val" if number % 20 == 0 else "train"
        file = tree / split / f"class{number // 20 % 10}" / f"{number}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        content = contents[number % GENERATED]
        file.write_bytes(content[:2] + b"\xff\xfe\x00\x0a%08d" % number + content[2:])
    return sum(map(len, contents)) / GENERATED


def read(root: Path) -> None:
    import torch

    from goodinit.datasets import sets
    from goodinit.datasets.tensors import Examples
    from goodinit.methods import curricula

    torch.set_num_threads(1)
    splits = sets.folder(root, torch.Generator(), path="drawn", crop=128, mirror=True)
    steps = 2 * len(splits.train.labels) // BATCH
    copy = Examples(*(tensor.clone() for tensor in splits.train))
    rates: dict[tuple[str, str], float] = {}
    schedules: list[Callable[..., Iterator[Examples]]] = [curricula.full, curricula.streamed]
    sources = {"mapped": splits.train, "in memory": copy}
    for (source, train), curriculum in itertools.product(sources.items(), schedules):
        streams = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
        schedule = curriculum(train, batch_size=BATCH, steps=steps + 1, generator=streams[0])
        batches = (splits.preprocessing.augment(batch, streams[1]) for batch in schedule)
        next(batches)
        start = time.perf_counter()
        for _ in batches:
            pass
        rates[source, curriculum.__name__] = steps / (time.perf_counter() - start)
        print(f"{curriculum.__name__}, {source}: {rates[source, curriculum.__name__]:.1f} batches/s", flush=True)
    print(f"streamed from the map / full in memory: {rates['mapped', 'streamed'] / rates['in memory', 'full']:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20000, help="number of images (default: 20000)")
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        size = write_images(root / "folders" / "drawn", count)
        print(f"{count} JPEG files of 500 x 375, {size / 1000:.0f} kB each", flush=True)
        rates = []
        for processes in (1, 2):
            start, before = time.perf_counter(), sum(os.times()[:4])
            folder = cache.prepare("folder-drawn-144", root, processes=processes).parent
            rates.append((count / (time.perf_counter() - start), count / (sum(os.times()[:4]) - before)))
            rate, processor_rate = rates[-1]
            rate_text = f"{rate:,.0f} images/s, {processor_rate:,.0f} per second of processor time"
            print(f"preparing, {processes} processes: {rate_text}", flush=True)
            if processes == 1:
                folder.rename(root / "once")
        (rate, processor_rate), (rate_of_two, processor_rate_of_two) = rates
        idle = 2 * processor_rate_of_two / processor_rate
        print(f"two processes / one: {rate_of_two / rate:.2f}, and {idle:.2f} if two processors are idle")
        read(root)


if __name__ == "__main__":
    main()
