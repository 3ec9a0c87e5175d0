"""JSON as people read it. No character of a value is changed."""

import json
import re
from collections.abc import Iterator
from typing import Final

from django_jsonbuffer.redaction import MOST_BYTES

_TOKEN: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},:]|[^\s"\[\]{},:]+', re.DOTALL)


def lay_out(raw: bytes, *, most_characters: int) -> str:
    """JSON with a line for each value. No character of a value is changed.

    `raw` may be cut anywhere. A text that does not begin like an array or an object is returned as
    it is.
    """
    text = raw[:MOST_BYTES].decode(errors="replace")
    if text.lstrip()[:1] not in ("[", "{"):
        return text
    pieces, size = [], 0
    for piece in _pieces(text):
        pieces.append(piece)
        size += len(piece)
        if size > most_characters:
            break
    return "".join(pieces)


def _pieces(text: str) -> Iterator[str]:
    depth, opener = 0, ""
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if piece in "]}":
            depth = max(depth - 1, 0)
            if not opener:
                yield _line_break(depth)
        elif opener:
            yield _line_break(depth)
        opener = ""
        yield piece
        if piece in "[{":
            depth, opener = depth + 1, piece
        elif piece == ",":
            yield _line_break(depth)
        elif piece == ":":
            yield " "


def _line_break(depth: int) -> str:
    return "\n" + "  " * min(depth, 40)


def members(raw: bytes) -> list[tuple[str, str]]:
    """Name and value of each member of an object. The value is JSON, laid out.

    Empty if `raw` is not a JSON object.
    """
    try:
        if not isinstance(json.loads(raw), dict):
            return []
    except (ValueError, RecursionError):
        return []
    found, depth, name, value = [], 0, "", list[str]()
    for match in _TOKEN.finditer(raw.decode(errors="replace")):
        piece = match[0]
        depth += (piece in "[{") - (piece in "]}")
        if depth == 1 and piece in ":{":
            if piece == ":":
                name, value = json.loads("".join(value)), []
        elif (depth == 1 and piece == ",") or depth == 0:
            if value:
                text = "".join(value)
                found.append((name, lay_out(text.encode(), most_characters=len(text) * 50)))
            value = []
        else:
            value.append(piece)
    return found
