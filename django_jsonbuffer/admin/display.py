"""An event, and the error of a dead letter, as a visitor may see them: redacted, laid out, cut."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jsonbuffer import catalog
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.dead_letters import DeadLetter
from django_jsonbuffer.escapes import escape_invisible

MOST_BYTES: Final = 64 * 1024
"""Most bytes that are read of an event to be shown. A larger event cannot be redacted."""

MOST_CHARACTERS: Final = 10_000
"""Most characters that are shown of a text."""

_TOKEN: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},:]|[^\s"\[\]{},:]+', re.DOTALL)
_KIND: Final = re.compile(r"[A-Za-z_][\w.]*(?=:|$)", re.MULTILINE)
_FRAME: Final = re.compile(r'Traceback \(most recent call last\):|\s+File ".*", line \d+, in .*')


@dataclass(frozen=True, kw_only=True, slots=True)
class Exhibit:
    """A text that a visitor sees."""

    text: str
    note: str = ""
    """Which part is not shown, and why."""

    @classmethod
    def of_event(cls, bucket: Bucket, raw: bytes, *, size: int | None) -> Self:
        """Show an event. `raw` may be only its beginning, `size` is its size; None if unknown.

        If the bucket has ``redact``, and it fails or the event is too large, nothing is shown.
        """
        is_whole = size == len(raw)
        if catalog.options_of(bucket).redact is None:
            return cls._cut(lay_out(raw), size_bytes=size, is_whole=is_whole)
        if not is_whole:
            return cls(text="", note=_("Not shown: it is too large to be redacted."))
        try:
            redacted = catalog.redacted(bucket, raw)
        except Exception as error:  # noqa: BLE001  (the project's hook may raise anything)
            note = _("Not shown: redact failed with %(error)s.")
            return cls(text="", note=note % {"error": type(error).__qualname__})
        shown = cls._cut(lay_out(redacted), size_bytes=len(redacted), is_whole=True)
        return cls(text=shown.text, note=shown.note or _("Redacted."))

    @classmethod
    def of_letter(cls, bucket: Bucket, letter: DeadLetter) -> Self:
        """Show the event of a dead letter.

        With ``redact``, a value that no processor has seen is not shown. It may be JSON, but not an
        event that ``redact`` expects.
        """
        was_processed = letter.attempts > 0 or letter.traceback
        if catalog.options_of(bucket).redact is not None and not was_processed:
            note = _("Not shown: no processor has seen it, and it may not be an event.")
            return cls(text="", note=note)
        return cls.of_event(bucket, letter.raw, size=letter.size)

    @classmethod
    def of_error(cls, bucket: Bucket, letter: DeadLetter) -> Self:
        """Show an error. With ``redact`` only its class: the message may quote the event."""
        if catalog.options_of(bucket).redact is None:
            return cls._cut(letter.error)
        kind = _KIND.match(letter.error) if letter.traceback else None
        note = _("The message is not shown, because it may quote the event.")
        return cls(text=kind[0] if kind else "", note=note)

    @classmethod
    def of_traceback(cls, bucket: Bucket, letter: DeadLetter) -> Self:
        """Show a traceback. With ``redact`` without source lines, which may contain the event."""
        lines = letter.traceback.splitlines()
        if catalog.options_of(bucket).redact is not None:
            lines = [line for line in lines if _FRAME.fullmatch(line)]
        text = "\n".join(lines)
        return cls(text=_escape(text[-MOST_CHARACTERS:]))

    @classmethod
    def _cut(cls, text: str, *, size_bytes: int | None = None, is_whole: bool = True) -> Self:
        if is_whole and len(text) <= MOST_CHARACTERS:
            return cls(text=_escape(text))
        note = _("Cut here.")
        if size_bytes:
            note = ngettext("Cut: it has %(size)s byte.", "Cut: it has %(size)s bytes.", size_bytes)
            note %= {"size": f"{size_bytes:,}"}
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
