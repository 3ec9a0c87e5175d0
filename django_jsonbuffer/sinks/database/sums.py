"""Sums of amounts: exact in Python, and refused if they do not fit."""

import math
from collections.abc import Callable, Iterator, Sequence
from decimal import localcontext
from typing import TYPE_CHECKING, Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DecimalField, FloatField

from .conversions import EventDoesNotFit, rounded
from .model_sink import Values
from .unique_keys import key_of

if TYPE_CHECKING:
    from django_jsonbuffer.django_internals.models import AnyField


def check_amount(field: "AnyField", amount: Any) -> None:
    """Raise :class:`EventDoesNotFit` if the column cannot have this amount."""
    if isinstance(field, FloatField) and not math.isfinite(amount):
        raise EventDoesNotFit(f"Field {field.name!r}: {amount} is not a finite number.")
    if isinstance(field, DecimalField):
        try:
            rounded(field, amount)
        except ValueError as error:
            raise EventDoesNotFit(f"Field {field.name!r}: {error}") from error


def amounts_per_key(
    events: Sequence[Values], key: Sequence["AnyField"], amounts: Sequence["AnyField"]
) -> Iterator[dict[str, Any]]:
    """The events of each key as one. Raises :class:`EventDoesNotFit` if a sum does not fit."""
    attnames = [field.attname for field in key]
    added = [field.attname for field in amounts]
    sums: dict[tuple[Any, ...], dict[str, Any]] = {}
    with localcontext(prec=_MOST_DIGITS):
        for values in events:
            if (row := sums.get(found := key_of(values, attnames))) is None:
                sums[found] = {**values}
            else:
                for name in added:
                    row[name] += values[name]
    for row in sums.values():
        for field in amounts:
            check_amount(field, row[field.attname])
        yield row


_MOST_DIGITS: Final = 1100
"""A little more than a decimal column may have."""


def sum_on(connection: BaseDatabaseWrapper, field: "AnyField") -> Callable[[str, str], str]:
    """Makes the SQL of the sum, which fails if the sum does not fit into the column.

    SQLite itself would store what does not fit, and it makes a float of an integer that is too
    large. There, ``abs()`` of the least integer raises "integer overflow" instead.
    """

    def combine(old: str, new: str) -> str:
        total = f"COALESCE({old}, 0) + {new}" if field.null else f"{old} + {new}"
        if connection.vendor != "sqlite":
            return total
        fits = f"typeof({total}) = 'integer'"
        if isinstance(field, FloatField) or getattr(field, "max_digits", 0) is None:
            fits = f"abs({total}) < 9e999"  # which is infinity
        elif isinstance(field, DecimalField):  # it is a float there
            total = f"ROUND({total}, {field.decimal_places})"
            fits = f"abs({total}) < 1e{field.max_digits - field.decimal_places}"
        failure = f"abs(-9223372036854775807 - 1 + CAST(0 * {new} AS INTEGER))"
        return f"CASE WHEN {fits} THEN {total} ELSE {failure} END"

    return combine
