"""Records the bulk operations of a queryset, although they send no signals."""

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.db import transaction
from django.db.models import Model, QuerySet

from .django_internals.queries import (
    forget_rows,
    is_sliced_or_combined,
    use_database_for_writing,
)
from .recording.registry import recordings_of
from .recording.updates import RecordedUpdate

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
        with transaction.atomic(using=self.db):
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
        if not (recordings and kwargs) or is_sliced_or_combined(self):
            return super().update(**kwargs)
        use_database_for_writing(self)

        def update(rows: Any) -> int:
            return super(RecordingQuerySetMixin, rows).update(**kwargs)  # noqa: UP008

        count = RecordedUpdate(self, recordings).run(update)
        forget_rows(self)
        return count
