"""Which parts of events and dead letters may be shown to people, by the option ``redact``."""

import re
from typing import Final, NamedTuple

from django.utils.translation import gettext as _

from . import catalog
from .buckets import Bucket
from .letters import DeadLetter

MOST_BYTES: Final = 64 * 1024
"""Most bytes that are read of an event to be shown to people."""

_KIND: Final = re.compile(r"[A-Za-z_][\w.]*(?=:|$)", re.MULTILINE)
_FRAME: Final = re.compile(r'Traceback \(most recent call last\):|\s+File ".*", line \d+, in .*')


class VisibleEvent(NamedTuple):
    """An event as it may be shown."""

    raw: bytes | None
    """The event, redacted, or only its beginning. None if nothing of it may be shown."""

    size: int | None = None
    """Bytes of the whole event. None if unknown."""

    note: str = ""
    """What was done to the event, or why it is not shown."""


def visible_event(bucket: Bucket, raw: bytes, *, size: int | None) -> VisibleEvent:
    """The event, or its beginning. `raw` may be only the beginning, `size` is the size of it all.

    If the bucket has ``redact``, and it fails or `raw` is not the whole event, nothing is visible.
    """
    if catalog.options_of(bucket).redact is None:
        return VisibleEvent(raw, size)
    if size != len(raw):
        return VisibleEvent(None, note=_("Not shown: it is too large to be redacted."))
    try:
        redacted = catalog.redacted(bucket, raw)
    except Exception as error:  # noqa: BLE001  (the project's hook may raise anything)
        note = _("Not shown: redact failed with %(error)s.")
        return VisibleEvent(None, note=note % {"error": type(error).__qualname__})
    return VisibleEvent(redacted, len(redacted), _("Redacted."))


def visible_letter(bucket: Bucket, letter: DeadLetter) -> VisibleEvent:
    """The event of a dead letter.

    With ``redact``, a value that no processor has seen is not visible. It may be JSON, but not an
    event that ``redact`` expects.
    """
    was_processed = letter.attempts > 0 or letter.traceback
    if catalog.options_of(bucket).redact is not None and not was_processed:
        note = _("Not shown: no processor has seen it, and it may not be an event.")
        return VisibleEvent(None, note=note)
    return visible_event(bucket, letter.raw, size=letter.size)


def visible_error(bucket: Bucket, letter: DeadLetter) -> tuple[str, str]:
    """The error and a note. With ``redact`` only its class: the message may quote the event."""
    if catalog.options_of(bucket).redact is None:
        return letter.error, ""
    kind = _KIND.match(letter.error) if letter.traceback else None
    return kind[0] if kind else "", _("The message is not shown, because it may quote the event.")


def visible_traceback(bucket: Bucket, letter: DeadLetter) -> str:
    """The traceback. With ``redact`` without source lines, which may contain the event."""
    lines = letter.traceback.splitlines()
    if catalog.options_of(bucket).redact is not None:
        lines = [line for line in lines if _FRAME.fullmatch(line)]
    return "\n".join(lines)
