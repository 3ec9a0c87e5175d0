"""INSERT statements: their SQL, their limits, and the constraints that they may violate later."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BooleanField,
    CharField,
    FloatField,
    IntegerField,
    Model,
    QuerySet,
    TextField,
)
from django.db.models.base import ModelState
from django.db.models.signals import pre_init
from django.db.models.sql import InsertQuery

from .models import (
    concrete_fields,
    has_plain_attribute,
    is_generated,
    is_loaded_plainly,
    own_class_of_django,
)

if TYPE_CHECKING:
    from .models import AnyField


def insert_sql(
    model: type[Model],
    fields: Sequence["AnyField"],
    rows: Sequence[Model],
    connection: BaseDatabaseWrapper,
) -> tuple[str, Sequence[Any]]:
    """One INSERT of these columns of the rows, and its parameters.

    ``InsertQuery`` and the ``as_sql()`` of its compiler, which ``bulk_create()`` uses. They call
    ``pre_save()`` of each field, and leave a ``db_default`` to the database. Django documents no
    way to add an ON CONFLICT clause of one's own.
    """
    query: Any = InsertQuery(model)
    query.insert_values(fields, rows)
    compiler = query.get_compiler(connection=connection)
    _skip_what_changes_nothing(compiler, _stored_unchanged(model))
    ((sql, params),) = compiler.as_sql()
    return sql, params


def _skip_what_changes_nothing(compiler: Any, types: Mapping[str, type]) -> None:
    """Do not prepare values that stay as they are. This halves the time.

    ``pre_save_val()`` and ``prepare_value()`` are what the compiler calls for each value.
    """
    pre_save_val, prepare_value = compiler.pre_save_val, compiler.prepare_value

    def pre_saved(field: Any, row: Model) -> Any:
        value = row.__dict__.get(field.attname)
        return value if type(value) is types.get(field.attname) else pre_save_val(field, row)

    def prepared(field: Any, value: Any) -> Any:
        return value if type(value) is types.get(field.attname) else prepare_value(field, value)

    compiler.pre_save_val, compiler.prepare_value = pre_saved, prepared


@cache
def _stored_unchanged(model: type[Model]) -> Mapping[str, type]:
    """The type of the values that a field stores unchanged, by the attname of the field."""
    found = {}
    for field in concrete_fields(model):
        cls = own_class_of_django(field) or object
        for django_class, its_type in _PLAIN.items():
            if issubclass(cls, django_class) and has_plain_attribute(model, field):
                found[field.attname] = its_type
    return found


_PLAIN: Final = {
    CharField: str,
    TextField: str,
    IntegerField: int,
    FloatField: float,
    BooleanField: bool,
}


def new_rows(model: type[Model], values: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Instances of the model with these values, by attname, and the defaults of other fields.

    Like ``Model(**values)``. If nothing but Django makes the instances, the values go straight to
    their ``__dict__``, as ``Model.__init__`` would put them there. This takes a third of the time.
    """
    if not _is_made_plainly(model) or not values:
        return [model(**each) for each in values]
    missing: dict[frozenset[str], list[Any]] = {}
    rows = []
    for each in values:
        names = frozenset(each)
        if (fields := missing.get(names)) is None:
            fields = [f for f in concrete_fields(model) if f.attname not in names]
            fields = missing[names] = [f for f in fields if not is_generated(f)]
        row = model.__new__(model)
        given = {field.attname: field.get_default() for field in fields}
        row.__dict__ = {"_state": ModelState(), **given, **each}
        rows.append(row)
    return rows


def _is_made_plainly(model: type[Model]) -> bool:
    fields = concrete_fields(model)
    return (
        is_loaded_plainly(model)
        and not pre_init.has_listeners(model)
        and all(has_plain_attribute(model, field) for field in fields if not is_generated(field))
    )


def bulk_creates_by_django(model: type[Model]) -> bool:
    """Whether ``bulk_create()`` of the default manager is Django's own.

    Relies on the ``__wrapped__`` of the methods that a manager takes over from a queryset.
    """
    manager: Any = model._default_manager
    method = getattr(type(manager).bulk_create, "__wrapped__", None)
    return method is type(manager.all()).bulk_create is QuerySet.bulk_create


def most_parameters(connection: BaseDatabaseWrapper) -> int:
    """How many parameters one statement takes.

    SQLite says it itself. PostgreSQL counts them with 16 bits if the server binds them, and the
    drivers of MySQL bind them on the client. ``connection.vendor`` is documented only for authors
    of backends.
    """
    if connection.vendor == "sqlite":
        import sqlite3  # late, because other projects do not need it

        connection.ensure_connection()
        return int(connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER))
    return _MOST_PARAMETERS


_MOST_PARAMETERS: Final = 2**16 - 1


def on_conflict_words(connection: BaseDatabaseWrapper) -> tuple[str, str]:
    """The words that begin the clause, and the name of a column's value that was to be inserted.

    The first has ``{key}`` for the columns of the key, the second ``{column}``. Relies on
    ``mysql_is_mariadb``, because only MySQL names the row, and MariaDB calls a function.

    Source: ``on_conflict_suffix_sql()`` of Django's backends.
    """
    if connection.vendor != "mysql":
        return "ON CONFLICT ({key}) DO UPDATE SET", "EXCLUDED.{column}"
    if connection.mysql_is_mariadb:  # type: ignore[attr-defined]
        return "ON DUPLICATE KEY UPDATE", "VALUE({column})"
    return "AS new ON DUPLICATE KEY UPDATE", "new.{column}"


def has_on_conflict(connection: BaseDatabaseWrapper) -> bool:
    """Whether an INSERT may update the row that it is in conflict with.

    ``connection.vendor``, because the clause is that of these three databases. Oracle has none.
    """
    return connection.vendor in ("sqlite", "postgresql", "mysql")


def check_deferred_constraints(connection: BaseDatabaseWrapper) -> None:
    """On PostgreSQL, check the constraints that are otherwise checked at the commit.

    Raises ``IntegrityError`` if a row of the transaction violates one. ``check_constraints()`` of a
    connection, which is documented only for authors of backends.
    """
    if connection.vendor == "postgresql":
        connection.check_constraints()


def commits_by_itself(alias: str) -> bool:
    """Whether ``atomic()`` ends with a commit, unless it is within another one.

    With ``AUTOCOMMIT`` off, the project commits.
    """
    return bool(transaction.get_connection(alias).settings_dict.get("AUTOCOMMIT", True))


def has_database_default(field: "AnyField") -> bool:
    """Whether the database gives the field a value if the INSERT gives none.

    ``Field.has_db_default()``. Documented is only the option ``db_default``.
    """
    return field.has_db_default()


def has_database_constraint(field: Any) -> bool:
    """Whether the database itself refuses a foreign key whose row does not exist.

    ``ForeignKey.db_constraint``. Documented is only the option.
    """
    return bool(field.db_constraint)


def largest_integer(field: "AnyField", connection: BaseDatabaseWrapper) -> int | None:
    """The largest number that the column of an integer field takes, if it has a limit.

    ``integer_field_range()``, which is documented only for authors of backends.
    """
    return connection.ops.integer_field_range(field.get_internal_type())[1]
