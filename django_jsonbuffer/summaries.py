"""Exceptions as text for the log and for the figures of a bucket: class, message and place.

The message of an exception that this app did not raise may quote an event.
"""

import re
from traceback import extract_tb, format_tb, walk_tb
from typing import Final

from .escapes import escape_invisible
from .exceptions import JSONBufferError

LONGEST_LOGGED_TRACEBACK: Final = 4_000
"""Characters of a traceback in the log, from its end."""

_LONGEST_MESSAGE: Final = 300

_VALUES: Final = re.compile(
    r"""
    (?<![\w-])                                    # a word
    (?! (?<![.,]) [45]\d\d (?! [\w-] | [.,]\d ) ) # that is not the code of an HTTP error,
    [\w-]*\d[\w-]*                                # and has a digit
    | '[^']*' | "[^"]*"                           # what stands in quotes
    """,
    re.VERBOSE,
)
"""What differs between the messages of events that fail for the same reason: numbers, ids and
quoted values. The code of an HTTP error is not one of them: 422 is a bad request, 503 a server that
is down."""

_NUMBERS: Final = re.compile(r"\d+")


def kind_of(error: BaseException) -> str:
    """The name of the exception's class."""
    return type(error).__qualname__


def message_of(error: BaseException) -> str:
    """The message. Empty if the exception has none, or cannot give it."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  (its __str__ may raise anything)
        return ""


def summary_of(error: BaseException, *, with_message: bool) -> str:
    """Class and message in one line of limited length. The message may quote events."""
    message = " ".join(message_of(error).split()) if with_message else ""
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]}…"
    return f"{kind_of(error)}: {escape_invisible(message)}" if message else kind_of(error)


def place_of(error: BaseException) -> str:
    """The file and the line that raised the exception."""
    frames = extract_tb(error.__traceback__, limit=-1)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"


def places_of(error: BaseException, *, with_source: bool) -> str:
    """Where the exception was raised: its traceback without its message.

    The lines of source code may contain the text of the message.
    """
    frames = [frame.rstrip() for frame in format_tb(error.__traceback__)]
    places = "\n".join(frame if with_source else frame.partition("\n")[0] for frame in frames)
    return escape_invisible(places[-LONGEST_LOGGED_TRACEBACK:], keep="\n")


def is_ours(error: BaseException) -> bool:
    """Whether this app raised the exception, and so wrote its message.

    Code of a project may raise exceptions of the same classes.
    """
    if not isinstance(error, JSONBufferError):
        return False
    names = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    return bool(names) and names[-1].partition(".")[0] == __package__


def looks_like(one: str, other: str) -> bool:
    """Whether two summaries differ at most in numbers, ids and in what stands in quotes."""
    return _without_values(one) == _without_values(other)


def _without_values(summary: str) -> tuple[str, str]:
    kind, _, message = summary.partition(": ")
    return _NUMBERS.sub("", kind), _VALUES.sub("", message)
