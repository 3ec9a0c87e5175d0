"""Values that only the database knows, read by primary key."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Model, QuerySet

from django_jsonbuffer.django_internals.models import CompiledSelect, compiled_select, key_field

from .values import Values, is_expression, plain

if TYPE_CHECKING:
    AnyField = Field[Any, Any]

_MOST_SELECTS: Final = 100
"""Most statements that one connection keeps. Each set of fields needs its own statement."""


def read_rows(
    model: type[Model], pks: Collection[Any], fields: Collection["AnyField"], *, using: str | None
) -> dict[Any, Values]:
    """The values in the database, by primary key."""
    rows: QuerySet[Any] = QuerySet(model, using=using).filter(pk__in=pks)
    return {
        pk: _values(fields, row)
        for pk, *row in rows.values_list("pk", *(field.attname for field in fields))
    }


def read_row(
    model: type[Model], pk: Any, fields: Sequence["AnyField"], *, using: str | None
) -> Values | None:
    """The values of one row in the database, or None if there is no such row."""
    connection = connections[using or QuerySet(model).db]
    # A key that is an expression has SQL of its own, which a kept statement does not have.
    select = None if is_expression(pk) else _kept_select(model, pk, fields, connection)
    if select is None:
        return next(iter(read_rows(model, [pk], fields, using=using).values()), None)
    for _, *row in select.rows(connection, [key_field(model).get_db_prep_value(pk, connection)]):
        return _values(fields, row)
    return None


def _values(fields: Collection["AnyField"], row: Sequence[Any]) -> Values:
    return {f.attname: plain(f, value) for f, value in zip(fields, row, strict=True)}


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
