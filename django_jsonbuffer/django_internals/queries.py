"""Querysets and compiled queries."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet


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


def counts_distinct_fields(queryset: QuerySet[Any]) -> bool:
    """Whether the rows of an ``update()`` depend on ``distinct(*fields)``.

    Django heeds the fields only if the update needs a subquery, because it joins tables, and then
    it drops the order. ``Query.distinct_fields`` and ``Query.count_active_tables()``: Django does
    not document that ``update()`` heeds or ignores them.
    """
    query: Any = queryset.query.chain()
    query.get_initial_alias()
    joins = query.count_active_tables() > 1 or query.get_meta().parents
    return bool(query.distinct_fields and (joins or any("__" in f for f in query.distinct_fields)))


def without_distinct_and_lock(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """The same rows, whatever ``distinct()`` and ``select_for_update()`` the queryset had.

    ``Query.clear_ordering`` and the like are what Django's own ``update()`` uses. The documented
    API can set both, and cannot take them back.
    """
    plain = queryset.order_by()
    plain.query.distinct = False
    plain.query.distinct_fields = ()
    plain.query.select_for_update = False
    return plain
