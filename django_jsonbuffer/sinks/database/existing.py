"""Rows that exist already, for events that give only some fields."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_jsonbuffer.django_internals.models import concrete_fields, is_generated

from .conversions import is_required
from .model_sink import Values
from .unique_keys import key_of

if TYPE_CHECKING:
    from django_jsonbuffer.django_internals.models import AnyField

_KEYS_PER_QUERY: Final = 250


def fill_from_existing_rows(
    events: Sequence[Values],
    key: Sequence["AnyField"],
    model: type[Model],
    connection: BaseDatabaseWrapper,
) -> Sequence[Values]:
    """Add the required fields that an event does not give, from the row that has its key.

    The database refuses a NULL before it looks for a conflict, even if the row exists. The added
    values are never written to a row that exists.
    """
    fields = [field for field in concrete_fields(model) if not is_generated(field)]
    required = {field.attname for field in fields if is_required(field)}
    partial = [values for values in events if not values.keys() >= required]
    attnames = [field.attname for field in key]
    found: dict[tuple[Any, ...], Values] = {}
    for start in range(0, len(partial), _KEYS_PER_QUERY):
        some = partial[start : start + _KEYS_PER_QUERY]
        names = {f"{name}__in": list({values[name] for values in some}) for name in attnames}
        rows = model._base_manager.using(connection.alias).order_by().filter(**names)
        for row in rows.values(*attnames, *required.difference(attnames)):
            found[key_of(row, attnames)] = row
    if not found:
        return events
    return [{**_required_of(found, key_of(each, attnames), required), **each} for each in events]


def _required_of(
    found: Mapping[tuple[Any, ...], Values], key: tuple[Any, ...], required: Collection[str]
) -> Values:
    row = found.get(key, {})
    return {name: value for name, value in row.items() if name in required}
