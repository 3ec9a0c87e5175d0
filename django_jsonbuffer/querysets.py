"""Bulk operations of a queryset, which send no signals, recorded as those that do."""

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.db import connections, transaction
from django.db.models import Model, QuerySet

from .receivers import recordings_of

M = TypeVar("M", bound=Model)

if TYPE_CHECKING:
    Base = QuerySet
else:
    Base = Generic


class RecordingQuerySetMixin(Base[M]):
    """For a queryset whose ``bulk_create()``, ``bulk_update()`` and ``update()`` are recorded.

    In every bucket that records the model, in the transaction of the operation. An ``update()``
    reads its rows before, under a lock where the database has one, and once more after. What is
    created with ``ignore_conflicts`` or ``update_conflicts`` is not recorded, since nobody can tell
    which rows were.
    """

    def bulk_create(
        self,
        objs: Iterable[M],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[M]:
        self._for_write = True
        with transaction.atomic(using=self.db, savepoint=False):
            created = super().bulk_create(
                objs,
                batch_size=batch_size,
                ignore_conflicts=ignore_conflicts,
                update_conflicts=update_conflicts,
                update_fields=update_fields,
                unique_fields=unique_fields,
            )
            if not (ignore_conflicts or update_conflicts):
                for recording in recordings_of(self.model, "created"):
                    events = recording.events_of_many("created", created, using=self.db)
                    recording.append(events, using=self.db)
        return created

    def update(self, **kwargs: Any) -> int:
        recordings = recordings_of(self.model, "updated")
        if not recordings or self.query.is_sliced or self.query.combinator:
            return super().update(**kwargs)
        self._for_write = True
        with transaction.atomic(using=self.db, savepoint=False):
            # A lock on rows of a subquery takes none of those that it only joins or counts.
            # The keys by their fields: Django 5.2.0 takes no composite one by "pk".
            key_fields: Any = self.model._meta.pk_fields
            pks = self.order_by().values(*(field.attname for field in key_fields))
            locked = [*_rows(self.model, pks, using=self.db).select_for_update()]
            before = [r.values_of_rows(locked) if r.changes else {} for r in recordings]
            rows = super(RecordingQuerySetMixin, self._among(locked)).update(**kwargs)
            for some in _portions(self.model, [row.pk for row in locked], using=self.db):
                after = [*_rows(self.model, some, using=self.db)]
                for recording, old in zip(recordings, before, strict=True):
                    events = recording.events_of_rows(after, using=self.db, before=old)
                    recording.append(events, using=self.db)
        self._result_cache = None
        return rows

    def _among(self, locked: list[M]) -> "RecordingQuerySetMixin[M]":
        """The same without rows that another transaction has made to fit in between.

        A database that limits the parameters of a statement could not take all keys. Of those,
        SQLite needs none: what one transaction reads, no other changes before it writes.
        """
        if connections[self.db].features.max_query_params is not None:
            return self
        return self.filter(pk__in=[row.pk for row in locked])


def _rows(model: type[M], pks: Any, *, using: str) -> QuerySet[M]:
    return QuerySet(model, using=using).filter(pk__in=pks).order_by("pk")


def _portions(model: type[Model], pks: list[Any], *, using: str) -> Iterator[list[Any]]:
    """As many at a time as one statement takes."""
    size = max(connections[using].ops.bulk_batch_size([model._meta.pk], pks), 1)
    for start in range(0, len(pks), size):
        yield pks[start : start + size]
