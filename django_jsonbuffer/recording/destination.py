"""The way of recorded events to their bucket."""

from collections.abc import Iterable
from typing import Any

from django_jsonbuffer.appending import losses, routing
from django_jsonbuffer.declarations import Definition
from django_jsonbuffer.encoding import encode_events
from django_jsonbuffer.exceptions import InvalidEvent


class Destination:
    """The bucket to which a recording appends."""

    def __init__(self, bucket: Definition) -> None:
        self._bucket = bucket

    def __repr__(self) -> str:
        return f"Bucket({self.name!r})"

    @property
    def name(self) -> str:
        return self._bucket.name

    def append_recorded(self, events: Iterable[Any], *, using: str | None) -> None:
        """Append the events of a change that has happened.

        If an event cannot be encoded, all these events are lost, counted and logged. Instead, they
        raise :class:`InvalidEvent` if the database `using` has an open transaction, so that the
        change is rolled back, or if the bucket's ``on_unavailable`` is ``"raise"``.
        """
        _, options, store, encoder = self._bucket.parts
        events = [*events]
        try:
            encoded = encode_events(events, encoder=encoder, options=options, bucket=store.name)
        except InvalidEvent as error:
            if options.on_unavailable == "raise" or routing.has_transaction(using):
                raise
            losses.lose(store, len(events), error)
            return
        if encoded:
            routing.append(store, options, encoded, using=using, is_late=True)
