"""How commands read their arguments. Each function raises :class:`ErrorReply` as Redis does."""

from typing import Final

from .errors import NOT_AN_INTEGER, SYNTAX, ErrorReply

LARGEST: Final = 2**63 - 1


def integer(text: bytes, *, fault: str = NOT_AN_INTEGER) -> int:
    """The number that an argument spells, as strictly as Redis reads it. `fault` is the error."""
    number = int(text) if text.removeprefix(b"-").isdigit() else None
    if number is None or text != b"%d" % number or not -LARGEST - 1 <= number <= LARGEST:
        raise ErrorReply(fault)
    return number


def value_of(options: list[bytes]) -> bytes:
    """Remove and return the next one of the options: the value of the option before it."""
    if not options:
        raise ErrorReply(SYNTAX)
    return options.pop(0)
