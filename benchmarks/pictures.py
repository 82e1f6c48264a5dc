"""Preparing a folder of pictures with one process and with two, and reading them in training: streamed or in memory.

The pictures are JPEG files of 500 x 375, as most of ImageNet; a few are drawn, and each file is one of them with
another comment.  They are prepared at 144 x 144, and cut to 128 x 128 and mirrored in batches of 128, on one CPU
thread.  Processes that decode begin with this file, as those of the command begin with its own; torch comes after.
"""

import argparse
import io
import itertools
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from goodinit.datasets import cache

BATCH, DRAWN = 128, 50


def draw(tree, count):
    random = np.random.default_rng(0)
    whole = []
    for _ in range(DRAWN):
        rough = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((500, 375))
        noisy = np.asarray(rough).astype(int) + random.normal(0, 12, (375, 500, 1)).round().astype(int)
        file = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "jpeg", quality=85)
        whole.append(file.getvalue())
    for number in range(count):
        part = "val" if number % 20 == 0 else "train"
        file = tree / part / f"class{number // 20 % 10}" / f"{number}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        content = whole[number % DRAWN]
        file.write_bytes(content[:2] + b"\xff\xfe\x00\x0a%08d" % number + content[2:])
    return sum(map(len, whole)) / DRAWN


def read(root):
    import torch

    from goodinit.datasets import sets
    from goodinit.datasets.tensors import Examples
    from goodinit.methods import curricula

    torch.set_num_threads(1)
    splits = sets.folder(root, None, path="drawn", crop=128, mirror=True)
    steps = 2 * len(splits.train.labels) // BATCH
    held = Examples(*(one.clone() for one in splits.train))
    found = {}
    for (place, train), order in itertools.product(
        {"mapped": splits.train, "in memory": held}.items(), (curricula.full, curricula.streamed)
    ):
        streams = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
        course = order(train, batch_size=BATCH, steps=steps + 1, generator=streams[0])
        batches = (splits.preprocessing.augment(batch, streams[1]) for batch in course)
        next(batches)
        start = time.perf_counter()
        for _ in batches:
            pass
        found[place, order.__name__] = steps / (time.perf_counter() - start)
        print(f"{order.__name__}, {place}: {found[place, order.__name__]:.1f} batches/s", flush=True)
    print(f"streamed from the map / full in memory: {found['mapped', 'streamed'] / found['in memory', 'full']:.2f}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20000, help="pictures (default: 20000)")
    count = parser.parse_args(arguments).count
    with tempfile.TemporaryDirectory() as root:
        root = Path(root)
        size = draw(root / "folders" / "drawn", count)
        print(f"{count} JPEG files of 500 x 375, {size / 1000:.0f} kB each", flush=True)
        found = []
        for processes in (1, 2):
            start, before = time.perf_counter(), sum(os.times()[:4])
            folder = cache.prepare("folder-drawn-144", root, processes=processes).parent
            found.append((count / (time.perf_counter() - start), count / (sum(os.times()[:4]) - before)))
            print("preparing, {} processes: {:,.0f} pictures/s, {:,.0f} a second of a processor's time".format(
                processes, *found[-1]), flush=True)  # fmt: skip
            if processes == 1:
                folder.rename(root / "once")
        (one, alone), (two, each) = found
        print(f"two processes / one: {two / one:.2f}, and {2 * each / alone:.2f} where two processors are idle")
        read(root)


if __name__ == "__main__":
    sys.exit(main())
