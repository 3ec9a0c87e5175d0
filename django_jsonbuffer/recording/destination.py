"""Sends recorded events to their bucket."""

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

from django.db import DatabaseError, connections
from django.db.models import Model

from django_jsonbuffer.appending import losses, routing
from django_jsonbuffer.appending.gathering import gathered
from django_jsonbuffer.appending.sharding import shard_of
from django_jsonbuffer.declarations import Definition, require_installed
from django_jsonbuffer.django_internals.transactions import run_smallest_query
from django_jsonbuffer.encoding import encode_events
from django_jsonbuffer.exceptions import InvalidEvent
from django_jsonbuffer.summaries import is_ours


class Destination:
    """The bucket to which a recording appends.

    Raises :class:`BufferMisconfigured` if this app is not in ``INSTALLED_APPS``. Otherwise a
    recording would wait for its ``ready()``, and record nothing.
    """

    def __init__(self, bucket: Definition) -> None:
        require_installed()
        self._bucket = bucket

    def __repr__(self) -> str:
        return f"Bucket({self.name!r})"

    @property
    def name(self) -> str:
        return self._bucket.name

    def append_recorded(
        self,
        events: Iterable[Any],
        *,
        using: str | None,
        model: type[Model] | None = None,
        by_subject: bool = True,
    ) -> None:
        """Append the events of a change that has happened.

        An event that cannot be made or encoded is lost: see `lose`. The other events are appended.
        With `by_subject`, events with the same subject go to the same shard.
        """
        _, options, store, encoder = self._bucket.parts
        encoded: dict[int | None, list[bytes]] = {}
        is_sorted = by_subject and options.shards > 1
        remaining = iter(events)
        while True:
            try:
                event = next(remaining)
                key = event.get("subject") if is_sorted else None
                [one] = encode_events([event], encoder=encoder, options=options, bucket=store.name)
                encoded.setdefault(shard_of(key, options.shards), []).append(one)
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001  (the project's functions raise anything)
                self.lose(error, using=using, model=model)
        # A shard that fails must not keep the others' events.
        with gathered(is_late=True) if len(encoded) > 1 else nullcontext():
            for shard, its_events in encoded.items():
                routing.append(store, options, its_events, using=using, is_late=True, shard=shard)

    def lose(
        self,
        error: Exception,
        *,
        using: str | None,
        model: type[Model] | None = None,
    ) -> None:
        """Log and count an event as lost, so that the change itself does not fail.

        Raises the error instead if the bucket's ``on_unavailable`` is ``"raise"``. Also raises it
        if the database has aborted the open transaction, which no later query can continue.
        """
        options, store = self._bucket.parts.options, self._bucket.parts.store
        if options.on_unavailable == "raise" or _has_aborted(error, using):
            raise error
        if not is_ours(error):
            # Code of the project raised it, perhaps as one of our classes.
            refusal = InvalidEvent("The event of a recorded change cannot be made.")
            refusal.__cause__ = error
            error = refusal
        losses.lose(store, options, 1, error, of=model._meta.label if model else "")


def _has_aborted(error: Exception, using: str | None) -> bool:
    if not isinstance(error, DatabaseError) or using is None:
        return False
    connection = connections[using]
    if not connection.in_atomic_block:
        return False
    try:
        run_smallest_query(connection)
    except DatabaseError:
        return True
    return False
