"""The events of the present thread, as they are encoded.

The suite's transactions never commit, so most events never reach Redis. The encoder sees them all,
at the moment when they are made.
"""

import json
import threading
from typing import Any, Final

from django.db import connection

from django_jsonbuffer.encoding import JSONEncoder

from . import journal

Event = dict[str, Any]

_thread: Final = threading.local()


class NotingEncoder(JSONEncoder):
    def encode(self, event: object) -> bytes:
        encoded = super().encode(event)
        read_back = json.loads(encoded)
        events().append(read_back)
        # Such an event goes to Redis at once, so it must be there at the end of the run.
        journal.write("event", id=read_back["id"], sent=not connection.in_atomic_block)
        return encoded


def events() -> list[Event]:
    """The events since the last `take`."""
    found: list[Event] = _thread.__dict__.setdefault("events", [])
    return found


def take() -> list[Event]:
    """Remove and return the events that were made since the last call."""
    taken = [*events()]
    events().clear()
    return taken
