"""An error that a command does not expect: what is reported, and when."""

import logging
import weakref

import pytest

from goodinit.cli import main as cli


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
    monkeypatch.setattr(cli, "SHORT_MEMORY", 2**62)


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
    ],
)
def test_any_error_while_memory_is_short_counts_as_a_lack_of_memory(failing, little_memory, error, message, capsys):
    failing(error, message)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["list"])
    assert stopped.value.code == 2
    assert "out of memory" in capsys.readouterr().err


def test_a_fault_of_the_program_has_a_traceback(failing):
    failing(ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        cli.main(["list"])
