"""The errors that Redis replies."""

from typing import Final


class ErrorReply(Exception):
    """An error as Redis words it. It begins with a code in capitals."""


WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_AN_INTEGER: Final = "ERR value is not an integer or out of range"
SYNTAX: Final = "ERR syntax error"
NO_KEY: Final = "ERR no such key"
