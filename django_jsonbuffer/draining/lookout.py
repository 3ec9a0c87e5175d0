"""The lookout of a watching worker: which of its buckets have something."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Final, NamedTuple

from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.spilled_names import spilled_names
from django_jsonbuffer.store.catalog_entries import names as names_in_catalog
from django_jsonbuffer.store.keys import is_valid_name, split_shard
from django_jsonbuffer.store.patterns import Names
from django_jsonbuffer.store.shards import UsedShards
from django_jsonbuffer.store.waiting import MOST_ASKED, waiting
from django_jsonbuffer.summaries import is_ours, summary_of

from .presence import Presence
from .schedule import Kind
from .wakeups import Wakeups

logger = logging.getLogger("django_jsonbuffer")

_CATALOG_SECONDS: Final = 10.0
"""How often to look for new buckets that a pattern matches, and for new shards."""

_OTHERS_LATER_SECONDS: Final = 0.25
"""How much later than the first of several workers the others look at a bucket."""


class Sight(NamedTuple):
    """A shard of a bucket that has something."""

    name: str

    since: float
    """When it was noticed, on the monotonic clock. Later if another worker should look first."""

    lingers: bool
    """Whether it is an open batch that has just begun."""

    ends: Kind
    """The bucket waits no longer, if its wait is of this kind or a smaller one."""


class Lookout:
    """Tells a worker which buckets have something, from `begin` to `end`.

    Scripts tell of most batches by a message. In case a message is lost, a thread also asks Redis,
    a thousand buckets at a time. It asks every `interval_seconds`: about all buckets while there
    are no messages, and otherwise about the next thousand.

    `serves` are the buckets, by name or pattern. `accepts` tells whether a name that was found is
    one of them. `wake` is called if there is something to `look` at.
    """

    def __init__(
        self,
        configuration: Configuration,
        serves: Names,
        *,
        accepts: Callable[[str], object],
        interval_seconds: float,
        wake: Callable[[], object],
    ) -> None:
        self._configuration = configuration
        self._has_patterns = bool(serves.patterns)
        self._accepts = accepts
        self._interval_seconds = interval_seconds
        self._wake = wake
        self._buckets = frozenset(filter(is_valid_name, serves.all))
        self.names = {name: None for name in serves.all if name in self._buckets}
        """The shards that are known so far, in this order."""
        self._presence = Presence(configuration, serves)
        self._wakeups = Wakeups(configuration, wake)
        self._had_messages = False
        """Whether messages came since before the last question. Then none was lost."""
        self._unasked: list[str] = []
        self._only_heard_of: dict[str, None] = {}
        """New names that a message told. It may be about another database of the server, so Redis
        is asked about them."""
        self._reads_catalog_at = 0.0
        self._found: SimpleQueue[dict[str, bool] | BufferUnavailable] = SimpleQueue()
        """The answer, or the failure to ask."""
        self._ended, self._hurry = threading.Event(), threading.Event()

    def begin(self) -> None:
        """Raises ``RuntimeError`` if the system gives no thread."""
        self._presence.begin()
        self._wakeups.begin()
        threading.Thread(target=self._ask_again, name="lookout of workers", daemon=True).start()

    def end(self) -> None:
        self._ended.set()
        self._hurry.set()
        self._wakeups.end()
        self._presence.end()

    def look(self) -> Iterator[Sight]:
        """The buckets that have something, as far as it was not told before.

        Raises :class:`BufferUnavailable` if Redis could not be asked.
        """
        for name, wakeup in self._wakeups.taken().items():
            if name in self.names:
                since = wakeup.heard_at + self._delay_seconds(name)
                ends = Kind.FIRM if wakeup.ends_outage else Kind.HELD
                yield Sight(name, since, lingers=not wakeup.is_sealed, ends=ends)
            elif self._may_serve(name):
                self._only_heard_of[name] = None
                self._hurry.set()
        while not self._found.empty():
            found = self._found.get()
            if isinstance(found, BufferUnavailable):
                raise found
            now = time.monotonic()
            for name, has_entries in found.items():
                ends = Kind.LINGERS if has_entries else Kind.IDLE
                yield Sight(name, now + self._delay_seconds(name), lingers=False, ends=ends)

    def ask(self) -> None:
        """Ask Redis which of the next buckets have something. `look` has the answer.

        Does not ask again before the answer was taken.
        """
        if not self._found.empty():
            return
        try:
            found: dict[str, bool] | BufferUnavailable = self._waiting()
        except BufferUnavailable as error:
            found = error
        if found:
            self._found.put(found)
            self._wake()

    def _ask_again(self) -> None:
        while not self._ended.is_set():
            try:
                self.ask()
            except Exception as error:  # noqa: BLE001  (no error may end the thread)
                logger.error(
                    "The buckets could not be looked at: %s",
                    summary_of(error, with_message=is_ours(error)),
                )
            self._hurry.wait(self._interval_seconds)
            self._hurry.clear()

    def _waiting(self) -> dict[str, bool]:
        now = time.monotonic()
        if now >= self._reads_catalog_at:
            self._reads_catalog_at = now + _CATALOG_SECONDS
            for name in filter(self._may_serve, self._read_names()):
                if name not in self.names:
                    self.names[name] = None
                    self._wake()  # perhaps only the spill has something
        new, self._only_heard_of = self._only_heard_of, {}
        names = [*new] or self._next_to_ask()
        try:
            its_buckets = waiting(names, self._configuration)
        except BufferUnavailable as error:
            if error.is_unreachable:
                raise
            # This user of Redis may not use all these buckets: the worker must look at each.
            its_buckets = dict.fromkeys([name for name in names if name not in new], True)
        self.names |= dict.fromkeys(its_buckets)
        return its_buckets

    def _read_names(self) -> Iterator[str]:
        """The names of all shards that were ever used, and of all buckets if there are patterns.

        First those in the spill of this machine, for which Redis is not needed.
        """
        if self._has_patterns:
            yield from spilled_names()
            yield from names_in_catalog(self._configuration)
        yield from UsedShards.read(self._configuration).names

    def _may_serve(self, name: str) -> bool:
        """Whether the worker serves a shard with this name, if there is one."""
        bucket, shard = split_shard(name)
        if shard < 0 or not is_valid_name(bucket):
            return False
        return bucket in self._buckets or (self._has_patterns and bool(self._accepts(bucket)))

    def _delay_seconds(self, name: str) -> float:
        return 0.0 if self._presence.is_first(name) else _OTHERS_LATER_SECONDS

    def _next_to_ask(self) -> list[str]:
        had_messages, self._had_messages = self._had_messages, self._wakeups.is_listening
        if not (had_messages and self._had_messages):
            return [*self.names]
        if not self._unasked:
            self._unasked = [*self.names]
        asked, self._unasked = self._unasked[:MOST_ASKED], self._unasked[MOST_ASKED:]
        return asked
