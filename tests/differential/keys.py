"""Primary keys, and the forms of their values."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db import models
from django.utils.functional import lazystr

from tests.differential.column_fields import CaselessField, CodeField
from tests.differential.custom_fields import Code

Values = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Key:
    """A primary key. A model has the fields, and ``pk`` when its key is composite."""

    name: str
    make: Callable[[Any], Mapping[str, Any]]
    """The fields of the key, for models of that world."""

    value: Callable[[Any, int], Values]
    """The key of the row with that number, by attribute."""

    forms: Mapping[str, Callable[[Any], Any]]
    """Make another form of one part of the key."""

    is_automatic: bool = False
    """Whether the database chooses the key, if none is given."""


def _simple(name: str, make: Any, value: Any, *, automatic: bool = False, **forms: Any) -> Key:
    return Key(
        name=name,
        make=lambda world: {"id": make()},
        value=lambda world, number: {"id": value(number)},
        forms={"as read": lambda key: key, **forms},
        is_automatic=automatic,
    )


def _composite(world: Any) -> dict[str, Any]:
    return {
        "pk": models.CompositePrimaryKey("shelf_id", "number"),
        "shelf": models.ForeignKey(world.models["Shelf"], models.CASCADE, related_name="+"),
        "number": models.IntegerField(),
    }


def _dated(world: Any) -> dict[str, Any]:
    return {
        "pk": models.CompositePrimaryKey("day", "price"),
        "day": models.DateField(),
        "price": models.DecimalField(max_digits=8, decimal_places=2),
    }


def _to(target: str) -> Callable[[Any], dict[str, Any]]:
    return lambda world: {
        "owner": models.OneToOneField(
            world.models[target], models.CASCADE, primary_key=True, related_name="+"
        )
    }


def _text(key: Any) -> Any:
    return str(key)


KEYS: Final = [
    _simple(
        "auto",
        lambda: models.BigAutoField(primary_key=True),
        lambda n: 5000 + n,
        automatic=True,
        text=_text,
    ),
    _simple(
        "int",
        lambda: models.IntegerField(primary_key=True),
        lambda n: 1000 + n,
        text=_text,
        float=float,
        Decimal=Decimal,
    ),
    _simple(
        "text",
        lambda: models.CharField(max_length=50, primary_key=True),
        lambda n: f"key é {n}",
        lazy=lazystr,
        other_case=str.upper,
        spaces=lambda key: f"{key} ",
    ),
    _simple(
        "caseless text",
        lambda: CaselessField(max_length=50, primary_key=True),
        lambda n: f"Key {n}",
        other_case=str.upper,
    ),
    _simple(
        "text of a number",
        lambda: models.CharField(max_length=50, primary_key=True),
        lambda n: f"{n}",
        int=int,
    ),
    _simple(
        "UUID",
        lambda: models.UUIDField(primary_key=True),
        lambda n: uuid.UUID(int=0xABC0 + n),
        text=_text,
        hex=lambda key: key.hex,
        upper=lambda key: str(key).upper(),
    ),
    _simple(
        "Decimal",
        lambda: models.DecimalField(max_digits=8, decimal_places=2, primary_key=True),
        lambda n: Decimal(n).quantize(Decimal("0.01")),
        text=lambda key: str(int(key)),
        int=int,
        more_digits=lambda key: key + Decimal("0.0000"),
    ),
    _simple(
        "date",
        lambda: models.DateField(primary_key=True),
        lambda n: date(2026, 2, n),
        text=_text,
        datetime=lambda key: datetime.combine(key, time(12)),
    ),
    _simple(
        "datetime",
        lambda: models.DateTimeField(primary_key=True),
        lambda n: datetime(2026, 2, n, 12, tzinfo=UTC),
        text=_text,
        new_york=lambda key: key.astimezone(ZoneInfo("America/New_York")),
        naive=lambda key: key.astimezone(ZoneInfo("America/New_York")).replace(tzinfo=None),
    ),
    _simple(
        "Code",
        lambda: CodeField(max_length=20, primary_key=True),
        lambda n: Code(f"key{n}"),
        text=_text,
        upper=lambda key: key.text.upper(),
    ),
    Key(
        name="composite",
        make=_composite,
        value=lambda world, number: {"shelf_id": 1001, "number": number},
        forms={"as read": lambda key: key, "text": _text},
    ),
    Key(
        name="composite of a date",
        make=_dated,
        value=lambda world, number: {"day": date(2026, 2, number), "price": Decimal("1.50")},
        forms={"as read": lambda key: key, "text": _text},
    ),
    *(
        Key(
            name=f"OneToOneField({target})",
            make=_to(target),
            value=lambda world, number, target=target: {  # type: ignore[misc]
                "owner_id": world.key_of(target, number)
            },
            forms={"as read": lambda key: key, "text": _text},
        )
        for target in ("Shelf", "Token", "Special")
    ),
]
