"""The value of an instance's field, as the database would return it."""

import decimal
import json
import math
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import DecimalField, Field, JSONField, Model

from django_jsonbuffer.django_internals.models import is_generated

if TYPE_CHECKING:
    AnyField = Field[Any, Any]

Values = dict[str, Any]
"""The values of an instance's fields, by attname."""

_JSON_TYPES: Final = (str, int, float, Decimal, date, time, timedelta, UUID, list, dict)
"""Types that every encoder of this app can write."""


def is_expression(value: object) -> bool:
    """Whether the value is an expression that the database computes, as ``F("pages") + 1``."""
    return hasattr(value, "resolve_expression")


def holds_value(instance: Model, field: "AnyField") -> bool:
    """Whether the instance holds the field's value after a save.

    It does not hold the value of a field that is deferred or that the database computes.
    """
    if is_generated(field) or field.attname not in instance.__dict__:
        return False
    return not is_expression(instance.__dict__[field.attname])


def held_values(instance: Model, fields: Iterable["AnyField"]) -> Values:
    """All values of these fields that the instance holds, as they were when it was read."""
    found = instance.__dict__
    return {
        field.attname: plain(field, found[field.attname])
        for field in fields
        if field.attname in found and not is_expression(found[field.attname])
    }


def plain(field: "AnyField", value: Any) -> Any:
    """A value that every encoder can write, as the database would return it.

    Until an instance is read again, it holds the value that it was given, such as "3" for the
    number 3. A value of a type that JSON does not have becomes the text that Django's serializers
    write.
    """
    if value is None:
        return None
    with suppress(ValidationError):  # the database has accepted the value nevertheless
        value = field.to_python(value)
    if isinstance(field, JSONField) and isinstance(value, list | tuple | dict):
        return json.loads(json.dumps(value, cls=field.encoder))
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(field, DecimalField) and isinstance(value, Decimal) and value.is_finite():
        with suppress(decimal.InvalidOperation):
            return value.quantize(Decimal(1).scaleb(-field.decimal_places))
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)  # the text that PostgreSQL's to_json() writes, such as "NaN"
    if isinstance(value, _JSON_TYPES):
        return value
    holder: Any = SimpleNamespace(**{field.attname: value})
    return field.value_to_string(holder)
