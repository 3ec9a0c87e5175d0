"""What the buckets have stored in this test."""

import threading
from collections.abc import Sequence
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from django_jsonbuffer.conf import active_isolation
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.isolation import Isolation
from django_jsonbuffer.stamps import Stamp


class Stored(NamedTuple):
    """An event that Redis has stored."""

    bucket: str
    event: bytes


class Journal:
    """The events that Redis has stored, in their order. Threads may share it."""

    def __init__(self) -> None:
        self.stored: list[Stored] = []
        self._stamps: set[Stamp] = set()
        self._lock = threading.Lock()

    def note(self, bucket: str, events: Sequence[bytes], stamp: Stamp) -> None:
        """Note the events of an append. An append that is repeated is noted once."""
        with self._lock:
            if stamp not in self._stamps:
                self._stamps.add(stamp)
                self.stored += [Stored(bucket, event) for event in events]


_journals: Final[WeakKeyDictionary[Isolation, Journal]] = WeakKeyDictionary()


def journal_of(of: Isolation) -> Journal:
    return _journals.setdefault(of, Journal())


def required_isolation() -> Isolation:
    """The isolation in effect. Raises :class:`BufferMisconfigured` if there is none."""
    if (active := active_isolation()) is None:
        raise BufferMisconfigured(
            "The buckets are not isolated from those of the site. Use this in a test run of Django "
            "or pytest, and without JSONBUFFER['TESTS'] = 'site'."
        )
    return active


def journal() -> Journal:
    """The journal of the isolation in effect. Raises as :func:`required_isolation` does."""
    return journal_of(required_isolation())
