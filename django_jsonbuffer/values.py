"""What the fields of an instance hold, as the database would give it back."""

import decimal
import json
import math
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DecimalField, Field, JSONField, Model, QuerySet

if TYPE_CHECKING:
    AnyField = Field[Any, Any]

Values = dict[str, Any]
"""Of an instance's fields, by attname."""

_JSON_TYPES: Final = (str, int, float, Decimal, date, time, timedelta, UUID, list, dict)
"""What the encoder takes as it is."""


def is_told_by(instance: Model, field: "AnyField") -> bool:
    """Whether the instance holds the field's value, which the database has not computed."""
    value = instance.__dict__.get(field.attname, field)
    is_computed = value is field or hasattr(value, "resolve_expression")
    return not (is_computed or getattr(field, "generated", False))


def stored(
    model: type[Model], pks: Collection[Any], fields: Collection["AnyField"], *, using: str | None
) -> dict[Any, Values]:
    """What the database holds, by primary key."""
    rows: QuerySet[Any] = QuerySet(model, using=using).filter(pk__in=pks)
    return {
        pk: {field.attname: plain(field, value) for field, value in zip(fields, row, strict=True)}
        for pk, *row in rows.values_list("pk", *(field.attname for field in fields))
    }


def stored_row(
    model: type[Model], pk: Any, fields: Sequence["AnyField"], *, using: str | None
) -> Values | None:
    """What the database holds of one row; None when it has no such row."""
    connection = connections[using or router.db_for_read(model)]
    # A key may be one that the database is to make.
    query = None if hasattr(pk, "resolve_expression") else _query(model, pk, fields, connection)
    if query is None:
        return next(iter(stored(model, [pk], fields, using=using).values()), None)
    with connection.cursor() as cursor:
        cursor.execute(query.sql, [model._meta.pk.get_db_prep_value(pk, connection)])
        rows = query.compiler.apply_converters(cursor.fetchall(), query.converters)
    for _, *row in rows:
        return {f.attname: plain(f, value) for f, value in zip(fields, row, strict=True)}
    return None


_MOST_QUERIES: Final = 100
"""Of a connection: every set of fields that are deferred, or not saved, has one."""


class _Query(NamedTuple):
    """A SELECT by primary key. To compile it takes ten times as long as to run it on SQLite."""

    sql: str
    compiler: Any
    converters: Any


def _query(
    model: type[Model], pk: Any, fields: Sequence["AnyField"], connection: BaseDatabaseWrapper
) -> _Query | None:
    # Kept by the connection, whose dialect it is in, and gone with it.
    queries: dict[Any, _Query | None] = connection.__dict__.setdefault("_jsonbuffer_queries", {})
    key = (model, model._meta.db_table, *(field.attname for field in fields))
    if key not in queries:
        if len(queries) >= _MOST_QUERIES:
            queries.clear()
        queries[key] = _compiled(model, pk, fields, connection)
    return queries[key]


def _compiled(
    model: type[Model], pk: Any, fields: Sequence["AnyField"], connection: BaseDatabaseWrapper
) -> _Query | None:
    """None for a key that is more than one value, or another one in the query."""
    rows: QuerySet[Any] = QuerySet(model, using=connection.alias).filter(pk=pk)
    rows = rows.values_list("pk", *(field.attname for field in fields))
    compiler: Any = rows.query.get_compiler(connection=connection)
    sql, params = compiler.as_sql()
    if len(params) != 1 or params[0] != model._meta.pk.get_db_prep_value(pk, connection):
        return None
    converters = compiler.get_converters([expression for expression, *_ in compiler.select])
    return _Query(sql, compiler, converters)


def plain(field: "AnyField", value: Any) -> Any:
    """A value that an encoder takes, as the database would give it back.

    An instance holds what it was given until it is read anew: "3" for the number 3. What has no
    JSON of its own becomes the text that Django's serializers write.
    """
    if value is None:
        return None
    with suppress(ValidationError):  # the database took it, however
        value = field.to_python(value)
    if isinstance(field, JSONField) and isinstance(value, list | tuple | dict):
        return json.loads(json.dumps(value, cls=field.encoder))
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(field, DecimalField) and isinstance(value, Decimal) and value.is_finite():
        with suppress(decimal.InvalidOperation):
            return value.quantize(Decimal(1).scaleb(-field.decimal_places))
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)  # the text that PostgreSQL's to_json() gives: "NaN"
    if isinstance(value, _JSON_TYPES):
        return value
    holder: Any = SimpleNamespace(**{field.attname: value})
    return field.value_to_string(holder)
