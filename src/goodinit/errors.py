"""Errors that a user can act on: one line, never longer than a screen shows."""

import difflib

__all__ = ["LONGEST", "InputError", "nearest", "one_line"]

LONGEST = 280  # characters of a message; with the prefix of the command line at most 300
ALLOWED = 110  # characters of a list of allowed words
TAIL = 110  # characters kept of the end of a message that is shortened: what is allowed, and how to fix it


class InputError(ValueError):
    """What a user wrote cannot be used; the message is one line that says where, why and how to fix it.

    Args:
        message: any text; what it quotes may be of any length, see `one_line`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: object) -> str:
    """Return a text as one line of printable characters, its middle left out where it has more than `LONGEST`.

    White space becomes single spaces, and other characters that do not print become escape sequences.  The beginning
    says what is wrong and where, the end how to fix it; what is long is a value that is quoted between them.
    """
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(str(text).split()))
    return line if len(line) <= LONGEST else f"{line[: LONGEST - TAIL - 5]} ... {line[-TAIL:]}"


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
