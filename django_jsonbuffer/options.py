"""The options of a bucket: their defaults, and the checks of their values."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import cached_property
from typing import Any, Final

from .exceptions import BufferMisconfigured
from .limits import MAX_APPEND_BYTES, Limits
from .suggestions import suggest

_MOST_COUNTED: Final = 10**14
"""Largest value of a limit. It is well below 2⁵³, up to which the numbers of Lua are exact."""

_MOST: Final[Mapping[str, int]] = {
    "batch_size": MAX_APPEND_BYTES,
    "batch_bytes": MAX_APPEND_BYTES,
    "max_event_bytes": MAX_APPEND_BYTES,
    "max_spill_bytes": _MOST_COUNTED,
    "max_attempts": 1_000_000,
    "max_pending": _MOST_COUNTED,
    "max_pending_bytes": _MOST_COUNTED,
    "max_dead": _MOST_COUNTED,
    "priority": 1000,
    "shards": 1000,
}
"""The options that count something, and the largest value of each."""

_CHOICES: Final[Mapping[str, tuple[str | None, ...]]] = {
    "overflow": ("raise", "drop_newest", "drop_oldest"),
    "on_unavailable": (None, "raise", "drop", "spill"),
    "durability": (None, "replicated", "fsynced"),
}
"""The options that are one of a few words."""

_MAY_BE_NONE: Final = {"batch_size", "max_pending", "max_pending_bytes", "max_dead", "dead_after"}
_DURATIONS: Final = (
    *("linger", "lease", "append_timeout"),
    *("behind_after", "dead_after", "receipts_kept"),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of one bucket, from its declaration or from the settings."""

    batch_size: int | None = 1000
    """Most events of a batch. None: no append seals the open batch, so that another client can take
    it."""

    batch_bytes: int = 4 * 1024 * 1024
    """Most bytes of a batch. A single event may have more."""

    linger: timedelta = timedelta(seconds=1)
    """How long an open batch waits for more events before a watching worker takes it."""

    lease: timedelta = timedelta(minutes=1)
    """How long a batch stays with a silent worker before another worker may take it over. A living
    worker renews its lease. The lease is also the longest backoff after a failure."""

    max_attempts: int = 10
    """Failures of an event that stands alone after which it becomes a dead letter. A batch that
    fails is halved first. A failure counts only if the processor has succeeded with other events
    since the event first failed."""

    outage_errors: tuple[type[BaseException], ...] = ()
    """Exceptions that mean an outage: the place where the processor stores events is unreachable.
    A batch that fails with one is not halved, and comes again after a backoff. Django's
    ``OperationalError`` and ``InterfaceError``, Python's ``ConnectionError`` and ``TimeoutError``,
    ``BufferUnavailable`` and ``DestinationUnavailable`` always mean an outage."""

    processor_timeout: timedelta | None = None
    """How long the processor may work on one batch. After that, the worker logs where the processor
    hangs and gives the batch up, and ``drain_buckets`` exits. None: for any time."""

    max_pending: int | None = None
    """Most events that may be pending. None: any number."""

    max_pending_bytes: int | None = None
    """Most bytes of all batches, those in flight included. None: any number."""

    overflow: str = "raise"
    """Which events are given up when the bucket is full. ``"raise"``: none; the append raises
    :class:`~django_jsonbuffer.exceptions.BucketFull`. ``"drop_newest"``: all events of the append.
    ``"drop_oldest"``: the oldest pending batches, whole. Dropped events are counted."""

    max_dead: int | None = None
    """Most dead letters that are kept. The oldest of the others expire: they are removed for ever
    when a worker starts, and then once a minute. None: all are kept."""

    dead_after: timedelta | None = None
    """How long a dead letter is kept before it expires. None: for ever."""

    max_event_bytes: int = 1024 * 1024
    """Most bytes of one event, as JSON."""

    append_timeout: timedelta = timedelta(seconds=5)
    """How long an append is sent again while its reply is lost. Choose it longer than the socket
    timeout of the client, because otherwise there is no second try. With ``on_unavailable="spill"``
    an append is spilled at once, and not sent again."""

    durability: str | None = None
    """What an append waits for before it counts as done. None: Redis has the events in memory.
    ``"replicated"``: a replica has them, too. ``"fsynced"``: the disk of Redis has them. Without
    that, the append is undecided at the end of `append_timeout`, as after a lost reply."""

    on_unavailable: str | None = None
    """What happens to events while Redis is unavailable. ``"raise"``: the append raises an error.
    ``"drop"``: the events are lost, which is counted and logged. ``"spill"``: a file in `spill_dir`
    keeps them until Redis is back. None: the append raises where its caller can still react, that
    is in the call itself or at the end of ``gathered()``. Elsewhere the events are lost: after a
    commit, for a recorded change, and at the end of a request with ``gathering_middleware``.
    ``"raise"`` also holds for an event of a recorded change that is refused."""

    spill_dir: str | os.PathLike[str] | None = None
    """Local directory for spilled events. It must survive restarts, and other machines must not
    share it."""

    max_spill_bytes: int = 256 * 1024 * 1024
    """Most bytes of spilled events of this bucket."""

    schema: Callable[[Any], object] | None = None
    """Called with each event before it is appended. The result is appended in place of the event.
    An exception refuses the event. You can use the ``model_validate`` of a pydantic model."""

    shards: int = 1
    """Over how many parts the events are spread. In a cluster, the parts are on different nodes.
    Order holds within a shard: see the argument `ordering_key` of :meth:`Bucket.append`. The limits
    hold for each shard: `max_pending`, `max_pending_bytes`, `max_dead` and `max_spill_bytes`."""

    priority: int = 1
    """Share of a worker's time, relative to the other buckets that have a backlog. A bucket with
    priority 3 gets three times the time of one with priority 1, and its batches wait less."""

    receipts: str | None = None
    """Alias of a database. The worker writes a receipt of each batch there, in the transaction of
    the processor, and acknowledges events that have a receipt without calling the processor. So
    each event is processed exactly once, as far as that database is concerned."""

    receipts_kept: timedelta = timedelta(days=30)
    """How long a receipt is kept at least."""

    behind_after: timedelta = timedelta(minutes=2)
    """How long an event may wait, in addition to `linger`, before the admin and ``show_buckets``
    report the bucket as behind. Also how long after a run without a worker the bucket is not yet
    reported as stalled, because cron may run again."""

    redact: Callable[[Any], object] | None = None
    """Called with each event before the admin or ``dead_events`` shows it. They show the result in
    place of the event, and hide the parts of an error that may quote the event."""

    def __post_init__(self) -> None:
        self._check_counts()
        self._check_durations()
        self._check_choices()
        self._check_spill()
        if not isinstance(self.outage_errors, tuple) or not all(
            isinstance(kind, type) and issubclass(kind, BaseException)
            for kind in self.outage_errors
        ):
            raise BufferMisconfigured(
                f"outage_errors must be a tuple of exception classes, not {self.outage_errors!r}."
            )
        if self.receipts is not None and not (isinstance(self.receipts, str) and self.receipts):
            raise BufferMisconfigured(
                f"receipts must be None or the alias of a database, not {self.receipts!r}."
            )
        for option in ("schema", "redact"):
            value = getattr(self, option)
            if value is not None and not callable(value):
                raise BufferMisconfigured(f"{option} must be callable, not {value!r}.")

    def _check_counts(self) -> None:
        for option, most in _MOST.items():
            value = getattr(self, option)
            if option in _MAY_BE_NONE and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise BufferMisconfigured(f"{option} must be a positive integer, not {value!r}.")
            if value > most:
                raise BufferMisconfigured(f"{option} must be at most {most:,}.")

    def _check_durations(self) -> None:
        for option in _DURATIONS:
            value = getattr(self, option)
            if option in _MAY_BE_NONE and value is None:
                continue
            if not isinstance(value, timedelta) or value < timedelta(0):
                raise BufferMisconfigured(
                    f"{option} must be a timedelta, and not negative. It is {value!r}."
                )
        timeout = self.processor_timeout
        if timeout is not None and (not isinstance(timeout, timedelta) or timeout <= timedelta(0)):
            raise BufferMisconfigured(
                f"processor_timeout must be None or a timedelta above 0, not {timeout!r}."
            )

    def _check_choices(self) -> None:
        for option, choices in _CHOICES.items():
            if (value := getattr(self, option)) not in choices:
                *others, last = map(repr, choices)
                raise BufferMisconfigured(
                    f"{option} must be {', '.join(others)} or {last}, not {value!r}."
                )

    def _check_spill(self) -> None:
        if self.spill_dir is not None and not isinstance(self.spill_dir, str | os.PathLike):
            raise BufferMisconfigured(f"spill_dir must be a path, not {self.spill_dir!r}.")
        if self.on_unavailable == "spill" and not self.spill_dir:
            raise BufferMisconfigured(
                "on_unavailable='spill' needs a spill_dir: a local directory that survives "
                "restarts."
            )

    @cached_property
    def limits(self) -> Limits:
        """The options that an append has to respect."""
        return Limits(
            batch_size=self.batch_size,
            batch_bytes=self.batch_bytes,
            max_pending=self.max_pending,
            max_pending_bytes=self.max_pending_bytes,
            overflow=self.overflow,
            has_receipts=self.receipts is not None,
            durability=self.durability,
        )


def checked_options(name: str, given: Mapping[str, Any]) -> Options:
    """The given options over the defaults. Raises :class:`BufferMisconfigured`."""
    known = [field.name for field in fields(Options)]
    if unknown := [option for option in given if option not in known]:
        raise BufferMisconfigured(
            f"Bucket {name!r} has no option {', '.join(map(repr, unknown))}."
            f"{suggest(unknown, known)} The options are {', '.join(known)}."
        )
    try:
        return Options(**given)
    except BufferMisconfigured as error:
        raise BufferMisconfigured(f"Bucket {name!r}: {error}") from None
