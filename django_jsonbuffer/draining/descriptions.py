"""Exceptions as text: for the log, for the figures of a bucket and for dead letters."""

from traceback import format_exception, format_exception_only
from typing import Final

from django_jsonbuffer.summaries import kind_of, summary_of

__all__ = ["described", "has_kind", "kind_of", "summary_of"]

LONGEST_TRACEBACK: Final = 20_000
"""Characters of a traceback that a dead letter keeps, from its end."""


def has_kind(summary: str, error: BaseException) -> bool:
    """Whether the summary is that of an exception of the same class."""
    return summary.partition(":")[0] == kind_of(error)


def described(reason: object) -> tuple[str, str]:
    """The reason as a dead letter keeps it: error and traceback."""
    if not isinstance(reason, BaseException):
        return _as_text(str(reason)), ""
    text = "".join(format_exception(reason)).rstrip()
    error = "".join(format_exception_only(reason)).strip()
    return _as_text(error), _as_text(text)[-LONGEST_TRACEBACK:]


def _as_text(text: str) -> str:
    """The text without lone surrogates, which the name of a file may bring into an error."""
    return text.encode(errors="backslashreplace").decode()
