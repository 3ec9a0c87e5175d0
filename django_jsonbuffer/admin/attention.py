"""Which buckets need attention, for the index of the admin.

The index must be as fast as without this app. So a thread reads the buckets, and the index waits
for it only for a moment.
"""

import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from django.db import connections
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_jsonbuffer import catalog, isolation
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.figures import format_count
from django_jsonbuffer.states import State, count_states, read_states
from django_jsonbuffer.store.breakers import breaker_of
from django_jsonbuffer.store.keys import catalog_key
from django_jsonbuffer.summaries import is_ours, summary_of

logger = logging.getLogger("django_jsonbuffer")

FRESH_SECONDS: Final = 10.0
"""For how long the same reading is shown."""

SHOWN_SECONDS: Final = 60.0
"""For how long a reading is shown at most, if no later one has come."""

PAUSE_SECONDS: Final = 30.0
"""How long Redis is not asked after a failure."""

WAIT_SECONDS: Final = 0.2
"""How long the visitors of the index wait for one reading, counted from its start."""

_URGENT: Final = (State.UNREADABLE, State.STALLED, State.FAILING, State.BEHIND)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attention:
    """How many buckets need attention."""

    counts: Mapping[State, int]
    dead: int = 0
    """Dead letters of the buckets that need a decision."""

    is_readable: bool = True

    @classmethod
    def read(cls) -> Self:
        """Read all buckets. Raises :class:`BufferUnavailable`."""
        bucket_states = read_states(catalog.read_known().buckets)
        dead = sum(
            each.status.dead
            for each in bucket_states
            if each.status is not None and each.state == State.NEEDS_DECISION
        )
        return cls(counts=count_states(each.state for each in bucket_states), dead=dead)

    def describe(self) -> str:
        """In the visitor's language. Empty if all is well."""
        if not self.is_readable:
            return _("cannot be read")
        parts = [
            _("%(number)s %(state)s") % {"number": format_count(count), "state": state.label}
            for state in _URGENT
            if (count := self.counts.get(state, 0))
        ]
        if undecided := self.counts.get(State.NEEDS_DECISION, 0):
            parts.append(self._describe_undecided(undecided))
        return ", ".join(parts)

    def _describe_undecided(self, count: int) -> str:
        buckets = ngettext("%(number)s needs a decision", "%(number)s need a decision", count)
        letters = ngettext("%(number)s dead letter", "%(number)s dead letters", self.dead)
        return "{} ({})".format(
            buckets % {"number": format_count(count)},
            letters % {"number": format_count(self.dead)},
        )


_UNREADABLE: Final = Attention(counts={}, is_readable=False)

Place = tuple[str, str]
"""The alias of a cache, and the prefix of the keys."""


class Glance:
    """The last reading of the buckets at one place, and the thread that makes the next one."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._found: Attention | None = None
        self._found_at = 0.0
        self._failed_at: float | None = None
        self._began_at = 0.0
        self._reading: threading.Event | None = None
        """Set at the end of the reading that is under way."""

    def look(self) -> Attention | None:
        """What needs attention. None if this is not known. Waits a moment for a new reading."""
        with self._lock:
            now = time.monotonic()
            if self._is_younger(FRESH_SECONDS):
                return self._found
            if self._reading is None:
                if self._is_away(now):
                    return _UNREADABLE
                self._begin(now)
            reading, wait_seconds = self._reading, self._began_at + WAIT_SECONDS - now
        if reading is not None and wait_seconds > 0:
            reading.wait(wait_seconds)
        with self._lock:
            if self._reading is None and self._failed_at is not None:
                return _UNREADABLE
            return self._found if self._is_younger(SHOWN_SECONDS) else None

    def _is_younger(self, seconds: float) -> bool:
        return self._found is not None and time.monotonic() - self._found_at < seconds

    def _is_away(self, now: float) -> bool:
        """Whether a reading has failed lately, or an append has opened the circuit breaker."""
        if self._failed_at is not None and now - self._failed_at < PAUSE_SECONDS:
            return True
        cache, prefix = self._place
        return breaker_of(cache, catalog_key(prefix)).refuses

    def _begin(self, now: float) -> None:
        thread = threading.Thread(target=self._read, name="attention to buckets", daemon=True)
        self._began_at, self._reading = now, threading.Event()
        try:
            thread.start()
        except RuntimeError:  # the system gives no thread
            self._reading, self._failed_at = None, now

    def _read(self) -> None:
        found = None
        try:
            found = Attention.read()
        except Exception as error:  # noqa: BLE001  (the index must be shown whatever happens)
            logger.debug(
                "The buckets could not be read for the index of the admin: %s",
                summary_of(error, with_message=is_ours(error)),
            )
        finally:
            connections.close_all()  # those of this thread
            self._end(found)

    def _end(self, found: Attention | None) -> None:
        with self._lock:
            reading, self._reading = self._reading, None
            now = time.monotonic()
            if found is None:
                self._failed_at = now
            else:
                self._found, self._found_at, self._failed_at = found, now, None
        if reading is not None:
            reading.set()


_glances: Final[dict[Place, Glance]] = {}


def describe_attention() -> str:
    """What needs attention, in the visitor's language. Empty if all is well, or nothing is known.

    Raises nothing, and takes 0.2 s at most.
    """
    try:
        current = configuration()
    except BufferMisconfigured:
        return ""  # a system check reports the mistake
    place = (current.cache, current.prefix)
    glance = _glances.get(place) or _glances.setdefault(place, Glance(place))
    found = glance.look()
    return "" if found is None else found.describe()


@isolation.at_end
def _forget(ended: isolation.Isolation) -> None:
    for place in ended.places:
        _glances.pop(place, None)


if hasattr(os, "register_at_fork"):
    # The thread is not in the child, and a lock may have been held.
    os.register_at_fork(after_in_child=_glances.clear)
