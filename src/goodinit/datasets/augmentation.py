"""Augmentation of one training batch after another, with random numbers that are drawn ahead."""

import torch

__all__ = ["Augmentation"]

AHEAD = 100  # batches whose random numbers are drawn, and moved to the device, at once


class Augmentation:
    """Augment batches with the random numbers that `Preprocessing.augment` would draw for one after another.

    The numbers of `AHEAD` batches are copied to the device at once: a copy from the host's memory at every step would
    synchronize a GPU.

    Args:
        preprocessing: a Preprocessing with `pad`.
        generator: on the CPU; nothing else draws from it.
    """

    def __init__(self, preprocessing, generator):
        self.preprocessing, self.generator = preprocessing, generator
        self._shape, self._drawn, self._used = None, (), AHEAD
        self._before = generator.get_state()  # the numbers that are drawn

    def __call__(self, examples):
        """Return the next batch of normalized training examples, (N, C, H, W), cut and mirrored at random."""
        shape, device = examples.images.shape, examples.images.device
        if self._used == AHEAD or shape != self._shape:
            self.set_state(self.get_state())
            drawn = [self.preprocessing.draw_windows(shape, self.generator) for _ in range(AHEAD)]
            self._shape, self._used = shape, 0
            self._drawn = [_moved(torch.stack(numbers), device) for numbers in zip(*drawn, strict=True)]
        self._used += 1
        return self.preprocessing.cut(examples, *(numbers[self._used - 1] for numbers in self._drawn))

    def get_state(self):
        """Return the state of the generator after the numbers of the batches so far, and no more."""
        replayed = torch.Generator()
        replayed.set_state(self._before)
        for _ in range(self._used if self._shape else 0):
            self.preprocessing.draw_windows(self._shape, replayed)
        return replayed.get_state()

    def set_state(self, state):
        """Continue from a state of the generator."""
        self.generator.set_state(state)
        self._before, self._shape = state, None


def _moved(numbers, device):
    return numbers.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else numbers
