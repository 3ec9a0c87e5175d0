"""The JSON of a value that was read from the database. It shares no code with the recording."""

import base64
import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from django.utils.duration import duration_iso_string

Json = str
"""Canonical JSON text. It tells true, 1 and 1.0 apart."""


def canonical(value: Any) -> Json:
    return json.dumps(value, sort_keys=True, ensure_ascii=True)


def expected(field: Any, value: Any) -> Any:
    """The JSON value that an event must have for a value that ``values_list()`` returned."""
    if isinstance(value, datetime):
        return _datetime(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return duration_iso_string(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, list | tuple):
        return [expected(getattr(field, "base_field", field), item) for item in value]
    if isinstance(value, dict):
        return {str(key): expected(field, item) for key, item in value.items()}
    if hasattr(value, "isempty"):
        return _range(field, value)
    return _scalar(field, value)


def _scalar(field: Any, value: Any) -> Any:
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        return None
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, str):
        return str.__str__(value)
    if value is None or isinstance(value, int | float):
        return value
    holder = SimpleNamespace(**{field.attname: value})
    return str(field.value_to_string(holder))


def _datetime(value: datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat()
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _range(field: Any, value: Any) -> dict[str, Any]:
    if value.isempty:
        return {"empty": True}
    element = getattr(field, "base_field", field)
    return {
        "lower": expected(element, value.lower),
        "upper": expected(element, value.upper),
        "bounds": value.bounds,
    }


def subject(key: Any) -> str:
    """The subject of an event about the row with this key."""
    return ",".join(map(str, key)) if isinstance(key, tuple) else str(key)
