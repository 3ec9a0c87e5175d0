"""Records the bulk operations of a queryset, although they send no signals."""

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.db import transaction
from django.db.models import Model, QuerySet

from .django_internals.models import (
    forget_rows,
    is_sliced_or_combined,
    keys_per_statement,
    limits_parameters,
    use_database_for_writing,
)
from .recording.declaring import recordings_of

M = TypeVar("M", bound=Model)

if TYPE_CHECKING:
    Base = QuerySet
else:
    Base = Generic


class RecordingQuerySetMixin(Base[M]):
    """For a queryset whose ``bulk_create()``, ``bulk_update()`` and ``update()`` are recorded.

    Every bucket that records the model gets the events, in the transaction of the operation. An
    ``update()`` also reads its rows twice: before the update, under a lock if the database has row
    locks, and after it. A ``bulk_create()`` with ``ignore_conflicts`` or ``update_conflicts`` is
    not recorded, because the database does not say which rows it created.
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
        use_database_for_writing(self)
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
        if not recordings or is_sliced_or_combined(self):
            return super().update(**kwargs)
        use_database_for_writing(self)
        with transaction.atomic(using=self.db, savepoint=False):
            # A subquery, so that the lock is on these rows alone and not on rows that the queryset
            # only joins or counts. It names the fields of the key, because Django 5.2.0 refuses
            # a composite "pk".
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
        forget_rows(self)
        return rows

    def _among(self, locked: list[M]) -> "RecordingQuerySetMixin[M]":
        """The same queryset, for the locked rows only.

        Another transaction may have changed other rows so that the queryset finds them as well. A
        database that limits the parameters of a statement might refuse so many keys, and gets none.
        On SQLite, which has this limit, no other transaction writes between a read and a write.
        """
        if limits_parameters(self.db):
            return self
        return self.filter(pk__in=[row.pk for row in locked])


def _rows(model: type[M], pks: Any, *, using: str) -> QuerySet[M]:
    return QuerySet(model, using=using).filter(pk__in=pks).order_by("pk")


def _portions(model: type[Model], pks: list[Any], *, using: str) -> Iterator[list[Any]]:
    """The keys in portions that one statement can take."""
    size = keys_per_statement(model, pks, using=using)
    for start in range(0, len(pks), size):
        yield pks[start : start + size]
