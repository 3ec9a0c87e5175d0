"""Exceptions as a dead letter keeps them."""

from traceback import format_exception, format_exception_only
from typing import Final

LONGEST_TRACEBACK: Final = 20_000
"""Characters of a traceback that a dead letter keeps, from its end."""


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
