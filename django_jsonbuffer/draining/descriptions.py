"""Exceptions as text: for the log, for the figures of a bucket and for dead letters."""

from traceback import format_exception, format_exception_only, format_tb
from typing import Final

LONGEST_TRACEBACK: Final = 20_000
"""Characters of a traceback that a dead letter keeps, from its end."""

LONGEST_LOGGED_TRACEBACK: Final = 4_000
"""Characters of a traceback in the log, from its end."""

_LONGEST_MESSAGE: Final = 300


def kind_of(error: BaseException) -> str:
    """The name of the exception's class."""
    return type(error).__qualname__


def summary_of(error: BaseException, *, with_message: bool) -> str:
    """Class and message in one line of limited length. The message may quote events."""
    if not with_message:
        return kind_of(error)
    message = " ".join(_message_of(error).split())
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[:_LONGEST_MESSAGE]}…"
    return _as_text(f"{kind_of(error)}: {message}" if message else kind_of(error))


def has_kind(summary: str, error: BaseException) -> bool:
    """Whether the summary is that of an exception of the same class."""
    return summary.partition(":")[0] == kind_of(error)


def places_of(error: BaseException) -> str:
    """Where the exception was raised: its traceback without its message."""
    return _as_text("".join(format_tb(error.__traceback__)).rstrip())[-LONGEST_LOGGED_TRACEBACK:]


def described(reason: object) -> tuple[str, str]:
    """The reason as a dead letter keeps it: error and traceback."""
    if not isinstance(reason, BaseException):
        return _as_text(str(reason)), ""
    text = "".join(format_exception(reason)).rstrip()
    error = "".join(format_exception_only(reason)).strip()
    return _as_text(error), _as_text(text)[-LONGEST_TRACEBACK:]


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  (its __str__ may raise anything)
        return ""


def _as_text(text: str) -> str:
    """The text without lone surrogates, which the name of a file may bring into an error."""
    return text.encode(errors="backslashreplace").decode()
