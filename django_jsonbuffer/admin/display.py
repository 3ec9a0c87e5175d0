"""An event, and what went wrong with it, as people may see it: redacted, laid out, and cut."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.dead_letters import DeadLetter

MOST_BYTES: Final = 64 * 1024
"""Of an event that is to be shown. No more is read of it, and what has more is not redacted."""

MOST_CHARACTERS: Final = 10_000
"""Of a text that is shown."""

_TOKEN: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},:]|[^\s"\[\]{},:]+', re.DOTALL)
_KIND: Final = re.compile(r"[A-Za-z_][\w.]*(?=:|$)", re.MULTILINE)
_FRAME: Final = re.compile(r'Traceback \(most recent call last\):|\s+File ".*", line \d+, in .*')


@dataclass(frozen=True, kw_only=True, slots=True)
class Exhibit:
    """A text as it is shown."""

    text: str
    note: str = ""
    """What is not shown, and why."""

    @classmethod
    def of_event(cls, bucket: Bucket, raw: bytes, *, size: int | None) -> Self:
        """`raw` may be the beginning of an event of that size, or of one whose size is not known.

        What the bucket's ``redact`` cannot be asked about is not shown at all.
        """
        is_whole = size == len(raw)
        if bucket.options.redact is None:
            return cls._cut(laid_out(raw), size_bytes=size, is_whole=is_whole)
        if not is_whole:
            return cls(text="", note=_("Not shown: it is too large to be redacted here."))
        try:
            redacted = bucket.redacted(raw)
        except Exception as error:  # noqa: BLE001  (of the project's hook, anything)
            told = _("Not shown: it could not be redacted, because of %(error)s.")
            return cls(text="", note=told % {"error": type(error).__qualname__})
        shown = cls._cut(laid_out(redacted), size_bytes=len(redacted), is_whole=True)
        return cls(text=shown.text, note=shown.note or _("Redacted."))

    @classmethod
    def of_letter(cls, bucket: Bucket, letter: DeadLetter) -> Self:
        """What was set aside whole may be JSON, and yet no event that ``redact`` knows."""
        was_processed = letter.attempts > 0 or letter.traceback
        if bucket.options.redact is not None and not was_processed:
            return cls(text="", note=_("Not shown: no processor has seen it; it may be no event."))
        return cls.of_event(bucket, letter.raw, size=letter.size)

    @classmethod
    def of_error(cls, bucket: Bucket, letter: DeadLetter) -> Self:
        """What an error says of itself may quote the event: with ``redact``, its kind is shown."""
        if bucket.options.redact is None:
            return cls._cut(letter.error)
        kind = _KIND.match(letter.error) if letter.traceback else None
        return cls(text=kind[0] if kind else "", note=_("The message is not shown: redacted."))

    @classmethod
    def of_traceback(cls, bucket: Bucket, letter: DeadLetter) -> Self:
        lines = letter.traceback.splitlines()
        if bucket.options.redact is not None:
            lines = [line for line in lines if _FRAME.fullmatch(line)]
        text = "\n".join(lines)
        return cls(text=_visible(text[-MOST_CHARACTERS:]))

    @classmethod
    def _cut(cls, text: str, *, size_bytes: int | None = None, is_whole: bool = True) -> Self:
        if is_whole and len(text) <= MOST_CHARACTERS:
            return cls(text=_visible(text))
        note = _("Cut here.")
        if size_bytes:
            told = ngettext("Cut: it has %(size)s byte.", "Cut: it has %(size)s bytes.", size_bytes)
            note = told % {"size": f"{size_bytes:,}"}
        return cls(text=_visible(text[:MOST_CHARACTERS]) + "…", note=note)


def laid_out(raw: bytes) -> str:
    """JSON with a line for each value, and not a character of a value changed.

    It may be cut anywhere. What does not begin like an array or an object stays as it is.
    """
    text = raw[:MOST_BYTES].decode(errors="replace")
    if text.lstrip()[:1] not in ("[", "{"):
        return text
    pieces, size = [], 0
    for piece in _laid_out(text):
        pieces.append(piece)
        size += len(piece)
        if size > MOST_CHARACTERS:
            break
    return "".join(pieces)


def _laid_out(text: str) -> Iterator[str]:
    depth, opener = 0, ""
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if piece in "]}":
            depth = max(depth - 1, 0)
            if not opener:
                yield _line(depth)
        elif opener:
            yield _line(depth)
        opener = ""
        yield piece
        if piece in "[{":
            depth, opener = depth + 1, piece
        elif piece == ",":
            yield _line(depth)
        elif piece == ":":
            yield " "


def _line(depth: int) -> str:
    return "\n" + "  " * min(depth, 40)


def _visible(text: str) -> str:
    """Without what would hide, turn round or end the text."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text
    )
