"""The receiver of changes of many-to-many fields."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import UUID

from django.db.models import ManyToManyField, Model, QuerySet

from django_jsonbuffer.django_internals.models import names_of_link_fields, shares_table

from . import stash
from .containment import contained
from .events import Recording
from .rows import Rows
from .saves import is_from_fixture
from .unchanged import has_known_class
from .values import Values, plain

if TYPE_CHECKING:
    AnyManyToManyField = ManyToManyField[Any, Any]


_VALUES_PER_QUERY: Final = 500
"""Values of a foreign key that one query takes on any database."""


def through(field: "AnyManyToManyField") -> type[Model]:
    """The model with a row for each link. It sends the signals of the field."""
    # Not the attribute of the model, because other libraries put attributes of their own there.
    return cast(type[Model], field.remote_field.through)


@dataclass(frozen=True, eq=False, slots=True)
class Links:
    """The method that Django calls. It keeps the links before a change on the instance."""

    recording: Recording
    field: "AnyManyToManyField"

    def on_change(
        self,
        instance: Model | None = None,
        action: str = "",
        reverse: bool = False,
        pk_set: Collection[Any] | None = None,
        using: str | None = None,
        raw: bool = False,
        **kwargs: Any,
    ) -> None:
        """Append the events of links that were added or removed."""
        recording = self.recording
        if not isinstance(instance, self.field.model | self.field.remote_field.model):
            return
        if not recording.raw and (raw or is_from_fixture(instance)):
            return
        alias = recording.database_of(instance, using)
        end = _End(self.field, instance, self._is_reverse(instance, reverse), alias)
        if action in ("pre_remove", "pre_clear") or (action == "pre_add" and not end.knows(pk_set)):
            stash.keep(instance, self, recording.attempt(lambda: [end.linked()], alias))
        elif action == "post_add" and end.knows(pk_set):
            recording.append(self._events("added", end, pk_set or ()), using=alias)
        elif action in ("post_add", "post_remove", "post_clear"):
            before = stash.take(instance, self)
            for now in recording.attempt(lambda: [end.linked()], alias) if before else []:
                added, removed = now - before[0], before[0] - now
                change, keys = ("added", added) if action == "post_add" else ("removed", removed)
                recording.append(self._events(change, end, keys), using=alias)

    def _is_reverse(self, instance: Model, reverse: bool) -> bool:
        """Whether the instance is of the model that the field points to.

        Another field may have the same table, in the other direction: `reverse` is about that one.
        """
        is_owner = isinstance(instance, self.field.model)
        is_target = isinstance(instance, self.field.remote_field.model)
        return reverse if is_owner and is_target else is_target

    def _events(self, change: str, end: "_End", linked: Collection[Any]) -> Iterator[Values]:
        recording = self.recording
        name = end.field.name
        for owner, keys in end.by_owner(linked, model=recording.model):
            if isinstance(owner, recording.model):
                make = partial(self._event, owner, name, change, keys, end.using)
                yield from recording.attempt(make, end.using)

    def _event(
        self, owner: Model, name: str, change: str, keys: list[Any], using: str
    ) -> Iterator[Values]:
        recording = self.recording
        if recording.is_wanted(owner):
            [row] = recording.keys.of_many([owner], using=using)
            with contained():
                data = recording.presentation.of_links(owner, name, change, keys)
                event = recording.event(f"{name}.{change}", row, data)
            yield event


@dataclass(frozen=True, slots=True)
class _End:
    """An instance at one end of a many-to-many field.

    The other end of a link is named by the value that the foreign key of the link has. This is the
    primary key of the other row, or the field that ``to_field`` names.
    """

    field: "AnyManyToManyField"
    instance: Model
    reverse: bool
    """Whether the instance is of the model that the field points to."""

    using: str

    def knows(self, keys: Collection[Any] | None) -> bool:
        """Whether Django's signal names the added rows, and in the form that the database has."""
        are_plain = all(type(key) in (int, UUID) for key in keys or ())
        known = are_plain and all(map(has_known_class, self._foreign_keys()))
        return known and not shares_table(self.field)

    def linked(self) -> set[Any]:
        """The rows that are linked at the moment."""
        own, other = self._foreign_keys()
        links: QuerySet[Any] = QuerySet(through(self.field), using=self.using)
        return {*links.filter(**{own.name: self.instance}).values_list(other.attname, flat=True)}

    def by_owner(
        self, linked: Collection[Any], *, model: type[Model]
    ) -> Iterable[tuple[Model, list[Any]]]:
        """The owners of links (the instances that have the field), each with its linked keys."""
        if not linked:
            return []
        if not self.reverse:
            return [(self.instance, self._primary_keys(linked))]
        _, other = self._foreign_keys()
        target = self.field.remote_field.model
        [row] = Rows(target, ()).of_many([self.instance], using=self.using)
        owners = self._rows(model, other.target_field, linked)
        return [(owner, [row.key]) for owner in sorted(owners, key=_by_key)]

    def _primary_keys(self, linked: Collection[Any]) -> list[Any]:
        """The primary keys of the linked rows, in order. Usually no query is needed."""
        target = self._foreign_keys()[1].target_field
        if target.primary_key and self.knows(linked):
            return sorted(linked)
        rows = sorted(self._rows(target.model, target, linked), key=_by_key)
        return [plain(target.model._meta.pk, row.pk) for row in rows]

    def _rows(self, model: type[Model], field: Any, values: Collection[Any]) -> Iterator[Model]:
        """The rows with these values of the field, in queries that any database takes."""
        rows: QuerySet[Model] = QuerySet(model, using=self.using)
        remaining = iter(values)
        while some := [*islice(remaining, _VALUES_PER_QUERY)]:
            yield from rows.filter(**{f"{field.attname}__in": some})

    def _foreign_keys(self) -> tuple[Any, Any]:
        """The foreign keys of a link: to the instance, and to the other end."""
        to_owner, to_target = map(
            through(self.field)._meta.get_field, names_of_link_fields(self.field)
        )
        return (to_target, to_owner) if self.reverse else (to_owner, to_target)


def _by_key(row: Model) -> tuple[bool, Any]:
    """For an order of rows that any type of key allows."""
    is_number = isinstance(row.pk, int)
    return (not is_number, row.pk if is_number else str(row.pk))
