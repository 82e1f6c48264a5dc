"""Errors that a user can act on: one line, never longer than a screen shows."""

import difflib

__all__ = ["LONGEST", "InputError", "nearest", "one_line"]

LONGEST = 280  # characters of a message; with the prefix of the command line at most 300
LONGEST_WORD = 90  # characters kept of a word, such as a path or a value, in a message that is longer
ALLOWED = 110  # characters of a list of allowed words
TAIL = 120  # characters kept of the end of a message: what is allowed, and how to fix it


class InputError(ValueError):
    """What a user wrote cannot be used; the message is one line that says where, why and how to fix it.

    Args:
        message: any text; what it quotes may be of any length, see `one_line`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: object) -> str:
    """Return a text as one line of at most `LONGEST` printable characters.

    White space becomes single spaces, and other characters that do not print become escape sequences.  Where there are
    more characters, those in the middle of long words are left out, which are paths and values, and where that is
    not enough, those in the middle of the line: its beginning says what is wrong and where, its end how to fix it.
    """
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(str(text).split()))
    if len(line) > LONGEST:
        line = " ".join(_without_middle(word, LONGEST_WORD, LONGEST_WORD // 2) for word in line.split(" "))
    return _without_middle(line, LONGEST, TAIL)


def _without_middle(text: str, length: int, tail: int) -> str:
    """Return a text with at most `length` characters: its beginning, "..." and its last `tail` characters."""
    return text if len(text) <= length else f"{text[: length - tail - 3]}...{text[-tail:]}"


def nearest(word: object, allowed) -> str:
    """Return "; did you mean ...?" for the nearest of the allowed words, or else which words are allowed.

    Args:
        word: what a user wrote.
        allowed: the words, of any type; of a long list the first are named.
    """
    words = sorted(map(str, allowed))
    match = difflib.get_close_matches(str(word)[:100], words, n=1)
    if match:
        return f"; did you mean {match[0]}?"
    listed = ", ".join(words) or "nothing"
    if len(listed) > ALLOWED:
        listed = f"{listed[:ALLOWED].rpartition(', ')[0]}, ... ({len(words)} in all)"
    return f"; allowed: {listed}"
