"""Errors in a user's input, reported as one short line."""

import contextlib
import difflib
from collections.abc import Iterable, Iterator

__all__ = ["MAX_LENGTH", "InputError", "input_errors", "is_out_of_memory", "nearest", "one_line"]

MAX_LENGTH = 280  # characters of a message; at most 300 with the prefix of the command line
MAX_WORD_LENGTH = 90  # characters kept of a word, such as a path or a value, in a message that is too long
MAX_LIST_LENGTH = 110  # characters of a list of allowed words
TAIL_LENGTH = 120  # characters kept of the end of a message, which says what is allowed and how to fix it


# What says that the memory of the CPU or of a GPU is exhausted: types of exceptions, and parts of messages of others.
OUT_OF_MEMORY_TYPES = {"MemoryError", "OutOfMemoryError"}
OUT_OF_MEMORY_MESSAGES = ("allocate memory", "bad_alloc", "out of memory")
SHORT_MEMORY = 64 * 2**20  # bytes; any failure of a process that cannot allocate as much counts as a lack of memory


class InputError(ValueError):
    """A user's input cannot be used; the message is one line that says what is wrong, where, and how to fix it.

    Args:
        message: any text; quoted values may be of any length, see `one_line`.
    """

    def __init__(self, message: object) -> None:
        super().__init__(one_line(message))


@contextlib.contextmanager
def input_errors() -> Iterator[None]:
    """Turn the errors that methods and data sets raise about their arguments and files into InputError."""
    try:
        yield
    except InputError:
        raise
    except (FileNotFoundError, ValueError) as error:
        if (isinstance(error, FileNotFoundError) and error.errno) or is_out_of_memory(error):
            raise  # an error of the system, which names the file, or a lack of memory
        raise InputError(str(error)) from None


def is_out_of_memory(error: Exception) -> bool:
    """Return whether the memory of the CPU or of a GPU is exhausted, according to an exception or to its circumstances.

    While memory is short, a library may fail with any exception; only an OSError with a number has another cause then.
    """
    types = {kind.__name__ for kind in type(error).__mro__}
    if not types.isdisjoint(OUT_OF_MEMORY_TYPES) or any(text in str(error) for text in OUT_OF_MEMORY_MESSAGES):
        return True
    has_number = isinstance(error, OSError) and error.errno is not None
    return not has_number and _is_memory_short()


def one_line(text: object) -> str:
    """Return a text as one line of at most `MAX_LENGTH` printable characters.

    White space is reduced to single spaces, and other characters that are not printable are written as escape
    sequences. A longer text is shortened in the middle of its long words, which are paths and values, and then, if
    necessary, in the middle of the line.
    """
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(str(text).split()))
    if len(line) > MAX_LENGTH:
        line = " ".join(_shorten(word, MAX_WORD_LENGTH, MAX_WORD_LENGTH // 2) for word in line.split(" "))
    return _shorten(line, MAX_LENGTH, TAIL_LENGTH)


def nearest(word: object, allowed: Iterable[object]) -> str:
    """Return "; did you mean ...?" with the allowed word nearest to a word, or else a list of the allowed words.

    Args:
        word: what the user wrote.
        allowed: the words, of any type; a long list is cut off.
    """
    choices = sorted(map(str, allowed))
    matches = difflib.get_close_matches(str(word)[:100], choices, n=1)
    if matches:
        return f"; did you mean {matches[0]}?"
    listed = ", ".join(choices) or "nothing"
    if len(listed) > MAX_LIST_LENGTH:
        listed = f"{listed[:MAX_LIST_LENGTH].rpartition(', ')[0]}, ... ({len(choices)} in all)"
    return f"; allowed: {listed}"


def _shorten(text: str, length: int, tail: int) -> str:
    """Return a text with at most `length` characters: its beginning, "..." and its last `tail` characters."""
    return text if len(text) <= length else f"{text[: length - tail - 3]}...{text[-tail:]}"


def _is_memory_short() -> bool:
    """Return whether this process cannot allocate `SHORT_MEMORY`."""
    try:
        bytes(SHORT_MEMORY)
    except MemoryError:
        return True
    return False
