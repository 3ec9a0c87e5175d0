"""What an event must say, from the row alone.

It shares no code with the recording. The values are read with a plain queryset.
"""

import base64
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import Model, QuerySet

Row = dict[str, Any]
"""The values of a row as JSON values, by attname."""


@contextmanager
def unlogged(using: str) -> Iterator[None]:
    """Hide the queries of this block from ``assertNumQueries``."""
    connection = connections[using]
    was_logging = connection.force_debug_cursor
    connection.force_debug_cursor = False
    try:
        yield
    finally:
        connection.force_debug_cursor = was_logging


def read(model: type[Model], pk: Any, *, using: str) -> Row | None:
    """The row as an event must have it, or None if there is no such row."""
    fields = [field for field in model._meta.concrete_fields if field.name != "password"]
    rows: QuerySet[Any] = QuerySet(model, using=using).filter(pk=pk)
    with unlogged(using):
        found = [*rows.values_list(*(field.attname for field in fields))]
    if pk is None or not found:
        return None
    return {
        field.attname: as_json(field, value) for field, value in zip(fields, found[0], strict=True)
    }


def as_json(field: Any, value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return _instant(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, str | list | dict):  # a text of a subclass becomes a plain one
        return json.loads(json.dumps(value))
    holder: Any = SimpleNamespace(**{field.attname: value})
    return field.value_to_string(holder)


def _instant(value: datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat()
    return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"
