"""Random search: hyper-parameters drawn from distributions, one search for each seed."""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from goodinit.errors import InputError
from goodinit.seeds import stream_seed
from goodinit.studies.outputs import At

__all__ = ["Distribution", "RandomSearch", "Ranking"]


@dataclass(frozen=True)
class Distribution:
    """A uniform distribution over [low, high), of the value or of its logarithm."""

    kind: Literal["uniform", "log_uniform"]
    low: float
    high: float

    def draw(self, count: int, seed: int) -> list[float]:
        """Return `count` values; the first values do not depend on `count`.

        Values are rounded to six significant digits: the last bits of a power differ between machines, and ids of
        runs are hashes of these values.

        Raises:
            InputError: the range is empty, or its logarithm does not exist.
        """
        logarithmic = self.kind == "log_uniform"
        low, high = self.low, self.high
        if low >= high or (logarithmic and low <= 0):
            raise InputError(f"{self.kind}: [{low}, {high}] is not a range{' above 0' * logarithmic}")
        if logarithmic:
            low, high = math.log10(low), math.log10(high)
        generator = random.Random(seed)
        values = [low + (high - low) * generator.random() for _ in range(count)]
        return [float(f"{10**value if logarithmic else value:.6g}") for value in values]


@dataclass(frozen=True)
class Ranking:
    """The metric by which the trials of a search are ranked, the best first."""

    metric: str
    best: Literal["lowest", "highest"]
    at: At = "last"


@dataclass(frozen=True)
class RandomSearch:
    """A random search over hyper-parameters.

    Args:
        trials: number of draws of all hyper-parameters.
        distributions: the distribution of each hyper-parameter, by its dotted path.
        ranking: how trials are ranked, or None.
    """

    trials: int
    distributions: Mapping[str, Distribution]
    ranking: Ranking | None = None

    def draw(self, trials: int, seed: int) -> dict[int, dict[str, float]]:
        """Return `{trial: {hyper-parameter: value}}`, with trials counted from 1.

        Each hyper-parameter has a random stream of its own: further hyper-parameters or trials change no other value.

        Raises:
            InputError: a distribution is not valid.
        """
        values = {}
        for path, distribution in self.distributions.items():
            try:
                values[path] = distribution.draw(trials, stream_seed(seed, f"tune/{path}"))
            except InputError as error:
                raise InputError(f"tune.draw.{path}: {error}") from None
        return {trial + 1: {path: values[path][trial] for path in values} for trial in range(trials)}
