"""What the fields of an instance hold, as the database would give it back."""

import decimal
import json
import math
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
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
