"""Upsert: each event becomes a row, or changes the row that has its key."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_jsonbuffer.django_internals.inserts import new_rows
from django_jsonbuffer.django_internals.models import concrete_fields

from .declarations import (
    check_mapping,
    check_names,
    check_on_conflict,
    checked_names,
    checked_sources,
    checked_unknown,
)
from .existing import fill_from_existing_rows
from .mapping import EventMapping, Sources, Unknown
from .model_sink import ModelSink, Values
from .rows import check_references
from .statements import Term, write_rows
from .targets import OTHER_FAULT
from .unique_keys import check_unique_key, fields_of_key, key_of, sorted_by_key

if TYPE_CHECKING:
    from django_jsonbuffer.django_internals.models import AnyField


class Upsert(ModelSink):
    """Inserts a row for each event, or updates the row that has the same `unique_fields`.

    The last event of a key wins. Fields that an event does not give keep their value. So a batch
    leaves what its events would leave one after the other. `update_fields` limits the fields that
    are updated in a row that exists. Fields with ``auto_now`` are updated as well.

    With `version_field`, the events of a key are applied in the order of this field, and an event
    that is older than the row changes nothing. This also holds if several workers write at a time.
    An event as old as the row is applied.

    The other options are those of :class:`Insert`. There must be a unique constraint, or the
    primary key, behind `unique_fields`. An event that does not give all of them is bad.
    """

    def __init__(
        self,
        model: type[Model] | str,
        *,
        unique_fields: Sequence[str],
        update_fields: Sequence[str] | None = None,
        version_field: str | None = None,
        mapping: Sources | None = None,
        unknown: Unknown = "error",
        extra: str | None = None,
        using: str | None = None,
    ) -> None:
        super().__init__(model, using=using)
        self._key_names = checked_names("unique_fields", unique_fields)
        self._updated = update_fields and checked_names("update_fields", update_fields)
        self._version = version_field
        self._sources = checked_sources("mapping", mapping)
        self._unknown = checked_unknown(unknown, extra)
        self._extra = extra

    def _make_mapping(self, model: type[Model]) -> EventMapping:
        key = [field.name for field in fields_of_key(model, self._key_names)]
        return EventMapping(
            model,
            self._sources,
            unknown=self._unknown,
            extra=self._extra,
            required=[*key, *([self._version] if self._version else [])],
        )

    def _ordered(self, values: Mapping[int, Values]) -> Sequence[int]:
        attnames = self._key_attnames(self._target.model)
        return sorted_by_key(values, lambda place: key_of(values[place], attnames))

    def _write(
        self, events: Sequence[Values], model: type[Model], connection: BaseDatabaseWrapper
    ) -> None:
        key = fields_of_key(model, self._key_names)
        attnames = self._key_attnames(model)
        version = self._version_field()
        rounds = list(_rounds(events, attnames, version.attname if version else None))
        groups = [group for events in rounds for group in _by_given_fields(events)]
        if len(groups) > 1:
            # Lock all rows in the order of their keys, before each group locks some of them.
            first = {key_of(each, attnames): each for group in reversed(groups) for each in group}
            ordered = sorted_by_key(first, lambda each: each)
            rows = self._rows([first[each] for each in ordered], key, model, connection)
            write_rows(rows, connection, key=key, changes=())
        for group in groups:
            rows = self._rows(group, key, model, connection)
            write_rows(
                rows,
                connection,
                key=key,
                changes=[*self._changes(model, group[0].keys())],
                only_if=Term(version, _is_not_newer) if version else None,
            )
            check_references(rows, connection)

    def _rows(
        self,
        events: Sequence[Values],
        key: Sequence["AnyField"],
        model: type[Model],
        connection: BaseDatabaseWrapper,
    ) -> Sequence[Model]:
        filled = fill_from_existing_rows(events, key, model, connection)
        return new_rows(model, [{**self._mapping.blank, **values} for values in filled])

    def _changes(self, model: type[Model], given: Iterable[str]) -> Iterator[Term]:
        """What a conflict changes if an event gives these attnames. The version comes last."""
        fields, version = self._mapping.fields, self._version_field()
        changed = {*given}
        if self._updated is not None:
            changed &= {fields[name].attname for name in self._updated}
        changed -= {*self._key_attnames(model), *(f.attname for f in model._meta.pk_fields)}
        changed -= {version.attname} if version else set()
        plain = [f for f in concrete_fields(model) if f.attname in changed]
        for field in plain:
            if not getattr(field, "auto_now_add", False):
                yield Term(field, _given)
        for field in concrete_fields(model):
            if getattr(field, "auto_now", False) and field not in plain and (plain or version):
                yield Term(field, _given)
        if version:
            yield Term(version, _given)

    def _key_attnames(self, model: type[Model]) -> list[str]:
        return [field.attname for field in fields_of_key(model, self._key_names)]

    def _version_field(self) -> "AnyField | None":
        return self._mapping.fields[self._version] if self._version else None

    def _check_fields(self, model: type[Model]) -> Iterator[CheckMessage]:
        faults = [
            *check_names(model, "unique_fields", [n for n in self._key_names if n != "pk"]),
            *check_names(model, "update_fields", self._updated or []),
            *check_names(model, "version_field", [self._version] if self._version else []),
            *check_mapping(model, self._sources, self._extra),
            *check_on_conflict(self._target.connection),
        ]
        yield from faults
        if faults:
            return
        key = fields_of_key(model, self._key_names)
        yield from check_unique_key(model, key, "unique_fields")
        if self._version and self._version_field() in key:
            yield Error(
                f"version_field names {self._version!r}, which is one of unique_fields.",
                hint="Name a field that grows with each version of the row.",
                id=OTHER_FAULT,
            )


def _given(old: str, new: str) -> str:
    return new


def _is_not_newer(old: str, new: str) -> str:
    return f"({old} IS NULL OR {old} <= {new})"


def _rounds(
    events: Sequence[Values], key: Sequence[str], version: str | None
) -> Iterator[Sequence[Values]]:
    """What to write first, second and so on, so that each round has each key once.

    Without versions, one round has the merged events of each key. With versions, an event whose
    fields a newer one does not all give needs a write of its own: the row may be newer than it.
    """
    by_key: dict[tuple[Any, ...], list[Values]] = {}
    for values in events:
        by_key.setdefault(key_of(values, key), []).append(values)
    if version is None:
        yield [_merged(each) for each in by_key.values()]
        return
    writes = [_needed(sorted(each, key=itemgetter(version))) for each in by_key.values()]
    for number in range(max(map(len, writes), default=0)):
        yield [each[number] for each in writes if number < len(each)]


def _merged(events: Sequence[Values]) -> Values:
    merged: dict[str, Any] = {}
    for values in events:
        merged.update(values)
    return merged


def _needed(events: Sequence[Values]) -> Sequence[Values]:
    """The events without those whose fields are all given by newer ones, oldest first."""
    needed: list[Values] = []
    given: set[str] = set()
    for values in reversed(events):
        if not values.keys() <= given:
            needed.append(values)
            given |= values.keys()
    return needed[::-1]


def _by_given_fields(events: Sequence[Values]) -> Sequence[Sequence[Values]]:
    groups: dict[frozenset[str], list[Values]] = {}
    for values in events:
        groups.setdefault(frozenset(values), []).append(values)
    return [*groups.values()]
