"""The recorded part of an instance's row, with as few queries as possible."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from django.db.models import Field, Model

from django_jsonbuffer.django_internals.models import (
    has_plain_attribute,
    is_loaded_plainly,
    key_field,
)

from .selects import Row, read_row, read_row_before_write, read_rows
from .unchanged import UNKNOWN, Column, columns, guessed

if TYPE_CHECKING:
    AnyField = Field[Any, Any]


class Rows:
    """Finds the values of these fields in rows of one model."""

    def __init__(
        self, model: type[Model], fields: tuple["AnyField", ...], *, read_back: bool = False
    ) -> None:
        self.model = model
        self.fields = fields
        self._read_back = read_back
        self._key: Any = key_field(model)
        self._key_attnames = [*_attnames_of_key(self._key)]
        self._columns = cache(self._new_columns)

    def key_of(self, instance: Model) -> Any:
        """The key of the row, as the instance has it. A child of several parents has several."""
        pk = None
        for attname in self._key_attnames:
            if (pk := getattr(instance, attname)) is not None:
                break
        return pk

    def before(self, instance: Model, *, using: str) -> Row | None:
        """The row before the instance is saved or deleted. None if there is no row."""
        pk = self.key_of(instance)
        if pk is None or (isinstance(pk, tuple) and None in pk):
            return None
        return read_row_before_write(self.model, pk, self.fields, using=using)

    def after_save(self, instance: Model, *, using: str, saved: Collection[str] | None) -> Row:
        """The row after a save. A query reads the values that the instance cannot know.

        `saved` are the names of the saved fields, None for all.
        """
        row = self._held(instance, using)
        if saved is not None:
            for field in self.fields:
                if field.attname not in saved and field.name not in saved:
                    row.values[field.attname] = UNKNOWN
        return self._completed(instance, row, using=using)

    def of_many(
        self,
        instances: Sequence[Model],
        *,
        using: str,
        are_fresh: bool = False,
        are_stale: bool = False,
        are_gone: bool = False,
    ) -> list[Row]:
        """The rows of these instances, as they are at the moment.

        One query reads the values that the instances cannot know. With `are_stale`, the instances
        may have any values, so everything is read. With `are_fresh`, they have just been read. With
        `are_gone`, there are no rows to read, so the values are those of the instances.
        """
        if are_stale:
            rows = [self._unknown_row() for _ in instances]
        else:
            rows = [self._held(instance, using, is_fresh=are_fresh) for instance in instances]
        if all(row.is_complete for row in rows):
            return rows
        if are_gone:
            return [self._merged(i, row, None) for i, row in zip(instances, rows, strict=True)]
        pks = [pk for instance in instances if (pk := self.key_of(instance)) is not None]
        stored = read_rows(self.model, pks, self._unknown(rows), using=using)
        return [
            self._merged(instance, row, found)
            if (found := self._find(instance, stored)) is not None
            else self._completed(instance, row, using=using)
            for instance, row in zip(instances, rows, strict=True)
        ]

    def _unknown_row(self) -> Row:
        return Row(UNKNOWN, {field.attname: UNKNOWN for field in self.fields})

    def _held(self, instance: Model, using: str, *, is_fresh: bool = False) -> Row:
        """The row with the values that the instance holds, and UNKNOWN for all others."""
        key_columns, value_columns = self._columns(type(instance), using)
        is_changed = is_fresh and not is_loaded_plainly(type(instance))
        held: Mapping[str, Any] = {} if is_changed else instance.__dict__
        key = tuple([column.known(held, is_fresh) for column in key_columns])
        return Row(
            key[0] if len(key) == 1 else UNKNOWN if UNKNOWN in key else key,
            {column.attname: column.known(held, is_fresh) for column in value_columns},
        )

    def _completed(self, instance: Model, row: Row, *, using: str) -> Row:
        """The row, with the values that are UNKNOWN read from the database."""
        if row.is_complete:
            return row
        pk, fields = self.key_of(instance), self._unknown([row])
        stored = None if pk is None else read_row(self.model, pk, fields, using=using)
        return self._merged(instance, row, stored)

    def _find(self, instance: Model, stored: Mapping[Any, Row]) -> Row | None:
        """The row of the instance, which may have the key in another form than the database."""
        pk = self.key_of(instance)
        with suppress(Exception):  # not hashable, or not a key of this model
            return stored.get(pk) or stored.get(self._key.to_python(pk))
        return None

    def _unknown(self, rows: Sequence[Row]) -> list["AnyField"]:
        return [f for f in self.fields if any(row.values[f.attname] is UNKNOWN for row in rows)]

    def _merged(self, instance: Model, row: Row, stored: Row | None) -> Row:
        """The row, with UNKNOWN replaced. If no row is stored, by values of the instance."""
        if stored is None:
            stored = self._guessed(instance)
        values = {
            attname: stored.values.get(attname, UNKNOWN) if value is UNKNOWN else value
            for attname, value in row.values.items()
        }
        return Row(
            stored.key if row.key is UNKNOWN else row.key,
            {attname: value for attname, value in values.items() if value is not UNKNOWN},
        )

    def _guessed(self, instance: Model) -> Row:
        """The row as the instance has it, which must not cause a query: the row may be gone."""
        pk = self.key_of(instance)
        is_composite = isinstance(pk, tuple)
        held = instance.__dict__
        # If another library replaces the attribute, the value need not be in `__dict__`.
        values = {
            field.attname: guessed(field, getattr(instance, field.attname))
            for field in self.fields
            if field.attname in held or not has_plain_attribute(type(instance), field)
        }
        return Row(
            tuple(map(guessed, self._key.fields, pk)) if is_composite else guessed(self._key, pk),
            values,
        )

    def _new_columns(
        self, cls: type[Model], using: str
    ) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
        key_fields = tuple(getattr(self._key, "fields", (self._key,)))
        return (
            columns(cls, key_fields, using=using),
            columns(cls, self.fields, using=using, read_back=self._read_back),
        )


def _attnames_of_key(key: Any) -> Iterator[str]:
    """The attributes with the key, in the order in which ``save()`` looks at them.

    A child has the key of its parent. Before the first save, only the parent's may be set on the
    instance.
    """
    if key.remote_field is not None and key.remote_field.parent_link:
        yield from _attnames_of_key(key.target_field)
    yield key.attname
