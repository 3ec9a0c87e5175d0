"""Rows as the database has them, read by primary key."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Model, QuerySet

from django_jsonbuffer.django_internals.databases import take_write_lock
from django_jsonbuffer.django_internals.models import key_field
from django_jsonbuffer.django_internals.queries import CompiledSelect, compiled_select

from .unchanged import UNKNOWN
from .values import Values, is_expression, plain

if TYPE_CHECKING:
    AnyField = Field[Any, Any]

_MOST_SELECTS: Final = 100
"""Most statements that one connection keeps. Each set of fields needs its own statement."""


class Row(NamedTuple):
    """The recorded part of a row."""

    key: Any
    """The primary key. None if it is not known, as after some ``bulk_create()``."""

    values: Values

    @property
    def is_complete(self) -> bool:
        """Whether the key and all values are known."""
        # By identity, because some types are slow to compare by value.
        for value in self.values.values():
            if value is UNKNOWN:
                return False
        return self.key is not UNKNOWN

    @property
    def subject(self) -> str | None:
        """The key as text. The parts of a composite key are joined by commas."""
        if isinstance(self.key, tuple):
            return ",".join(map(str, self.key))
        return None if self.key is None else str(self.key)


def read_rows(
    model: type[Model], pks: Collection[Any], fields: Collection["AnyField"], *, using: str
) -> dict[Any, Row]:
    """The rows by primary key, as the database returns the key."""
    return rows_by_key(QuerySet(model, using=using).filter(pk__in=pks), fields)


def rows_by_key(rows: QuerySet[Any], fields: Collection["AnyField"]) -> dict[Any, Row]:
    """These fields of the queryset's rows, by primary key as the database returns it."""
    found = rows.values_list("pk", *(field.attname for field in fields))
    return {pk: _row(rows.model, pk, fields, values) for pk, *values in found}


def read_row(
    model: type[Model], pk: Any, fields: Sequence["AnyField"], *, using: str
) -> Row | None:
    """The row with this primary key, in any form that Django accepts. None if there is no row."""
    connection = connections[using]
    # The SQL of an expression is part of the statement, so no kept statement fits it.
    select = None if is_expression(pk) else _kept_select(model, pk, fields, connection)
    if select is None:
        return next(iter(read_rows(model, [pk], fields, using=using).values()), None)
    params = [key_field(model).get_db_prep_value(pk, connection)]
    for found, *values in select.rows(connection, params):
        return _row(model, found, fields, values)
    return None


def read_row_before_write(
    model: type[Model], pk: Any, fields: Sequence["AnyField"], *, using: str
) -> Row | None:
    """Like `read_row`, for a row that the same transaction is about to change."""
    take_write_lock(connections[using], model)
    return read_row(model, pk, fields, using=using)


def _row(model: type[Model], pk: Any, fields: Collection["AnyField"], values: Sequence[Any]) -> Row:
    field: Any = key_field(model)
    key = tuple(map(plain, field.fields, pk)) if isinstance(pk, tuple) else plain(field, pk)
    return Row(key, {f.attname: plain(f, value) for f, value in zip(fields, values, strict=True)})


def _kept_select(
    model: type[Model], pk: Any, fields: Sequence["AnyField"], connection: BaseDatabaseWrapper
) -> CompiledSelect | None:
    """The compiled SELECT of these fields by primary key.

    The statement is kept, because to compile it takes ten times as long as to run it on SQLite.
    None if the statement takes the key in another form.
    """
    # The connection keeps the statement, because the SQL is in the connection's dialect.
    selects: dict[Any, CompiledSelect | None] = connection.__dict__.setdefault(
        "_jsonbuffer_queries", {}
    )
    key = (model, model._meta.db_table, *(field.attname for field in fields))
    if key not in selects:
        if len(selects) >= _MOST_SELECTS:
            selects.clear()
        selects[key] = _select(model, pk, fields, connection)
    return selects[key]


def _select(
    model: type[Model], pk: Any, fields: Sequence["AnyField"], connection: BaseDatabaseWrapper
) -> CompiledSelect | None:
    rows: QuerySet[Any] = QuerySet(model, using=connection.alias).filter(pk=pk)
    rows = rows.values_list("pk", *(field.attname for field in fields))
    select, params = compiled_select(rows, connection)
    # A composite key is several parameters, and a lookup may change a key.
    is_the_key = [*params] == [key_field(model).get_db_prep_value(pk, connection)]
    return select if is_the_key else None
