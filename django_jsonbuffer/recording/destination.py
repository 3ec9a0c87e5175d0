"""Where recorded events go: from a change that has happened, to its bucket."""

from collections.abc import Iterable
from typing import Any

from django_jsonbuffer.appending import losses, routing
from django_jsonbuffer.declarations import Definition
from django_jsonbuffer.encoding import encode_events
from django_jsonbuffer.exceptions import InvalidEvent


class Destination:
    """A bucket, as recordings see it."""

    def __init__(self, bucket: Definition) -> None:
        self._bucket = bucket

    def __repr__(self) -> str:
        return f"Bucket({self.name!r})"

    @property
    def name(self) -> str:
        return self._bucket.name

    def append_recorded(self, events: Iterable[Any], *, using: str | None) -> None:
        """Append events that were recorded from a change that has happened.

        An event that cannot be appended is lost, counted and logged. It raises an error instead
        while the database `using` has an open transaction, so that the change is rolled back, and
        if the bucket's ``on_unavailable`` is ``"raise"``.
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
