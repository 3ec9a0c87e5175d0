"""The lookout of a watching worker: which of its buckets have something."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Final, NamedTuple

from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store.catalog_entries import names as names_in_catalog
from django_jsonbuffer.store.keys import is_valid_name
from django_jsonbuffer.store.patterns import Names
from django_jsonbuffer.store.waiting import MOST_ASKED, waiting
from django_jsonbuffer.summaries import is_ours, summary_of

from .presence import Presence
from .wakeups import Wakeups

logger = logging.getLogger("django_jsonbuffer")

_CATALOG_SECONDS: Final = 10.0
"""How often to look for new buckets that a pattern matches."""

_SECOND_SECONDS: Final = 0.25
"""How much later than the first of several workers the others look at a bucket."""


class Sight(NamedTuple):
    """A bucket that has something."""

    name: str

    since: float
    """When it was noticed, on the monotonic clock. Later if another worker should look first."""

    lingers: bool
    """Whether it is an open batch that has just begun."""

    is_certain: bool
    """Whether there is something that was not there before. Otherwise there is something, which the
    worker may know."""


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
        self.names = {name: None for name in serves.all if is_valid_name(name)}
        """The buckets that are known so far, in this order."""
        self._presence = Presence(configuration, serves)
        self._wakeups = Wakeups(configuration, wake)
        self._had_messages = False
        """Whether messages came since before the last question. Then none was lost."""
        self._unasked: list[str] = []
        self._reads_catalog_at = 0.0
        self._found: SimpleQueue[list[str] | BufferUnavailable] = SimpleQueue()
        """The answers, and the failures to ask."""
        self._ended = threading.Event()

    def begin(self) -> None:
        """Raises ``RuntimeError`` if the system gives no thread."""
        self._presence.begin()
        self._wakeups.begin()
        threading.Thread(target=self._ask_again, name="lookout of workers", daemon=True).start()

    def end(self) -> None:
        self._ended.set()
        self._wakeups.end()
        self._presence.end()

    def look(self) -> Iterator[Sight]:
        """The buckets that have something, as far as it was not told before.

        Raises :class:`BufferUnavailable` if Redis could not be asked.
        """
        for name, wakeup in self._wakeups.taken().items():
            if self._knows(name):
                since = wakeup.heard_at + self._delay_seconds(name)
                yield Sight(name, since, lingers=not wakeup.is_sealed, is_certain=True)
        while not self._found.empty():
            found = self._found.get()
            if isinstance(found, BufferUnavailable):
                raise found
            now = time.monotonic()
            for name in found:
                since = now + self._delay_seconds(name)
                yield Sight(name, since, lingers=False, is_certain=False)

    def ask(self) -> None:
        """Ask Redis which of the next buckets have something. `look` has the answer."""
        try:
            found: list[str] | BufferUnavailable = self._waiting()
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
                text = "The buckets could not be looked at: %s"
                logger.error(text, summary_of(error, with_message=is_ours(error)))
            self._ended.wait(self._interval_seconds)

    def _waiting(self) -> list[str]:
        now = time.monotonic()
        if self._has_patterns and now >= self._reads_catalog_at:
            self._reads_catalog_at = now + _CATALOG_SECONDS
            for name in names_in_catalog(self._configuration):
                self._knows(name)
        names = self._next_to_ask()
        try:
            return waiting(names, self._configuration)
        except BufferUnavailable as error:
            if error.is_unreachable:
                raise
            # This user of Redis may not use all these buckets: the worker must look at each.
            return names

    def _knows(self, name: str) -> bool:
        """Whether the worker serves this bucket. If so, it is known from here on."""
        if name in self.names:
            return True
        if not (self._has_patterns and is_valid_name(name) and self._accepts(name)):
            return False
        self.names[name] = None
        return True

    def _delay_seconds(self, name: str) -> float:
        return 0.0 if self._presence.is_first(name) else _SECOND_SECONDS

    def _next_to_ask(self) -> list[str]:
        had_messages, self._had_messages = self._had_messages, self._wakeups.is_listening
        if not (had_messages and self._had_messages):
            return [*self.names]
        if not self._unasked:
            self._unasked = [*self.names]
        asked, self._unasked = self._unasked[:MOST_ASKED], self._unasked[MOST_ASKED:]
        return asked
