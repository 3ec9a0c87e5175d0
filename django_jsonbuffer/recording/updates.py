"""Events of an ``update()`` of a queryset, which sends no signals."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from django.db import NotSupportedError, connections, transaction
from django.db.models import Model, QuerySet

from django_jsonbuffer.django_internals.databases import (
    keys_per_statement,
    take_write_lock,
    with_keys,
)
from django_jsonbuffer.django_internals.queries import (
    counts_distinct_fields,
    without_distinct_and_lock,
)

from .events import Recording
from .selects import Row, rows_by_key

_ATTEMPTS: Final = 3
"""How often the rows are locked. Another transaction may change them before they are locked."""


class RecordedUpdate:
    """One ``update()`` and its events.

    It locks and reads the rows, updates these and no other rows, and reads them again.
    """

    def __init__(self, queryset: QuerySet[Any], recordings: Sequence[Recording]) -> None:
        self.queryset = queryset
        self.model: type[Model] = queryset.model
        self.using = queryset.db
        self.recordings = recordings

    def run(self, update: Callable[[Any], int]) -> int:
        """Call `update` with the queryset for the locked rows. Returns the number of rows.

        Raises ``NotSupportedError``, and changes nothing, if the rows of the queryset are not
        certain.
        """
        if counts_distinct_fields(self.queryset):
            raise self._refusal("after distinct(*fields) over a join")
        for _ in range(_ATTEMPTS):
            with transaction.atomic(using=self.using):
                take_write_lock(connections[self.using], self.model)
                before = self._locked_rows()
                count = update(with_keys(self.queryset, [*before], using=self.using))
                # An unmanaged model may be a view, whose database counts no rows.
                if count == len(before) or not self.model._meta.managed:
                    self._append_events(before)
                    return count
                # A row has left the queryset before it was locked.
                transaction.set_rollback(True, using=self.using)
        raise self._refusal("whose rows are others at each evaluation")

    def _refusal(self, reason: str) -> NotSupportedError:
        return NotSupportedError(
            f"update() of {self.model._meta.label} {reason} cannot be recorded, because it is "
            "not certain which rows it changes. Read the primary keys first, and filter by them."
        )

    def _locked_rows(self) -> dict[Any, Row | None]:
        """The rows by primary key, with the fields whose old values an event needs."""
        # A subquery, so that the lock is on these rows alone and not on rows that the queryset only
        # joins or counts. It names the fields of the key, because Django 5.2.0 refuses a composite
        # "pk".
        names = [field.attname for field in self.model._meta.pk_fields]
        keys = without_distinct_and_lock(self.queryset).values(*names)
        locked = self._rows(keys).select_for_update()
        compared = dict.fromkeys(f for r in self.recordings if r.compares for f in r.fields)
        try:
            return {**rows_by_key(locked, [*compared])}
        except Exception:  # noqa: BLE001  (a field may be unable to convert the value of a row)
            # Then the events have no old values.
            return dict.fromkeys(rows_by_key(locked, []))

    def _append_events(self, before: dict[Any, Row | None]) -> None:
        size = keys_per_statement(self.model, [*before], using=self.using)
        for start in range(0, len(before), size):
            for some in self._instances([*before][start : start + size]):
                for recording in self.recordings:
                    events = recording.events_of_many(
                        "updated",
                        some,
                        using=self.using,
                        before=before if recording.compares else None,
                        are_fresh=True,
                    )
                    recording.append(events, using=self.using)

    def _instances(self, pks: list[Any]) -> Iterator[list[Model]]:
        """The rows after the update. One that cannot be read loses its events alone."""
        rows = self._rows(pks)
        if connections[self.using].vendor == "mysql":
            # At "repeatable read", a read without a lock may return older values.
            rows = rows.select_for_update()
        try:
            yield [*rows]
        except Exception as error:  # noqa: BLE001  (a field may raise anything)
            if len(pks) > 1:
                for pk in pks:
                    yield from self._instances([pk])
                return
            for recording in self.recordings:
                recording.lose(error, self.using)

    def _rows(self, pks: Any) -> QuerySet[Any]:
        return QuerySet(self.model, using=self.using).filter(pk__in=pks).order_by("pk")
