"""INSERT statements that change the rows they are in conflict with."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import AutoField, Model

from django_jsonbuffer.django_internals.inserts import (
    insert_sql,
    most_parameters,
    on_conflict_words,
)
from django_jsonbuffer.django_internals.models import concrete_fields, is_generated

if TYPE_CHECKING:
    from django_jsonbuffer.django_internals.models import AnyField

Combine = Callable[[str, str], str]
"""Makes SQL from that of a column's old value and that of the value given for it."""


class Term(NamedTuple):
    """SQL about one column: its new value, or a condition."""

    field: "AnyField"
    combine: Combine


def write_rows(
    rows: Sequence[Model],
    connection: BaseDatabaseWrapper,
    *,
    key: Sequence["AnyField"],
    changes: Sequence[Term],
    only_if: Term | None = None,
) -> None:
    """Insert the rows, and change those whose key exists. All are locked in the order given.

    One statement, or several where the database limits the parameters. With `only_if`, rows for
    which this is false stay as they are. Without `changes`, this is so for all rows that exist.
    """
    if rows:
        insert_rows(rows, connection, _suffix(connection, type(rows[0]), key, changes, only_if))


def insert_rows(rows: Sequence[Model], connection: BaseDatabaseWrapper, suffix: str = "") -> None:
    """Insert the rows in the order given. `suffix` is the SQL for rows in conflict."""
    for some in _by_presence_of_key(rows):
        model, fields = type(some[0]), _columns(some[0])
        size = max(most_parameters(connection) // len(fields), 1)
        for start in range(0, len(some), size):
            sql, params = insert_sql(model, fields, some[start : start + size], connection)
            with connection.cursor() as cursor:
                cursor.execute(f"{sql} {suffix}", params)


def _by_presence_of_key(rows: Sequence[Model]) -> Iterable[Sequence[Model]]:
    """The rows that have a primary key, and those to which the database gives one."""
    with_key = [row for row in rows if row.pk is not None]
    without = [row for row in rows if row.pk is None] if len(with_key) < len(rows) else []
    return filter(None, (with_key, without))


def _columns(row: Model) -> list["AnyField"]:
    return [
        field
        for field in concrete_fields(type(row))
        if not is_generated(field) and not (isinstance(field, AutoField) and row.pk is None)
    ]


def _suffix(
    connection: BaseDatabaseWrapper,
    model: type[Model],
    key: Sequence["AnyField"],
    changes: Sequence[Term],
    only_if: Term | None,
) -> str:
    quote = connection.ops.quote_name
    begin, given = on_conflict_words(connection)
    table = quote(model._meta.db_table)
    has_where = connection.vendor != "mysql"

    def sql(term: Term) -> str:
        column = quote(str(term.field.column))
        return term.combine(f"{table}.{column}", given.format(column=column))

    def assignment(term: Term) -> str:
        column, value = quote(str(term.field.column)), sql(term)
        if only_if and not has_where:
            value = f"IF({sql(only_if)}, {value}, {table}.{column})"
        return f"{column} = {value}"

    assignments = ", ".join(map(assignment, changes or [Term(key[0], lambda old, new: old)]))
    columns = ", ".join(quote(str(field.column)) for field in key)
    suffix = f"{begin.format(key=columns)} {assignments}"
    if not has_where:
        return suffix
    if not changes:
        return f"{suffix} WHERE 1 = 0"  # the row is locked all the same
    return f"{suffix} WHERE {sql(only_if)}" if only_if else suffix
