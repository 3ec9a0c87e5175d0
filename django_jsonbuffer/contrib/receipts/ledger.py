"""The ledger: reads, writes and prunes the receipts of one bucket."""

import time
from collections import defaultdict
from datetime import timedelta
from typing import Final

from django.db import IntegrityError
from django.utils import timezone

from django_jsonbuffer.exceptions import ReceiptTaken
from django_jsonbuffer.store.origins import Origins

from .models import Receipt
from .places import NO_PLACES, Known, Places

PRUNE_INTERVAL_SECONDS: Final = 3600.0
"""How often a worker prunes receipts."""

_PORTION: Final = 1000
"""Most receipts that one statement deletes, so that none holds its locks for long."""


class Ledger:
    """The receipts of one bucket in one database."""

    def __init__(self, bucket: str, alias: str, *, kept: timedelta) -> None:
        self._bucket = bucket
        self._receipts = Receipt.objects.using(alias)
        self._kept = kept
        self._next_prune_at = 0.0
        """On the monotonic clock."""

    def read(self, origins: Origins) -> Known:
        """The receipts that concern these events. One query."""
        names = {run.origin for run in origins.runs}
        found = self._receipts.filter(bucket=self._bucket, origin__in=names)
        return {origin: Places.read(text) for origin, text in found.values_list("origin", "places")}

    def write(self, origins: Origins, known: Known) -> None:
        """Note that these events have been processed. Call it in the transaction of their rows.

        `known` is what :meth:`read` has returned. Raises :class:`ReceiptTaken` if that is no longer
        true: then roll the transaction back.
        """
        ranges: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for origin, first, length in origins.runs:
            ranges[origin].append((first, first + length - 1))
        now = timezone.now()
        added = []
        for origin in sorted(ranges):  # in one order, so that workers cannot deadlock
            before = known.get(origin, NO_PLACES)
            places = str(Places.of([*before, *ranges[origin]]))
            if not before:
                added.append(Receipt(bucket=self._bucket, origin=origin, places=places, at=now))
                continue
            unchanged = self._receipts.filter(
                bucket=self._bucket, origin=origin, places=str(before)
            )
            if not unchanged.update(places=places, at=now):
                raise ReceiptTaken
        try:
            self._receipts.bulk_create(added)
        except IntegrityError as error:
            raise ReceiptTaken from error

    def prune(self) -> None:
        """Delete the receipts that are older than the bucket keeps them. At most once an hour."""
        if time.monotonic() < self._next_prune_at:
            return
        self._next_prune_at = time.monotonic() + PRUNE_INTERVAL_SECONDS
        old = self._receipts.filter(bucket=self._bucket, at__lt=timezone.now() - self._kept)
        while ids := [*old.values_list("pk", flat=True)[:_PORTION]]:
            self._receipts.filter(pk__in=ids).delete()
