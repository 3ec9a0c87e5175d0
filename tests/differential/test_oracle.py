import math
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import models

from tests.differential.oracle import canonical, expected, subject


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (None, "null"),
        (True, "true"),
        (1, "1"),
        (1.0, "1.0"),
        (math.nan, "null"),
        (Decimal("-Infinity"), "null"),
        (Decimal("1.50"), '"1.50"'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (timedelta(hours=2), '"P0DT02H00M00S"'),
        (datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), '"2026-01-02T01:00:00Z"'),
        (memoryview(b"x"), '"eA=="'),
        ((1, [True]), "[1, [true]]"),
        ({"a": Decimal("1")}, '{"a": "1"}'),
        (frozenset(), '"frozenset()"'),
    ],
)
def test_json_of_a_value(value: Any, json: str) -> None:
    field = models.TextField()
    field.set_attributes_from_name("text")
    assert canonical(expected(field, value)) == json


def test_subject_of_a_composite_key() -> None:
    assert subject((1, UUID(int=1))) == "1,00000000-0000-0000-0000-000000000001"
    assert subject(1) == "1"
