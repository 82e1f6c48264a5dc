"""Schedules: what the learning rate is multiplied by, as a function of the updates done."""

__all__ = ["polynomial", "step"]


def polynomial(*, steps: int, power: float = 1.0):
    r"""The learning rate falls to 0 as a power of what is left: :math:`(1 - t / \mathrm{steps})^\mathrm{power}`.

    Args:
        steps: of the whole training; after them it is 0.
        power: more than 0.

    Returns:
        As `step`.

    Raises:
        ValueError: `steps` or `power` is out of its range.

    Reference: Caffe's policy `poly`.
    """
    if steps < 1 or power <= 0:
        raise ValueError(f"polynomial: steps must be at least 1 and power more than 0, not {steps}, {power}")
    return lambda updates: max(1 - updates / steps, 0.0) ** power


def step(*, at: list[int], factor: float = 0.1):
    """The learning rate falls by a factor at each of some updates.

    Args:
        at: numbers of updates after which it falls, rising.
        factor: more than 0 and less than 1.

    Returns:
        A function of the number of updates done before, that gives the multiplier.

    Raises:
        ValueError: `at` does not rise, or `factor` is out of its range.
    """
    if not 0 < factor < 1 or sorted(set(at)) != at:
        raise ValueError(f"step: at must rise and factor be between 0 and 1, not {at}, {factor}")
    return lambda updates: factor ** sum(updates >= one for one in at)
