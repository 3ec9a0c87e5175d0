"""What identifies each event in a schedule, as receipts do."""

from collections.abc import Collection, Iterator
from typing import Any

from django_jsonbuffer.store.origins import Origins

Identity = tuple[str, int]
"""The origin of an event, and its place there."""


class Identities:
    """No two events ever have the same identity, and an event keeps its own."""

    def __init__(self) -> None:
        self._owners: dict[Identity, int] = {}
        """The event of each identity that there ever was."""
        self._known: dict[int, Identity] = {}
        """The identity of each event, since it was stored."""

    def fault(self, event: int, identity: Identity) -> str:
        """What is wrong with the identity that an event has at this moment. Empty if nothing is."""
        if self._owners.setdefault(identity, event) != event:
            return f"event {event} has the identity of {self._owners[identity]}"
        if self._known.setdefault(event, identity) != identity:
            return f"event {event} has another identity than before"
        return ""

    def set_back(self, kept: Collection[int]) -> None:
        """The server has lost all events but these. The others may be stored again."""
        self._known = {event: its for event, its in self._known.items() if event in kept}


def identities_of(events: list[int], fields: list[bytes], name: bytes) -> Iterator[Any]:
    """The events and identities of an entry of a stream, whose field of this name has them."""
    values = dict(zip(fields[::2], fields[1::2], strict=True))
    runs = Origins.read(values.get(name, b"").decode()).runs
    places = [(run.origin, run.first + at) for run in runs for at in range(run.length)]
    if len(places) == len(events):
        yield from zip(events, places, strict=True)
