"""Files that are replaced as a whole or not at all, and locks between processes."""

import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["locked", "open_replacement", "replace_file"]


def replace_file(path: Path, content: bytes | memoryview) -> None:
    """Replace a file, or create it, so that readers see either the old or the new content, also after an interruption.

    Raises:
        OSError: as in `open_replacement`.
    """
    with open_replacement(path) as file:
        file.write(content)


@contextlib.contextmanager
def open_replacement(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file in the same folder, and rename it to `path` when the block ends without an error.

    Raises:
        OSError: there is no space or no permission; the error names `path`, or the file that the block failed to write,
            and the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    except OSError as error:  # on a full disk, the system's error has no file name and numpy's has no number
        named = path if str(error.filename or temporary) == str(temporary) else error.filename
        raise OSError(error.errno or errno.ENOSPC, error.strerror or str(error), str(named)) from None
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Run the block while no other process or thread runs one for the same path; wait, and log that, if one does.

    The lock is on the file `.<name>.lock` in the same folder. The system releases it when the process ends, also if it
    is killed. The file is not removed, because others may be waiting for it.

    Args:
        path: a file or folder, which need not exist.

    Raises:
        OSError: the lock file cannot be created.
    """
    import filelock  # here, because only the preparation of data sets needs it

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        logging.getLogger(__name__).warning("%s: waiting for another process that is writing it", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
