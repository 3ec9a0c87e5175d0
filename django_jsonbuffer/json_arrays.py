"""Where the events of a JSON array begin and end in its bytes, and how many there are."""

import json
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_STRING_OR_BRACKET: Final = re.compile(_STRING + rb"|[\[\]{}]", re.DOTALL)
_STRING_BRACKET_OR_COMMA: Final = re.compile(_STRING + rb"|[\[\]{},]", re.DOTALL)
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_OR_HALF_A_STRING: Final = re.compile(_STRING_BRACKET_OR_COMMA.pattern + rb'|"', re.DOTALL)


MAX_DEPTH_OF_A_BATCH: Final = 200
"""The scripts accept values of another client up to this depth, with the array itself."""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)
"""Decodes what the scripts accept, apart from the depth."""


class _Span(NamedTuple):
    """The place of an event in an array."""

    start: int
    end: int
    behind: int
    """Position behind the comma or the bracket that ends the event."""

    is_last: bool
    """Whether the closing bracket of the array ends the event."""


def spans(array: bytes) -> list[tuple[int, int]]:
    """Start and end of each event of a JSON array.

    Reads strings, brackets and commas only, so it also finds events that no decoder accepts. Raises
    ``ValueError`` if the brackets are not those of one array.
    """
    found = [*_spans(array, _STRING_BRACKET_OR_COMMA)]
    if not found or not found[-1].is_last or array[found[-1].behind :].strip():
        raise ValueError("the brackets are not those of one JSON array")
    return [(span.start, span.end) for span in found]


def leading_events(array: bytes) -> Iterator[tuple[bytes, bool]]:
    """Each event of a JSON array that may be cut off anywhere, and whether the event is whole.

    Reads strings, brackets and commas only, so an event may be one that no decoder accepts.
    """
    behind = len(array) - len(array.lstrip().removeprefix(b"["))
    for span in _spans(array, _OR_HALF_A_STRING):
        yield array[span.start : span.end], True
        if span.is_last:
            return
        behind = span.behind
    if rest := array[behind:].strip():
        yield rest, False


def count_events(array: bytes) -> int | None:
    """The number of events, or None if this is not a JSON array of events.

    Agrees with the scripts about what one is. Keeps none of the events in memory.
    """
    try:
        text = array.decode()
        return _count_events(text) if text.startswith("[") else None
    except (ValueError, RecursionError):
        return None


def is_deeper_than(limit: int, encoded: bytes) -> bool:
    """Whether more than `limit` arrays and objects are nested in each other."""
    # Each level has two brackets, so a text with few bytes or brackets need not be searched.
    if len(encoded) <= 2 * limit or encoded.count(b"[") + encoded.count(b"{") <= limit:
        return False
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(encoded):
        if token[0] in b"[{":
            depth += 1
            if depth > limit:
                return True
        elif token[0] in b"]}":
            depth -= 1
    return False


def _count_events(text: str) -> int:
    """Raises ``ValueError`` or ``RecursionError`` if this is not a JSON array of events."""
    count, at = 0, _behind_space(text, 1)
    if text[at : at + 2] == "]":
        return 0
    while True:
        _, end = DECODER.raw_decode(text, at)
        if is_deeper_than(MAX_DEPTH_OF_A_BATCH - 1, text[at:end].encode()):
            raise ValueError("an event is too deep")
        count += 1
        at = _behind_space(text, end)
        if text[at : at + 2] == "]":
            return count
        if text[at : at + 1] != ",":
            raise ValueError("a comma or the last bracket is missing")
        at = _behind_space(text, at + 1)


def _behind_space(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches anywhere


def _spans(array: bytes, tokens: re.Pattern[bytes]) -> Iterator[_Span]:
    """The events that end with a comma or a bracket, as long as the brackets are an array's.

    If `tokens` matches half a string, the search ends at a string that is cut off.
    """
    depth = start = 0
    for token in tokens.finditer(array):
        kind = token[0]
        if kind == b'"' or (depth == 0 and kind != b"["):
            return
        if kind in (b"[", b"{"):
            depth += 1
            start = start if depth > 1 else token.end()
        elif kind in (b"]", b"}"):
            depth -= 1
        if depth == 0 or (depth == 1 and kind == b","):
            yield _Span(*_stripped(array, start, token.start()), token.end(), depth == 0)
            start = token.end()
        if depth == 0:
            return


def _stripped(array: bytes, start: int, end: int) -> tuple[int, int]:
    event = array[start:end]
    return start + len(event) - len(event.lstrip()), start + len(event.rstrip())
