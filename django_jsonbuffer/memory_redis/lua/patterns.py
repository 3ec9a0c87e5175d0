"""The patterns of Lua, as regular expressions of Python."""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from .values import LuaError

_CLASSES: Final = {
    "a": "A-Za-z",
    "c": r"\x00-\x1f\x7f",
    "d": "0-9",
    "l": "a-z",
    "p": r"!-/:-@\[-`{-~",
    "s": r"\t-\r ",
    "u": "A-Z",
    "w": "A-Za-z0-9",
    "x": "0-9A-Fa-f",
    "z": r"\x00",
}


class Pattern(NamedTuple):
    expression: re.Pattern[bytes]
    is_anchored: bool
    """Whether a match must begin where the search begins."""

    def search(self, text: bytes, start: int = 0) -> re.Match[bytes] | None:
        """The first match from this place on."""
        if self.is_anchored:
            return self.expression.match(text, start)
        return self.expression.search(text, start)

    @property
    def everywhere(self) -> re.Pattern[bytes]:
        """The expression, for a search that finds all matches. Raises :class:`LuaError`."""
        if self.is_anchored:
            raise LuaError(b"a pattern with ^ is not supported here")
        return self.expression


@lru_cache(1000)
def pattern(source: bytes) -> Pattern:
    """Raises :class:`LuaError` for ``%b``, ``%f``, ``%1`` and ``()``, which are not supported."""
    text = source.decode("latin-1")
    is_anchored = text.startswith("^")
    expression = _translated(text[is_anchored:]).encode("latin-1")
    return Pattern(re.compile(expression, re.DOTALL), is_anchored)


def _translated(text: str) -> str:
    parts, at = [], 0
    while at < len(text):
        char = text[at]
        if char in "()":
            if text.startswith("()", at):
                raise LuaError(b"a position capture is not supported")
            parts.append(char)
            at += 1
            continue
        if char == "$" and at == len(text) - 1:
            return "".join([*parts, r"\Z"])
        single, at = _single(text, at)
        repeated = text[at] if at < len(text) and text[at] in "*+-?" else ""
        at += len(repeated)
        parts.append(single + {"-": "*?"}.get(repeated, repeated))
    return "".join(parts)


def _single(text: str, at: int) -> tuple[str, int]:
    """The expression for one character of the text, and the place behind it."""
    char = text[at]
    if char == "[":
        return _set(text, at)
    if char == "%":
        return f"[{_escaped(text, at + 1)}]", at + 2
    return ("." if char == "." else re.escape(char)), at + 1


def _escaped(text: str, at: int) -> str:
    """What a % and the character behind it become, between the brackets of a Python set."""
    char = text[at : at + 1]
    if not char or char in "bf123456789" or (char.isupper() and char.lower() in _CLASSES):
        raise LuaError(b"the pattern %%%b is not supported" % char.encode("latin-1"))
    return _CLASSES[char] if char in _CLASSES else f"\\x{ord(char):02x}"


def _set(text: str, at: int) -> tuple[str, int]:
    start = at + 1 + text.startswith("^", at + 1)
    at, parts = start, ["[^" if start > at + 1 else "["]
    while at == start or text[at] != "]":
        if text[at] == "%":
            parts.append(_escaped(text, at + 1))
            at += 2
        elif text[at + 1] == "-" and text[at + 2] != "]":
            parts.append(f"\\x{ord(text[at]):02x}-\\x{ord(text[at + 2]):02x}")
            at += 3
        else:
            parts.append(f"\\x{ord(text[at]):02x}")
            at += 1
    return "".join([*parts, "]"]), at + 1
