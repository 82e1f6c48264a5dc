"""Seeds of the independent random streams of one run."""

import hashlib

__all__ = ["stream_seed"]


def stream_seed(seed: int, purpose: str) -> int:
    """Return the seed, 0 to 2^63 - 1, of the random stream of one purpose of a run.

    Args:
        seed: the seed of the run.
        purpose: what is drawn, such as `order` or `subset`; streams of different purposes are independent.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
