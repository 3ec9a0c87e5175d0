"""Databases: which values they store unchanged, their locks and their limits."""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet

from .models import concrete_fields, key_field, own_class_of_django


def stores_values_unchanged(cls: type[Model], alias: str) -> bool:
    """Whether the columns of this class are known to store the values that Django's fields give.

    They are not known for a table that Django did not make, for a database that Django does not
    support, for MySQL if it is not strict, and for a database with a time zone of its own. They are
    not known either if the ``pre_save()`` of a field may change the values of other fields, or if
    the base manager may save other fields.

    ``connection.vendor`` and, for MySQL, ``connection.sql_mode``: Django documents them only for
    authors of backends. ``QuerySet._insert`` and ``QuerySet._update`` are what ``save()`` calls.
    """
    connection: Any = connections[alias]
    fields = concrete_fields(cls)
    if connection.vendor == "mysql" and not connection.sql_mode & _STRICT_MODES:
        return False
    return (
        connection.vendor in ("sqlite", "postgresql", "mysql")
        and connection.settings_dict["TIME_ZONE"] is None
        and all(own_class_of_django(field, ["pre_save"]) for field in fields)
        and all(_is_saved_by_django(model) for model in {field.model for field in fields})
    )


def compares_text_exactly(field: Any, alias: str) -> bool:
    """Whether two texts that differ are two keys.

    MySQL's usual collations ignore case and spaces at the end. So a row may be found by another
    text than it has. ``connection.vendor`` is documented only for authors of backends.
    """
    return connections[alias].vendor != "mysql" and not getattr(field, "db_collation", None)


def _is_saved_by_django(model: type[Model]) -> bool:
    rows: Any = type(model._base_manager.all())
    is_plain = rows._insert is QuerySet._insert and rows._update is QuerySet._update  # type: ignore[attr-defined]
    return is_plain and model._meta.managed


_STRICT_MODES: Final = {"STRICT_ALL_TABLES", "STRICT_TRANS_TABLES", "TRADITIONAL"}
"""Source: https://dev.mysql.com/doc/refman/8.4/en/sql-mode.html#sql-mode-strict"""


def take_write_lock(connection: BaseDatabaseWrapper, model: type[Model]) -> None:
    """On SQLite, let the open transaction wait for its turn to write, before it reads.

    A transaction that has read cannot wait: if another one has begun to write, its own first write
    fails at once with "database is locked". Does nothing outside of ``atomic()``, and on other
    databases. The statement goes to the driver's connection, which Django documents, so that it is
    not among the counted queries.

    Source: https://www.sqlite.org/lang_transaction.html#deferred_immediate_and_exclusive_transactions
    """
    # A table that Django did not make may be a view.
    is_table = connection.vendor == "sqlite" and model._meta.managed
    if is_table and connection.in_atomic_block:
        try:
            connection.connection.execute(_lock_of(model._meta.db_table))
        except Exception:  # not in a `with`, which would cost more than the statement
            with connection.wrap_database_errors:
                raise


@cache
def _lock_of(table: str) -> str:
    quoted = table.replace('"', '""')
    return f'DELETE FROM "{quoted}" WHERE 0'  # noqa: S608


def with_keys(queryset: QuerySet[Any], pks: Sequence[Any], *, using: str) -> QuerySet[Any]:
    """The queryset for rows with these primary keys, of which there may be any number.

    SQLite and PostgreSQL limit the parameters of a statement. They get the keys as a JSON array
    within the statement, or as one SQL array for each field of the key.
    ``connection.ops.quote_name()`` is documented only for authors of backends.
    """
    connection: Any = connections[using]
    unnest = {"sqlite": _from_json, "postgresql": _from_arrays}.get(connection.vendor)
    if unnest is None or (connection.vendor == "postgresql" and len(pks) <= _FEW_KEYS):
        return queryset.filter(pk__in=pks)
    key: Any = key_field(queryset.model)
    fields = tuple(getattr(key, "fields", (key,)))
    rows = pks if len(fields) > 1 else [(pk,) for pk in pks]
    prepared = [
        tuple(f.get_db_prep_value(part, connection) for f, part in zip(fields, row, strict=True))
        for row in rows
    ]
    quote = connection.ops.quote_name
    columns = ", ".join(f"{quote(f.model._meta.db_table)}.{quote(f.column)}" for f in fields)
    if connection.vendor == "sqlite" and not _is_json(prepared):
        return queryset.filter(pk__in=pks)
    subquery, params = unnest(fields, prepared, connection)
    return queryset.extra(where=[f"({columns}) IN ({subquery})"], params=params)  # noqa: S610


def _is_json(rows: Sequence[tuple[Any, ...]]) -> bool:
    return all(isinstance(part, int | float | str) for row in rows for part in row)


def _from_json(
    fields: Sequence[Any], rows: Sequence[tuple[Any, ...]], connection: Any
) -> tuple[str, list[Any]]:
    parts = ", ".join(f"json_extract(value, '$[{i}]')" for i in range(len(fields)))
    # No parameter, because bulk_update() already takes as many as there may be. In a text of
    # SQLite, nothing but the quote is special. Django takes "%" for a parameter.
    array = json.dumps(rows).replace("'", "''").replace("%", "%%")
    return f"SELECT {parts} FROM json_each('{array}')", []  # noqa: S608


def _from_arrays(
    fields: Sequence[Any], rows: Sequence[tuple[Any, ...]], connection: Any
) -> tuple[str, list[Any]]:
    types = [
        field.db_type(connection) if field.remote_field else field.rel_db_type(connection)
        for field in fields
    ]
    arrays = ", ".join(f"%s::{kind}[]" for kind in types)
    columns = [[row[i] for row in rows] for i in range(len(fields))]
    return f"SELECT * FROM unnest({arrays})", columns  # noqa: S608


_FEW_KEYS: Final = 500
"""So many composite keys fit into one statement. PostgreSQL refuses some thousands of them, because
its stack is too small."""

_MOST_PARAMETERS: Final = 10_000
"""Most keys in one statement. PostgreSQL takes 65,535 parameters."""


def keys_per_statement(model: type[Model], pks: Sequence[Any], *, using: str) -> int:
    """How many of these primary keys one statement takes.

    ``connection.ops.bulk_batch_size()``, as ``in_bulk()`` and ``bulk_create()`` use it.
    """
    most = connections[using].ops.bulk_batch_size([key_field(model)], list(pks))
    is_composite = len(model._meta.pk_fields) > 1
    return max(min(most, _FEW_KEYS if is_composite else _MOST_PARAMETERS), 1)
