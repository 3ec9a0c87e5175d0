"""The form in an event of a value that was read from the database."""

import base64
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.db.models import Field
from django.db.models.fields.files import FieldFile

if TYPE_CHECKING:
    AnyField = Field[Any, Any]

Values = dict[str, Any]
"""The values of a row's fields, by attname."""

_AS_THEY_ARE: Final = (str, int, bool, UUID, date, time, timedelta, type(None))
"""Types that every encoder of this app can write."""

_EXACTLY: Final = frozenset(_AS_THEY_ARE)


def is_expression(value: object) -> bool:
    """Whether the value is an expression that the database computes, as ``F("pages") + 1``."""
    return hasattr(value, "resolve_expression")


def plain(field: "AnyField", value: Any) -> Any:
    """The value in a form that every encoder can write.

    NaN and infinities are None, bytes are base64, and times are in UTC. A range is an object with
    its bounds. Any type that is not listed here becomes the text that Django's serializers write.
    """
    if type(value) in _EXACTLY:  # nearly all values, and faster than isinstance()
        return value
    if isinstance(value, datetime):
        return value if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, _AS_THEY_ARE):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, list | tuple):
        element = getattr(field, "base_field", field)
        return [plain(element, each) for each in value]
    if isinstance(value, Mapping):
        return {key: plain(field, each) for key, each in value.items()}
    if isinstance(value, FieldFile):
        return value.name
    if hasattr(value, "isempty") and hasattr(value, "upper_inc"):
        return _range(field, value)
    return _as_serialized(field, value)


def _range(field: "AnyField", value: Any) -> Values:
    """A range of PostgreSQL, in the keys that Django's serializers use."""
    if value.isempty:
        return {"empty": True}
    element = getattr(field, "base_field", field)
    return {
        "lower": plain(element, value.lower),
        "upper": plain(element, value.upper),
        "bounds": ("[" if value.lower_inc else "(") + ("]" if value.upper_inc else ")"),
    }


def _as_serialized(field: "AnyField", value: Any) -> str:
    holder: Any = SimpleNamespace(**{field.attname: value})
    return field.value_to_string(holder)
