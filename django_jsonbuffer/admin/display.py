"""An event, and the error of a dead letter, as a page shows them: laid out and cut."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.escapes import escape_invisible
from django_jsonbuffer.figures import format_count
from django_jsonbuffer.letters import DeadLetter
from django_jsonbuffer.redaction import (
    MOST_BYTES,
    VisibleEvent,
    visible_error,
    visible_event,
    visible_letter,
    visible_traceback,
)

MOST_CHARACTERS: Final = 10_000
"""Most characters that are shown of a text."""

_TOKEN: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},:]|[^\s"\[\]{},:]+', re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Exhibit:
    """A text that a visitor sees."""

    text: str
    note: str = ""
    """Which part is not shown, and why."""

    @classmethod
    def of_event(cls, bucket: Bucket, raw: bytes, *, size: int | None) -> Self:
        """Show an event. `raw` may be only its beginning, `size` is its size; None if unknown."""
        return cls._of_visible(visible_event(bucket, raw, size=size))

    @classmethod
    def of_letter(cls, bucket: Bucket, letter: DeadLetter) -> Self:
        """Show the event of a dead letter."""
        return cls._of_visible(visible_letter(bucket, letter))

    @classmethod
    def of_error(cls, bucket: Bucket, letter: DeadLetter) -> Self:
        error, note = visible_error(bucket, letter)
        shown = cls._cut(error)
        return cls(text=shown.text, note=note or shown.note)

    @classmethod
    def of_traceback(cls, bucket: Bucket, letter: DeadLetter) -> Self:
        """Show the end of a traceback."""
        return cls(text=_escape(visible_traceback(bucket, letter)[-MOST_CHARACTERS:]))

    @classmethod
    def _of_visible(cls, event: VisibleEvent) -> Self:
        if event.raw is None:
            return cls(text="", note=event.note)
        is_whole = event.size == len(event.raw)
        shown = cls._cut(lay_out(event.raw), size_bytes=event.size, is_whole=is_whole)
        return cls(text=shown.text, note=shown.note or event.note)

    @classmethod
    def _cut(cls, text: str, *, size_bytes: int | None = None, is_whole: bool = True) -> Self:
        if is_whole and len(text) <= MOST_CHARACTERS:
            return cls(text=_escape(text))
        note = _("Cut here.")
        if size_bytes:
            note = ngettext("Cut: it has %(size)s byte.", "Cut: it has %(size)s bytes.", size_bytes)
            note %= {"size": format_count(size_bytes)}
        return cls(text=_escape(text[:MOST_CHARACTERS]) + "…", note=note)


def lay_out(raw: bytes) -> str:
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
        if size > MOST_CHARACTERS:
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


def _escape(text: str) -> str:
    return escape_invisible(text, keep="\n\t")
