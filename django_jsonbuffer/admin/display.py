"""An event, and the error of a dead letter, as a page shows them: laid out and cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.escapes import escape_invisible
from django_jsonbuffer.figures import format_count
from django_jsonbuffer.letters import DeadLetter
from django_jsonbuffer.redaction import (
    VisibleEvent,
    visible_error,
    visible_event,
    visible_letter,
    visible_traceback,
)

from .json_layout import lay_out, members

MOST_CHARACTERS: Final = 10_000
"""Most characters that are shown of a text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exhibit:
    """A text that a visitor sees."""

    text: str
    note: str = ""
    """Which part is not shown, and why."""

    pairs: Sequence[tuple[str, str]] = ()
    """The members of an event that is an object, each with its value as JSON. Empty if the event is
    something else, or if it is cut."""

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
        text = lay_out(event.raw, most_characters=MOST_CHARACTERS)
        shown = cls._cut(text, size_bytes=event.size, is_whole=is_whole)
        is_cut = not is_whole or len(text) > MOST_CHARACTERS
        pairs = [] if is_cut else members(event.raw)
        return cls(
            text=shown.text,
            note=shown.note or event.note,
            pairs=[(_escape(name), _escape(value)) for name, value in pairs],
        )

    @classmethod
    def _cut(cls, text: str, *, size_bytes: int | None = None, is_whole: bool = True) -> Self:
        if is_whole and len(text) <= MOST_CHARACTERS:
            return cls(text=_escape(text))
        note = _("Cut here.")
        if size_bytes:
            note = ngettext("Cut: it has %(size)s byte.", "Cut: it has %(size)s bytes.", size_bytes)
            note %= {"size": format_count(size_bytes)}
        return cls(text=_escape(text[:MOST_CHARACTERS]) + "…", note=note)


def _escape(text: str) -> str:
    return escape_invisible(text, keep="\n\t")
