from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.files.base import ContentFile
from django.db.models import FileField
from pytest_django import Settings

from django_jsonbuffer.sinks.database.conversions import (
    EventDoesNotFit,
    conversion,
    final_field,
    is_required,
)
from tests.sinks.models import Computed, Count, PageView, Product, Stock, Strict


def converted(name: str, value: Any, model: Any = PageView) -> Any:
    return conversion(model._meta.get_field(name))(value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("path", "ü", "ü"),
        ("path", 5, "5"),
        ("number", "12", 12),
        ("number", 12.0, 12),
        ("number", 2**63, 2**63),
        ("product", "7", 7),
        ("is_robot", "True", True),
        ("price", 0.1, Decimal("0.1")),
        ("price", "1.005", Decimal("1.01")),
        ("price", "-1.005", Decimal("-1.01")),
        ("price", "999999.994", Decimal("999999.99")),
        ("price", None, None),
        ("length", "00:01:00", timedelta(minutes=1)),
        ("rest", [1, {"a": None}], [1, {"a": None}]),
        ("at", "2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("at", None, None),
        ("id", None, None),
    ],
)
def test_value_becomes_that_of_the_field(name: str, value: Any, expected: Any) -> None:
    assert converted(name, value) == expected


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("path", {"a": 1}, "must be text"),
        ("path", None, "must not be null"),
        ("number", 1.5, "1.5 is not a whole number"),
        ("number", "", "must be an integer"),
        ("number", [], "must be an integer"),
        ("product", "x", "must be an integer"),
        ("id", "no", "not a valid UUID"),
        ("at", "soon", "invalid format"),
        ("at", "2026-02-30T00:00:00", "invalid"),
        ("day", 5, "argument must be"),
        ("price", "x", "decimal number"),
        ("price", 10**30, "too many digits"),
        ("price", "999999.995", "too many digits"),
        ("content", "a", "base64|binary"),
        ("is_robot", "maybe", "True or False"),
    ],
)
def test_error_names_field_and_reason(name: str, value: Any, reason: str) -> None:
    with pytest.raises(EventDoesNotFit, match=f"Field '{name}'.*{reason}"):
        converted(name, value)


def test_error_of_a_long_value_is_short() -> None:
    with pytest.raises(EventDoesNotFit) as raised:
        converted("number", "x" * 100_000)
    assert len(str(raised.value)) < 300


def test_file_is_given_by_its_name() -> None:
    convert = conversion(FileField(name="cover"))
    file = ContentFile(b"a", name="a.png")
    assert (convert("a.png"), convert(file)) == ("a.png", file)
    with pytest.raises(EventDoesNotFit, match="Field 'cover': must be the name of a file"):
        convert(5)


def test_time_without_a_zone_is_in_the_zone_of_the_settings(settings: Settings) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    expected = datetime(2026, 1, 2, 3, tzinfo=ZoneInfo("Europe/Berlin"))
    assert converted("at", "2026-01-02T03:00") == expected
    assert converted("at", "2026-01-02") == expected.replace(hour=0)
    settings.USE_TZ = False
    assert converted("at", "2026-01-02T03:00") == datetime(2026, 1, 2, 3)
    assert converted("at", "2026-01-02T02:00Z") == datetime(2026, 1, 2, 3)


def test_field_behind_a_foreign_key() -> None:
    key: Any = PageView._meta.get_field("product")
    assert final_field(key) is Product._meta.pk


def test_fields_that_need_a_value() -> None:
    needed = {
        f"{model.__name__}.{field.name}"
        for model in (Computed, Count, PageView, Stock, Strict)
        for field in model._meta.concrete_fields
        if is_required(field)
    }
    assert needed == {
        *("Count.product", "Count.day", "Stock.product", "Stock.rest", "Strict.needed"),
    }
