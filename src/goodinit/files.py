"""Files that are replaced whole or not at all."""

import os
from pathlib import Path

__all__ = ["replace_file"]


def replace_file(file: Path, content: bytes | memoryview) -> None:
    """Write bytes to a file whole or not at all: to a temporary name beside it, then renamed.

    Raises:
        OSError: there is no space or no permission; the temporary file is gone then.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(file)
    except OSError as error:
        error.filename = str(file)  # a full disk does not say where
        raise
    finally:
        part.unlink(missing_ok=True)
