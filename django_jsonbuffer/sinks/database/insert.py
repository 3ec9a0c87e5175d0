"""Insert: each event becomes a new row."""

from collections.abc import Iterator, Mapping, Sequence

from django.core.checks import CheckMessage
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_jsonbuffer.django_internals.inserts import (
    bulk_creates_by_django,
    has_on_conflict,
    most_parameters,
    new_rows,
)
from django_jsonbuffer.django_internals.models import concrete_fields, model_with_table

from .declarations import check_mapping, checked_sources, checked_unknown
from .mapping import EventMapping, Sources, Unknown
from .model_sink import ModelSink, Values
from .rows import check_references
from .statements import insert_rows
from .unique_keys import key_of, sorted_by_key, unique_keys


class Insert(ModelSink):
    """Inserts a row for each event, as ``bulk_create()`` does.

    `model` is a class or a label (``"shop.PageView"``). The keys of an event are names of fields.
    `mapping` gives other sources: ``{"path": "url", "day": lambda event: event["at"][:10]}``. The
    fields of a CloudEvent are in its ``data``; `mapping` may also name attributes of its envelope.
    A key that the event does not have leaves the field at its default.

    A key that is not a field makes the event bad. With ``unknown="ignore"`` the key is dropped, and
    with ``extra="name_of_a_JSONField"`` it is kept in that field.

    With ``ignore_conflicts=True``, a row that exists already is left as it is. This also skips rows
    with other faults, as Django documents.

    `using` is the alias of the database. Without it, the routers choose.
    """

    def __init__(
        self,
        model: type[Model] | str,
        *,
        mapping: Sources | None = None,
        unknown: Unknown = "error",
        extra: str | None = None,
        ignore_conflicts: bool = False,
        using: str | None = None,
    ) -> None:
        super().__init__(model, using=using)
        self._sources = checked_sources("mapping", mapping)
        self._unknown = checked_unknown(unknown, extra)
        self._extra = extra
        self._ignore_conflicts = ignore_conflicts

    def _make_mapping(self, model: type[Model]) -> EventMapping:
        return EventMapping(model, self._sources, unknown=self._unknown, extra=self._extra)

    def _ordered(self, values: Mapping[int, Values]) -> Sequence[int]:
        places = [*values]
        if self._ignore_conflicts:
            # Two workers may insert the same keys, so they must do it in the same order.
            for key in unique_keys(self._target.model):
                if all(values[place].keys() >= key for place in places):
                    keys = {place: key_of(values[place], sorted(key)) for place in places}
                    return sorted_by_key(places, keys.__getitem__)
        return places

    def _write(
        self, events: Sequence[Values], model: type[Model], connection: BaseDatabaseWrapper
    ) -> None:
        blank = self._mapping.blank
        rows = new_rows(model, [{**blank, **values} for values in events] if blank else events)
        if self._is_plain(model, connection):
            insert_rows(rows, connection)
        else:
            manager = model._default_manager.using(connection.alias)
            size = max(most_parameters(connection) // len(concrete_fields(model)), 1)
            manager.bulk_create(rows, batch_size=size, ignore_conflicts=self._ignore_conflicts)
        check_references(rows, connection)

    def _is_plain(self, model: type[Model], connection: BaseDatabaseWrapper) -> bool:
        """Whether the statement of ``bulk_create()`` is enough, without the work around it.

        That work is to read the new keys, which nobody needs.
        """
        return (
            has_on_conflict(connection)
            and not self._ignore_conflicts
            and not model_with_table(model)._meta.parents
            and bulk_creates_by_django(model)
        )

    def _check_fields(self, model: type[Model]) -> Iterator[CheckMessage]:
        yield from check_mapping(model, self._sources, self._extra)
