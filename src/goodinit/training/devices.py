"""The device on which a process trains, and the GPUs that concurrent processes share."""

import contextlib
import itertools
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from goodinit.errors import InputError, nearest
from goodinit.training.precision import bf16_instructions

if TYPE_CHECKING:
    import filelock

__all__ = ["choose_device", "instructions", "jobs_per_gpu", "name_of", "reserve", "wait_for_gpu"]

LOGGER = logging.getLogger(__name__)
POLL_SECONDS = 1.0  # between two looks for a free GPU


def choose_device(name: str) -> torch.device:
    """Return the torch device with a name; `auto` is a GPU if there is one, otherwise the CPU.

    Raises:
        InputError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise InputError(f"device: unknown device {name!r}{nearest(name, ('auto', 'cpu', 'cuda', 'cuda:N'))}")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device: {name}: there are {torch.cuda.device_count()} GPUs; use cpu or auto")
    return device


def name_of(device: torch.device) -> str:
    """Return the name of a GPU, such as `NVIDIA H100 80GB HBM3`, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def instructions() -> str:
    """Return which instructions of the CPU torch uses, such as `AVX512, avx512_bf16, amx_bf16`.

    With other instructions, the last bits of results differ.
    """
    return ", ".join([torch.backends.cpu.get_cpu_capability(), *bf16_instructions()])


def jobs_per_gpu() -> int:
    """Return how many jobs may train on one GPU at a time, from `GOODINIT_JOBS_PER_GPU`; 1 if it is not set.

    Raises:
        InputError: it is not a positive number.
    """
    text = os.environ.get("GOODINIT_JOBS_PER_GPU", "1")
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"GOODINIT_JOBS_PER_GPU must be an integer, at least 1, not {text!r}")
    return int(text)


@contextlib.contextmanager
def reserve(device: torch.device) -> Iterator[torch.device]:
    """Yield the device to train on: for `cuda` without a number, a GPU that no other process has reserved.

    Of several GPUs, the process waits for one that fewer than `jobs_per_gpu` processes of this user hold. It holds a
    lock until the block ends, which the operating system releases if the process is killed.
    """
    if device.type != "cuda" or device.index is not None or torch.cuda.device_count() < 2:
        yield device
        return
    with _first_free(_visible_gpus(torch.cuda.device_count()), jobs_per_gpu()) as index:
        yield torch.device("cuda", index)


def wait_for_gpu() -> None:
    """Wait until the GPU has finished its work, so that a clock read next counts all of it; nothing without a GPU."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _visible_gpus(count: int) -> list[str]:
    """Return the identifiers of the GPUs that are visible to this process, the same in all processes."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return visible if len(visible) == count else [str(index) for index in range(count)]


@contextlib.contextmanager
def _first_free(names: Sequence[str], places: int) -> Iterator[int]:
    """Yield the index of the first GPU that has a free place, and hold the place inside the block.

    The first places of all GPUs are taken before the second ones.
    """
    import filelock  # here, because only machines with several GPUs need it

    folder = Path(tempfile.gettempdir()) / f"goodinit-gpus-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    locks = [
        (index, filelock.FileLock(folder / f"{name.replace('/', '_')}-{place}.lock"))
        for place in range(places)
        for index, name in enumerate(names)
    ]
    for attempt in itertools.count():
        for index, lock in locks:
            if _acquire(lock):
                try:
                    yield index
                finally:
                    lock.release()
                return
        if attempt == 0:
            LOGGER.info("all %d places on %d GPUs are in use, waiting for one", len(locks), len(names))
        time.sleep(POLL_SECONDS)


def _acquire(lock: "filelock.BaseFileLock") -> bool:
    """Acquire a lock without waiting; return whether it was free."""
    import filelock

    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return False
    return True
