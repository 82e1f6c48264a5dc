"""An error that a command does not expect: what is reported, and when."""

import errno
import logging
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from goodinit import errors
from goodinit.cli import main as cli
from goodinit.training import build

FILL_MEMORY = """
from disturbed_project import limit_memory
from goodinit.cli import main as cli

objects = ()  # which are not released

def list_studies(_):
    "Fill the memory."
    global objects
    limit_memory(16)
    for size in (2**20, 2**16, 2**12, *range(512, 0, -8)):
        try:
            while True:
                objects = bytes(size), objects
        except MemoryError:
            pass
    raise MemoryError

cli.COMMANDS["list"] = cli.COMMANDS["list"]._replace(function=list_studies)
cli.main(["list"])
"""


class Tensor:
    """An object whose memory is released when nothing refers to it."""


@pytest.fixture
def failing(monkeypatch):
    """Return a function that lets the command `list` fail with an error while it holds an object.

    The function returns a list to which a weak reference to the object is added.
    """
    held = []

    def replace(error, *arguments):
        def list_studies(_):
            """Fail."""
            tensor = Tensor()
            held.append(weakref.ref(tensor))
            raise error(*arguments)

        monkeypatch.setitem(cli.COMMANDS, "list", cli.COMMANDS["list"]._replace(function=list_studies))
        return held

    return replace


@pytest.fixture
def little_memory(monkeypatch):
    """Let an error find less memory than counts as short."""
    monkeypatch.setattr(errors, "SHORT_MEMORY", 2**62)


def test_memory_is_released_before_an_error_is_reported(failing):
    held = failing(MemoryError)
    alive = []
    handler = logging.Handler()
    handler.emit = lambda record: alive.append(held[0]() is not None)
    cli.LOGGER.addHandler(handler)
    try:
        with pytest.raises(SystemExit) as stopped:
            cli.main(["list"])
    finally:
        cli.LOGGER.removeHandler(handler)
    assert stopped.value.code == 2
    assert alive == [False]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SyntaxError, "expected ':'"),
        (SystemError, "error return without exception set"),
        (ImportError, "failed to map segment from shared object"),
        (OSError, "could not get source code"),
    ],
)
def test_any_error_while_memory_is_short_counts_as_a_lack_of_memory(failing, little_memory, error, message, capsys):
    failing(error, message)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["list"])
    assert stopped.value.code == 2
    assert "out of memory" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no way to see this process's memory")
def test_a_lack_of_any_memory_is_reported():
    """The process fills its memory with objects of all sizes, which it does not release."""
    done = subprocess.run(
        [sys.executable, "-c", FILL_MEMORY], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False
    )
    assert done.stderr.startswith("goodinit: error: out of memory")
    assert done.returncode == 2


@pytest.mark.parametrize("convert", [errors.input_errors, build.mismatch_errors])
def test_an_error_while_memory_is_short_is_not_the_users(little_memory, convert):
    with pytest.raises(ValueError, match="Duplicate") as raised, convert():
        raise ValueError("Duplicate dispatch rule")
    assert not isinstance(raised.value, errors.InputError)


def test_an_error_of_the_system_is_no_lack_of_memory(failing, little_memory, capsys):
    failing(OSError, errno.ENOSPC, "No space left on device", "file")
    with pytest.raises(SystemExit):
        cli.main(["list"])
    assert capsys.readouterr().err == "goodinit: error: file: No space left on device: check space and permissions\n"


def test_a_fault_of_the_program_has_a_traceback(failing):
    failing(ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        cli.main(["list"])
