"""What may be chosen for a bucket."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import cached_property
from typing import Any, Final

from .exceptions import BufferMisconfigured
from .store import MAX_APPEND_BYTES, Limits

_COUNTED: Final = 10**14
"""What the scripts can count to: the numbers of Lua are exact to 2⁵³."""

_MOST: Final[Mapping[str, int]] = {
    "batch_size": MAX_APPEND_BYTES,
    "batch_bytes": MAX_APPEND_BYTES,
    "max_event_bytes": MAX_APPEND_BYTES,
    "max_spill_bytes": _COUNTED,
    "max_attempts": 1_000_000,
    "max_pending": _COUNTED,
    "max_pending_bytes": _COUNTED,
}
_MAY_BE_NONE: Final = {"batch_size", "max_pending", "max_pending_bytes"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """A bucket's options: from its declaration, or by its name from the settings."""

    batch_size: int | None = 1000
    """Most events of a batch. None never seals on append: for a bucket whose consumer takes the
    open batch itself."""

    batch_bytes: int = 4 * 1024 * 1024
    """Most bytes of a batch, unless one event alone has more."""

    linger: timedelta = timedelta(seconds=1)
    """How long an open batch waits for more events before a watching worker takes it."""

    lease: timedelta = timedelta(minutes=1)
    """How long a batch stays with a worker that was last heard of, before another may take it over.
    A worker that lives renews it. It bounds the backoff after a failure, too."""

    max_attempts: int = 10
    """How often a processor may fail with a batch before the batch is halved, and so on until what
    it fails with stands alone and goes to the dead letters."""

    outage_errors: tuple[type[BaseException], ...] = ()
    """Errors of a processor that say of no event that it is bad: where it stores the events is
    away. They use up no attempt. Django's ``OperationalError`` and ``InterfaceError``, Python's
    ``ConnectionError`` and ``TimeoutError`` and this app's ``BufferUnavailable`` always count."""

    max_pending: int | None = None
    """Most events that may be pending. None for any number."""

    max_pending_bytes: int | None = None
    """Most bytes of all batches, those in flight included. None for any number."""

    overflow: str = "raise"
    """What gives way when the bucket is full. ``"raise"``: the append, with
    :class:`~django_jsonbuffer.exceptions.BucketFull`. ``"drop_newest"``: its events, all of one
    call. ``"drop_oldest"``: the oldest pending batches, whole. What is dropped is counted."""

    max_event_bytes: int = 1024 * 1024
    """Most bytes of one event, as JSON."""

    append_timeout: timedelta = timedelta(seconds=5)
    """How long an append is sent again while its reply is lost. Choose it longer than the timeout
    of the client's socket. One that can be spilled is not sent again from here, but spilled."""

    on_unavailable: str | None = None
    """What becomes of events when Redis is away. ``"raise"``: an error. ``"drop"``: they are lost,
    which is counted and logged. ``"spill"``: they are kept in a file in `spill_dir`, and handed to
    Redis when it is back. None raises where a caller can still react, in the call that appends or
    at the end of ``gathered()``, and drops what goes out after a commit, was recorded from a
    signal, or leaves with the answer to a request."""

    spill_dir: str | os.PathLike[str] | None = None
    """Folder for events that are spilled: one of this machine alone, and that lasts."""

    max_spill_bytes: int = 256 * 1024 * 1024
    """Most bytes of events of this bucket in it."""

    schema: Callable[[Any], object] | None = None
    """Called with each event before it is appended. What it returns is appended, and what it raises
    refuses the event. The ``model_validate`` of a pydantic model will do."""

    behind_after: timedelta = timedelta(minutes=2)
    """How long an event may wait, `linger` aside, before the admin and ``show_buckets`` call the
    bucket behind; or stalled, when no worker was heard of for as long."""

    redact: Callable[[Any], object] | None = None
    """Called with each event that the admin is about to show. It shows what this returns in its
    place, and of errors nothing that may quote the event."""

    def __post_init__(self) -> None:
        for option, most in _MOST.items():
            value = getattr(self, option)
            if option in _MAY_BE_NONE and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise BufferMisconfigured(f"{option} must be a positive integer, not {value!r}.")
            if value > most:
                raise BufferMisconfigured(f"{option} must be at most {most:,}.")
        for option in ("linger", "lease", "append_timeout", "behind_after"):
            value = getattr(self, option)
            if not isinstance(value, timedelta) or value < timedelta(0):
                raise BufferMisconfigured(
                    f"{option} must be a timedelta, and not negative. It is {value!r}."
                )
        if self.on_unavailable not in (None, "raise", "drop", "spill"):
            raise BufferMisconfigured(
                f"on_unavailable must be 'raise', 'drop' or 'spill', not {self.on_unavailable!r}."
            )
        if self.spill_dir is not None and not isinstance(self.spill_dir, str | os.PathLike):
            raise BufferMisconfigured(f"spill_dir must be a path, not {self.spill_dir!r}.")
        if self.on_unavailable == "spill" and not self.spill_dir:
            raise BufferMisconfigured(
                "on_unavailable='spill' needs a spill_dir: a folder of this machine that lasts."
            )
        if self.overflow not in ("raise", "drop_newest", "drop_oldest"):
            raise BufferMisconfigured(
                f"overflow must be 'raise', 'drop_newest' or 'drop_oldest', not {self.overflow!r}."
            )
        if not isinstance(self.outage_errors, tuple) or not all(
            isinstance(kind, type) and issubclass(kind, BaseException)
            for kind in self.outage_errors
        ):
            raise BufferMisconfigured(
                f"outage_errors must be a tuple of exception classes, not {self.outage_errors!r}."
            )
        for option in ("schema", "redact"):
            value = getattr(self, option)
            if value is not None and not callable(value):
                raise BufferMisconfigured(f"{option} must be callable, unlike {value!r}.")

    @cached_property
    def limits(self) -> Limits:
        """What an append has to keep to."""
        return Limits(
            batch_size=self.batch_size,
            batch_bytes=self.batch_bytes,
            max_pending=self.max_pending,
            max_pending_bytes=self.max_pending_bytes,
            overflow=self.overflow,
        )


def checked_options(name: str, given: Mapping[str, Any]) -> Options:
    """The given options over the defaults. Raises :class:`BufferMisconfigured`."""
    known = [field.name for field in fields(Options)]
    if unknown := [option for option in given if option not in known]:
        raise BufferMisconfigured(
            f"Bucket {name!r} has no option {', '.join(map(repr, unknown))}. "
            f"Use {', '.join(known)}."
        )
    try:
        return Options(**given)
    except BufferMisconfigured as error:
        raise BufferMisconfigured(f"Bucket {name!r}: {error}") from None
