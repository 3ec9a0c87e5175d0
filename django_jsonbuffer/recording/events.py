"""A change becomes an event."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Field, ManyToManyField, Model

from django_jsonbuffer.cloudevents import cloud_event
from django_jsonbuffer.django_internals.models import key_field
from django_jsonbuffer.exceptions import InvalidEvent

from .actors import actor
from .destination import Destination
from .stored_rows import read_row, read_rows
from .values import Values, held_values, holds_value, plain

if TYPE_CHECKING:
    AnyField = Field[Any, Any]
    AnyManyToManyField = ManyToManyField[Any, Any]

ACTIONS: Final = ("created", "updated", "deleted")

_INSTANCES_PER_QUERY: Final = 200
"""One query reads the values that so many instances do not hold."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """What one bucket records of one model.

    A recording is about the instances of the model in the sense of ``isinstance``. Instances of its
    proxies and child models count as well, because their rows are also rows of the model. Each
    change makes one event.
    """

    destination: Destination
    model: type[Model]

    on: frozenset[str]
    """The recorded actions, out of ACTIONS."""

    fields: tuple["AnyField", ...]
    m2m: tuple["AnyManyToManyField", ...]

    when: Callable[[Any], object] | None = None
    """Called with the instance. If the result is false, the change is not recorded."""

    payload: Callable[[Any], Any] | None = None
    """Called with the instance. Its result is the data of the event, in place of the fields."""

    changes: bool = False
    """Whether the event of an update has the old and new values. An update that changed nothing
    then makes no event."""

    raw: bool = False
    """Whether changes by ``loaddata`` are recorded."""

    actor: bool = False
    """Whether the event names the user of the request."""

    @property
    def compares(self) -> bool:
        """Whether the values before a save must be read."""
        return self.changes and "updated" in self.on

    def is_wanted(self, instance: Model) -> bool:
        return self.when is None or bool(self.when(instance))

    def pk_of(self, instance: Model) -> Any:
        """The key of the row in the recorded model. A child of several parents has several keys."""
        return getattr(instance, key_field(self.model).attname)

    def append(self, events: Iterable[Values], *, using: str) -> None:
        self.destination.append_recorded(events, using=using)

    def event(self, action: str, instance: Model, data: Any) -> Values:
        return cloud_event(
            f"{self.model._meta.label_lower}.{action}",
            data,
            subject=_as_text(self.pk_of(instance)),
            **(actor() if self.actor else {}),
        )

    def events_of_change(
        self,
        action: str,
        instance: Model,
        *,
        using: str | None,
        saved: Collection[str] | None = None,
        before: Mapping[str, Any] | None = None,
        values: Values | None = None,
    ) -> Iterator[Values]:
        """The event of one change. None if `when` refuses the change, or if nothing has changed.

        `saved` are the names of the saved fields, None for all. `before` and `values` are the
        values of the row before and after the change, as far as they are known.
        """
        if not self.is_wanted(instance):
            return
        old = before if self.changes and action == "updated" else None
        if values is None and (self.payload is None or old is not None):
            values = self._values(instance, using=using, saved=saved, before=before)
        data = values if self.payload is None else self.payload(instance)
        if old is not None and values is not None:
            changes = _changes(old, values)
            if not changes:
                return
            data = self._with_changes(data, changes)
        yield self.event(action, instance, data)

    def events_of_many(
        self, action: str, instances: Iterable[Model], *, using: str | None
    ) -> Iterator[Values]:
        """The events of these instances. A query per 200 reads the values that they do not hold."""
        remaining = iter(instances)
        while some := [*islice(remaining, _INSTANCES_PER_QUERY)]:
            stored: dict[Any, Values] = {}
            unknown = [
                field
                for field in ([] if self.payload else self.fields)
                if not all(holds_value(instance, field) for instance in some)
            ]
            if unknown:
                pks = [pk for instance in some if (pk := self.pk_of(instance)) is not None]
                stored = read_rows(self.model, pks, unknown, using=using)
            for instance in some:
                known = held_values(instance, self.fields)
                values = self._in_order({**known, **stored.get(self.pk_of(instance), {})})
                yield from self.events_of_change(action, instance, using=using, values=values)

    def events_of_rows(
        self, rows: Collection[Model], *, using: str, before: Mapping[Any, Values]
    ) -> Iterator[Values]:
        """The events of updated rows that have just been read.

        `before` are their old values, by primary key.
        """
        values = self.values_of_rows(rows)
        for row in rows:
            yield from self.events_of_change(
                "updated", row, using=using, before=before.get(row.pk), values=values[row.pk]
            )

    def values_of_rows(self, rows: Iterable[Model]) -> dict[Any, Values]:
        """The values of rows that have just been read, by primary key. It takes no query."""
        return {row.pk: held_values(row, self.fields) for row in rows}

    def _values(
        self,
        instance: Model,
        *,
        using: str | None,
        saved: Collection[str] | None,
        before: Mapping[str, Any] | None,
    ) -> Values:
        """The values of the chosen fields as the database has them.

        A query reads the values that the instance cannot know: the field is deferred, or the
        database computes it, or it was not `saved` and `before` does not have it.
        """
        values: Values = {}
        unknown = []
        for field in self.fields:
            attname = field.attname
            is_saved = saved is None or attname in saved or field.name in saved
            if not holds_value(instance, field):
                unknown.append(field)
            elif is_saved:
                values[attname] = plain(field, instance.__dict__[attname])
            elif before:
                values[attname] = before[attname]
            else:
                unknown.append(field)
        if unknown:
            stored = read_row(self.model, self.pk_of(instance), unknown, using=using) or {}
            values = self._in_order({**values, **stored})
        return values

    def _in_order(self, values: Values) -> Values:
        """The same values in the order of the fields."""
        return {f.attname: values[f.attname] for f in self.fields if f.attname in values}

    def _with_changes(self, data: Any, changes: Values) -> Values:
        if not isinstance(data, Mapping):
            raise InvalidEvent(
                f"The payload of {self.model._meta.label} must be a dict, because changes=True "
                f"adds a key. It is a {type(data).__name__}."
            )
        return {**data, "changes": changes}


def _changes(before: Mapping[str, Any], after: Values) -> Values:
    return {
        attname: {"old": before[attname], "new": value}
        for attname, value in after.items()
        if before[attname] != value
    }


def _as_text(pk: Any) -> str | None:
    """The subject of an event.

    None if the key is not known, because some databases do not return the keys of bulk_create().
    """
    if isinstance(pk, tuple):
        return ",".join(map(str, pk))
    return None if pk is None else str(pk)
