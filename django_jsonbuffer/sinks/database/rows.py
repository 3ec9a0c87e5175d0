"""Writes rows in a savepoint, and tells the errors of a row from those of the database."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import DatabaseError, DataError, IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import ForeignKey, Model

from django_jsonbuffer.django_internals.inserts import (
    check_deferred_constraints,
    has_database_constraint,
)
from django_jsonbuffer.django_internals.models import concrete_fields

ROW_ERRORS: Final = (
    *(IntegrityError, DataError, ValidationError),
    *(ValueError, TypeError, ArithmeticError),
)
"""Errors that say something about a row. Python raises the last ones while it prepares a value."""


@contextmanager
def savepoint(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Write all rows of the block, or none. All constraints are checked at the end of the block.

    Raises one of `ROW_ERRORS` if a row is bad. Any other error says nothing about a row.
    """
    try:
        with transaction.atomic(using=connection.alias):
            yield
            check_deferred_constraints(connection)
    except DatabaseError as error:
        if not isinstance(error, ROW_ERRORS) and _is_about_a_row(error, connection.vendor):
            raise DataError(*error.args) from error
        raise


def check_references(rows: Sequence[Model], connection: BaseDatabaseWrapper) -> None:
    """On SQLite, raise ``IntegrityError`` if the row of a foreign key does not exist.

    SQLite checks foreign keys at the commit, and cannot check those of some rows alone. The caller
    has the write lock, so no other connection can delete the referenced rows meanwhile.
    """
    if connection.vendor != "sqlite" or not rows:
        return
    for field in concrete_fields(type(rows[0])):
        if isinstance(field, ForeignKey) and has_database_constraint(field):
            _check_reference(field, rows, connection.alias)


def _check_reference(field: Any, rows: Sequence[Model], alias: str) -> None:
    target = field.target_field
    given = dict.fromkeys(getattr(row, field.attname) for row in rows)
    keys = [target.to_python(key) for key in given if key is not None]
    found: set[Any] = set()
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        some = keys[start : start + _KEYS_PER_QUERY]
        referenced = target.model._base_manager.using(alias).order_by()
        names = {f"{target.attname}__in": some}
        found.update(referenced.filter(**names).values_list(target.attname, flat=True))
    if missing := [key for key in keys if key not in found]:
        raise IntegrityError(
            f"Field {field.name!r}: there is no {target.model._meta.label} with "
            f"{target.name} {missing[0]!r:.100}."
        )


_KEYS_PER_QUERY: Final = 500


def is_deadlock(error: DatabaseError) -> bool:
    """Whether the database chose this transaction to end a deadlock, and rolled it back."""
    code = getattr(error.__cause__, "sqlstate", None) or (error.args[0] if error.args else None)
    return code in _DEADLOCK_CODES


_DEADLOCK_CODES: Final = ("40P01", "40001", 1213)
"""Those of PostgreSQL, and ER_LOCK_DEADLOCK of MySQL."""


def _is_about_a_row(error: DatabaseError, vendor: str) -> bool:
    if vendor == "sqlite":
        return str(error) == "integer overflow"
    if vendor == "mysql":
        return bool(error.args) and error.args[0] in _MYSQL_CODES
    code = str(getattr(error.__cause__, "sqlstate", None) or "")
    return code.startswith(_POSTGRESQL_CODES)


_POSTGRESQL_CODES: Final = ("21000", "54", "P0001")
"""Two values are one key to PostgreSQL; a value is too large for an index; a trigger refuses it.

Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

_MYSQL_CODES: Final[Mapping[int, str]] = {
    1292: "ER_TRUNCATED_WRONG_VALUE",
    1366: "ER_TRUNCATED_WRONG_VALUE_FOR_FIELD",
    1644: "ER_SIGNAL_EXCEPTION",  # a trigger refuses the row
    3140: "ER_INVALID_JSON_TEXT",
}
"""Source: https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html"""
