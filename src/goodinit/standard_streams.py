"""Standard streams that may be closed, full or broken: a message that cannot be shown is no reason to end."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["flush_stdout", "open_closed", "tolerant_stderr"]

ERRORS = (AttributeError, OSError, ValueError)  # of a stream without the method, that is broken, or that is closed


def open_closed() -> None:
    """Open what a shell has closed (`>&-`), and put a stream where Python has none.

    A file that is opened later would take the number of a closed standard stream, and receive what a library writes
    there. Standard output that is closed stays one that cannot be written, which the user is told.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDONLY if number == 1 else os.O_RDWR)
            if opened == number:
                os.set_inheritable(number, True)
            else:
                os.dup2(opened, number)
                os.close(opened)
    if sys.stdout is None or getattr(sys.stdout, "closed", False):
        sys.stdout = _Closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.closed:
            stream.reconfigure(errors="backslashreplace")  # where the locale does not have all letters


@contextlib.contextmanager
def tolerant_stderr() -> Iterator[None]:
    """Inside the block, ignore that standard error cannot be written, also by progress bars and warnings."""
    before = sys.stderr
    sys.stderr = _Tolerant(before)
    try:
        yield
    finally:
        sys.stderr = before
        with contextlib.suppress(*ERRORS):
            _flush(before)


def flush_stdout() -> None:
    """Write what is buffered.

    Raises:
        OSError: it cannot be written.
    """
    with contextlib.suppress(AttributeError, ValueError):
        _flush(sys.stdout)


def _flush(stream):
    """Flush a stream; drop what cannot be written, for which Python would fail once more when it ends."""
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(*ERRORS):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            stream.flush()
        raise


class _Closed(io.TextIOBase):
    """Standard output where there is none."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


class _Tolerant:
    """A stream, or None, on which what cannot be written is dropped."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(*ERRORS):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(*ERRORS):
            self._stream.flush()

    def isatty(self) -> bool:
        with contextlib.suppress(*ERRORS):
            return self._stream.isatty()
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
