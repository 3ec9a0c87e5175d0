"""Increment: adds the numbers of events to the rows of their keys."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Error
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import AutoField, DecimalField, FloatField, IntegerField, Model

from django_jsonbuffer.django_internals.inserts import largest_integer, new_rows
from django_jsonbuffer.django_internals.models import concrete_fields, is_generated

from .conversions import EventDoesNotFit, conversion, is_required
from .declarations import (
    check_names,
    check_on_conflict,
    check_sources,
    checked_names,
    checked_sources,
)
from .mapping import EventMapping, Source, Sources, WritableFields
from .model_sink import ModelSink, Values
from .rows import check_references
from .statements import Term, write_rows
from .sums import amounts_per_key, check_amount, sum_on
from .targets import OTHER_FAULT
from .unique_keys import check_unique_key, fields_of_key, key_of, sorted_by_key

if TYPE_CHECKING:
    from django_jsonbuffer.django_internals.models import AnyField

Amount = str | int | float | Decimal | Callable[[Any], Any]


class Increment(ModelSink):
    """Adds the numbers of each event to the row that has its key, or inserts this row.

    `key` is the name of a field, several names, or a dict of sources:
    ``{"product": "product_id", "day": lambda event: event["at"][:10]}``. There must be a unique
    constraint, or the primary key, behind these fields.

    `fields` are the fields that are added to: names, or a dict of sources. A source may also be a
    number: ``{"views": 1}`` counts the events. An event must give its key and all its numbers.
    Other keys of an event are ignored.

    The events of a batch are summed per key and written with one statement, in the order of their
    keys, so that several workers cannot wait for each other. The other fields of a new row have
    their defaults. Fields with ``auto_now`` are updated as well.

    A batch that comes again is added again, unless the bucket has receipts.
    """

    def __init__(
        self,
        model: type[Model] | str,
        *,
        key: str | Sequence[str] | Sources,
        fields: str | Sequence[str] | Mapping[str, Amount],
        using: str | None = None,
    ) -> None:
        super().__init__(model, using=using)
        self._key: dict[str, Any] = _by_name("key", key)
        self._fields: dict[str, Any] = _by_name("fields", fields)
        self._constants = {n: v for n, v in self._fields.items() if _is_number(v)}
        self._amounts: list[AnyField] = []
        self._constant_values: dict[str, Any] = {}

    def _make_mapping(self, model: type[Model]) -> EventMapping:
        key = [field.name for field in fields_of_key(model, self._key)]
        names = [*key, *(name for name in self._fields if name not in self._constants)]
        given = {**self._key, **self._fields}
        if "pk" in given:
            given[key[0] if len(key) == 1 else "pk"] = given.pop("pk")
        sources = {
            name: source
            for name, source in given.items()
            if source is not None and name not in self._constants
        }
        mapping = EventMapping(model, sources, unknown="ignore", only=names, required=names)
        self._amounts = [mapping.fields[name] for name in self._fields]
        for name, number in self._constants.items():
            field = mapping.fields[name]
            self._constant_values[field.attname] = conversion(field)(number)
        return mapping

    def _values(self, event: Any) -> Values:
        return {**self._mapping.values(event), **self._constant_values}

    def _ordered(self, values: Mapping[int, Values]) -> Sequence[int]:
        key = [field.attname for field in fields_of_key(self._target.model, self._key)]
        return sorted_by_key(values, lambda place: key_of(values[place], key))

    def _write(
        self, events: Sequence[Values], model: type[Model], connection: BaseDatabaseWrapper
    ) -> None:
        key = fields_of_key(model, self._key)
        amounts = self._amounts
        rows = new_rows(model, [*amounts_per_key(events, key, amounts)])
        changes = [Term(field, sum_on(connection, field)) for field in amounts]
        changes += [
            Term(field, lambda old, new: new)
            for field in concrete_fields(model)
            if getattr(field, "auto_now", False) and field not in (*key, *amounts)
        ]
        write_rows(rows, connection, key=key, changes=changes)
        check_references(rows, connection)

    def _check_fields(self, model: type[Model]) -> Iterator[CheckMessage]:
        sources = {**self._key}
        if "pk" in sources and (sources["pk"] is None or len(model._meta.pk_fields) == 1):
            sources.update(
                dict.fromkeys((f.name for f in model._meta.pk_fields), sources.pop("pk"))
            )
        amounts = {name: s for name, s in self._fields.items() if name not in self._constants}
        faults = [
            *check_sources(model, "key", _explicit(sources)),
            *check_sources(model, "fields", _explicit(amounts)),
            *check_names(model, "key", (n for n in sources if sources[n] is None)),
            *check_names(model, "fields", (n for n, s in self._fields.items() if _is_plain(s))),
            *check_on_conflict(self._target.connection),
        ]
        yield from faults
        if not faults:
            key = fields_of_key(model, self._key)
            yield from check_unique_key(model, key, "key")
            yield from self._check_amounts(model, key)
            yield from self._check_other_fields(model, key)

    def _check_amounts(
        self, model: type[Model], key: Sequence["AnyField"]
    ) -> Iterator[CheckMessage]:
        fields = WritableFields(model)
        for name in self._fields:
            field = fields[name]
            is_number = isinstance(field, IntegerField | FloatField | DecimalField)
            if not is_number or isinstance(field, AutoField) or field in key:
                yield Error(
                    f"fields names {name!r}, which cannot be added to.",
                    hint=(
                        "Write the names of integer, float or decimal fields that are not part of "
                        "the key."
                    ),
                    id=OTHER_FAULT,
                )
            elif name in self._constants:
                yield from self._check_constant(name, field)

    def _check_constant(self, name: str, field: "AnyField") -> Iterator[CheckMessage]:
        number = self._constants[name]
        try:
            value = conversion(field)(number)
            check_amount(field, value)
            if isinstance(field, IntegerField):
                most = largest_integer(field, self._target.connection)
                if most is not None and abs(value) > most:
                    raise EventDoesNotFit(f"Field {name!r} is at most {most}.")
        except EventDoesNotFit as error:
            yield Error(
                f"fields gives {number!r:.60} as the source of {name!r}. {error}",
                hint="Write a number that the field can have.",
                id=OTHER_FAULT,
            )

    def _check_other_fields(
        self, model: type[Model], key: Sequence["AnyField"]
    ) -> Iterator[CheckMessage]:
        given = {*key, *(WritableFields(model)[name] for name in self._fields)}
        for field in concrete_fields(model):
            if field not in given and not is_generated(field) and is_required(field):
                yield Error(
                    f"A new row of {model._meta.label} needs a value for {field.name!r}, which "
                    "neither key nor fields gives.",
                    hint=f"Give {field.name!r} a default, or let it be null.",
                    id=OTHER_FAULT,
                )


def _by_name(option: str, given: object) -> dict[str, Any]:
    """The source of each field. None stands for the field's own name."""
    if given and isinstance(given, Mapping):
        return checked_sources(option, given)
    return dict.fromkeys(checked_names(option, given))


def _explicit(sources: Mapping[str, Any]) -> dict[str, Source]:
    return {name: source for name, source in sources.items() if source is not None}


def _is_number(source: object) -> bool:
    return isinstance(source, int | float | Decimal)


def _is_plain(source: object) -> bool:
    return source is None or _is_number(source)
