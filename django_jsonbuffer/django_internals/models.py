"""Models, their querysets and compiled queries."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from django.apps import apps
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, ManyToManyField, Model, QuerySet

if TYPE_CHECKING:
    AnyField = Field[Any, Any]
    AnyManyToManyField = ManyToManyField[Any, Any]

# Models


def models_are_loaded() -> bool:
    """Whether the models of all installed apps are imported.

    ``apps.models_ready``. The documented ``apps.ready`` is set later, after every ``ready()``, and
    a recording may be declared in a ``ready()``.
    """
    return apps.models_ready


def key_field(model: type[Model]) -> "AnyField":
    """The field of the primary key, which may be a composite one.

    ``_meta.pk``. The documented ``instance.pk`` and ``_meta.pk_fields`` do not give the field.
    """
    return model._meta.pk


def concrete_fields(model: type[Model]) -> Sequence["AnyField"]:
    """The fields with a column. The fields of parents come first, in the order of each class.

    ``_meta.concrete_fields``. The documented ``_meta.get_fields()`` promises no order.
    """
    return model._meta.concrete_fields


def many_to_many_fields(model: type[Model]) -> Sequence["AnyManyToManyField"]:
    """The many-to-many fields of the model and of its parents.

    ``_meta.many_to_many``, for the same reason as `concrete_fields`.
    """
    return cast(Sequence["AnyManyToManyField"], model._meta.many_to_many)


def is_generated(field: "AnyField") -> bool:
    """Whether the database computes the field's value.

    ``Field.generated``, which ``GeneratedField`` and fields of other libraries set. Documented is
    only the class ``GeneratedField``.
    """
    return bool(getattr(field, "generated", False))


def have_one_table(model: type[Model], other: type[Model]) -> bool:
    """Whether the classes have the same table: a model and its proxies.

    ``_meta.concrete_model``. Django documents no way from a proxy to its model.
    """
    return model._meta.concrete_model is other._meta.concrete_model


def swapped_for(model: type[Model]) -> str | None:
    """The label of the model that a setting puts in the place of this one.

    ``_meta.swapped``. Django documents only the setting ``AUTH_USER_MODEL``, and other apps have
    settings of the same kind.
    """
    return model._meta.swapped


def names_of_link_fields(field: "AnyManyToManyField") -> tuple[str, str]:
    """The foreign keys of the model in between: to the field's own model, and to its target.

    ``m2m_field_name()`` and ``m2m_reverse_field_name()``. Django documents only ``through_fields``,
    which a field need not have.
    """
    return field.m2m_field_name(), field.m2m_reverse_field_name()


# Compiled queries


class CompiledSelect(NamedTuple):
    """A SELECT that can be run again with other parameters."""

    sql: str
    compiler: Any
    converters: Any

    def rows(self, connection: BaseDatabaseWrapper, params: Sequence[Any]) -> Any:
        """Run it. The values are converted as a queryset converts them.

        ``SQLCompiler.apply_converters()``: the documented cursor returns the database's own values.
        """
        with connection.cursor() as cursor:
            cursor.execute(self.sql, params)
            return self.compiler.apply_converters(cursor.fetchall(), self.converters)


def compiled_select(
    queryset: QuerySet[Any], connection: BaseDatabaseWrapper
) -> tuple[CompiledSelect, Sequence[Any]]:
    """The SELECT of a queryset, and the parameters it was compiled with.

    ``Query.get_compiler()``, and ``as_sql()``, ``select`` and ``get_converters()`` of the compiler.
    Django documents only how to evaluate a queryset, which compiles the query each time.
    """
    compiler: Any = queryset.query.get_compiler(connection=connection)
    sql, params = compiler.as_sql()
    converters = compiler.get_converters([expression for expression, *_ in compiler.select])
    return CompiledSelect(sql, compiler, converters), params


# Querysets of a subclass


def is_sliced_or_combined(queryset: QuerySet[Any]) -> bool:
    """Whether Django refuses to update the queryset: a slice, or a union and the like.

    ``Query.is_sliced`` and ``Query.combinator``. Django documents only the refusal.
    """
    return bool(queryset.query.is_sliced or queryset.query.combinator)


def use_database_for_writing(queryset: Any) -> None:
    """Let the documented ``queryset.db`` be the database that the router chooses for writing.

    ``QuerySet._for_write``, which Django's own methods set before they write.
    """
    queryset._for_write = True


def forget_rows(queryset: QuerySet[Any]) -> None:
    """Let the queryset read its rows again, as Django's own ``update()`` does.

    ``QuerySet._result_cache``. The documented ``all()`` makes another queryset.
    """
    queryset._result_cache = None


# Databases


def limits_parameters(alias: str) -> bool:
    """Whether the database limits the number of parameters of a statement.

    ``connection.features.max_query_params``. Django documents it only for authors of backends.
    """
    return connections[alias].features.max_query_params is not None


def keys_per_statement(model: type[Model], pks: Sequence[Any], *, using: str) -> int:
    """How many of these primary keys one statement takes.

    ``connection.ops.bulk_batch_size()``, as ``in_bulk()`` and ``bulk_create()`` use it.
    """
    return max(connections[using].ops.bulk_batch_size([key_field(model)], list(pks)), 1)
