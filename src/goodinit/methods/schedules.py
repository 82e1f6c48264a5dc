"""Learning-rate schedules: functions `(*, options)` that return the factor as a function of the updates done."""

from collections.abc import Sequence

from goodinit.methods.contracts import Schedule

__all__ = ["polynomial", "step"]


def polynomial(*, steps: int, power: float = 1.0) -> Schedule:
    r"""Decay to 0 as a power of the remaining fraction of training: :math:`(1 - t / \mathrm{steps})^\mathrm{power}`.

    Args:
        steps: number of updates after which the learning rate is 0.
        power: more than 0.

    Returns:
        A function of the number of updates done that returns the factor of the learning rate.

    Raises:
        ValueError: `steps` or `power` is out of its range.

    Reference: the policy `poly` of Caffe.
    """
    if steps < 1 or not power > 0:
        raise ValueError(f"polynomial: steps must be at least 1 and power more than 0, not {steps}, {power}")
    return lambda updates: max(1 - updates / steps, 0.0) ** power


def step(*, at: Sequence[int], factor: float = 0.1) -> Schedule:
    """Multiply the learning rate by a factor after each of the given numbers of updates.

    Args:
        at: numbers of updates, increasing.
        factor: more than 0 and less than 1.

    Returns:
        As `polynomial`.

    Raises:
        ValueError: `at` does not increase, or `factor` is out of its range.
    """
    if not 0 < factor < 1 or sorted(set(at)) != list(at):
        raise ValueError(f"step: at must increase and factor be between 0 and 1, not {list(at)}, {factor}")
    return lambda updates: factor ** sum(updates >= number for number in at)
