"""Standard streams that may be closed, full or broken, so that a message that cannot be shown ends no command."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

__all__ = ["flush_stdout", "open_closed", "tolerant_stderr"]

# Raised by a stream that lacks the method, that is broken, or that is closed.
STREAM_ERRORS = (AttributeError, OSError, ValueError)


def open_closed() -> None:
    """Open the standard streams that the shell has closed (`>&-`), and replace those that Python sets to None.

    Otherwise, a file that is opened later gets the number of a closed stream, and receives what libraries write there.
    Closed standard output is replaced by a stream that cannot be written, so that the user gets an error.
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
        sys.stdout = cast(TextIO, _ClosedOutput())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.closed:
            stream.reconfigure(errors="backslashreplace")  # for letters that the locale lacks


@contextlib.contextmanager
def tolerant_stderr() -> Iterator[None]:
    """Inside the block, ignore errors in writing to standard error, also those of progress bars and warnings."""
    stderr = sys.stderr
    sys.stderr = cast(TextIO, _TolerantStream(stderr))
    try:
        yield
    finally:
        sys.stderr = stderr
        with contextlib.suppress(*STREAM_ERRORS):
            _flush(stderr)


def flush_stdout() -> None:
    """Write the buffered output.

    Raises:
        OSError: it cannot be written.
    """
    with contextlib.suppress(AttributeError, ValueError):
        _flush(sys.stdout)


def _flush(stream: TextIO) -> None:
    """Flush a stream; discard what cannot be written, which Python would try to write once more when it ends."""
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(*STREAM_ERRORS):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            stream.flush()
        raise


class _ClosedOutput(io.TextIOBase):
    """Standard output that is closed: every attempt to write fails."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


class _TolerantStream:
    """A stream, or None, that discards what cannot be written."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(*STREAM_ERRORS):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(*STREAM_ERRORS):
            self._stream.flush()

    def isatty(self) -> bool:
        with contextlib.suppress(*STREAM_ERRORS):
            return bool(self._stream.isatty())
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
