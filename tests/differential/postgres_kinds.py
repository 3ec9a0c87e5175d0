"""Fields that only PostgreSQL has."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

from django.contrib.postgres import fields
from django.db import models
from psycopg.types.range import Range

from tests.differential.custom_fields import MoneyField
from tests.differential.kinds import Form, Kind, always, either

_MOMENT: Final = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
_INTEGERS: Final[dict[str, Form]] = {
    "list": lambda r: [r.randint(0, 9), 2],
    "tuple": always((3, 4)),
    "texts": always(["5", "6"]),
    "text": always("{7,8}"),
    "empty": either([], ()),
    "null inside": always([1, None]),
    "fractions": always([1.0, 2.7]),
    "text of another kind": always("[1]"),
}
_NESTED: Final[dict[str, Form]] = {
    "list": always([[1, 2], [3, 4]]),
    "tuple": always(((1, 2),)),
    "text": always("{{7,8}}"),
}
_DECIMALS: Final[dict[str, Form]] = {
    "list": always([Decimal("1.50")]),
    "more digits": always([Decimal("1.5"), Decimal("2.555")]),
    "texts": always(["3", "4.5"]),
    "ints": always((1, 2)),
    "NaN": always([Decimal("NaN")]),
}
_DATES: Final[dict[str, Form]] = {
    "list": always([date(2026, 1, 2)]),
    "texts": always(["2026-01-02"]),
    "datetimes": always([datetime(2026, 1, 2, 3)]),
}
_MOMENTS: Final[dict[str, Form]] = {
    "list": always([_MOMENT]),
    "naive": always([datetime(2026, 1, 2)]),
    "texts": always(["2026-01-02T03:04:05+02:00"]),
}
_RANGES: Final[dict[str, Form]] = {
    "list": always([Range(1, 5)]),
    "tuples": always([(1, 5)]),
    "closed": always([Range(1, 5, "[]")]),
}
_TEXTS: Final[dict[str, Form]] = {
    "list": always(["a", "B c", ""]),
    "text": always('{a,"b,c"}'),
    "numbers": always([1, 2.5]),
}
_MAPS: Final[dict[str, Form]] = {
    "dict": lambda r: {"a": str(r.randint(0, 9)), "b": None},
    "numbers": always({"a": 1, "b": 1.5}),
    "other keys": always({1: "a"}),
    "text": always("a=>1"),
}
_MONEY: Final[dict[str, Form]] = {"ints": always([1, 2]), "texts": always(["3"])}


def _ranges(one: Any, two: Any, text: str, other: Any) -> Mapping[str, Form]:
    """The forms of a range: from one bound to the other."""
    return {
        "Range": always(Range(one, two)),
        "tuple": either((one, two), (one, None), (None, two)),
        "list": always([one, two]),
        "text": always(text),
        "closed": either(Range(one, two, "[]"), Range(one, two, "(]"), Range(one, two, "()")),
        "unbounded": either(Range(), Range(None, two, "[]"), Range(one, None)),
        "empty": either(Range(empty=True), Range(one, one), "empty"),
        "other bounds": always(other),
        "wrong order": always((two, one)),
    }


def _array(base: Any, **options: Any) -> Any:
    return lambda **more: fields.ArrayField(base(), **{**options, **more})


def _kind(name: str, make: Any, forms: Mapping[str, Form]) -> Kind:
    return Kind(name=name, make=make, forms=forms)


_decimal = partial(models.DecimalField, max_digits=8, decimal_places=2)

POSTGRESQL_KINDS: Final = [
    _kind("ArrayField(int)", _array(models.IntegerField), _INTEGERS),
    _kind("ArrayField(size=2)", _array(models.IntegerField, size=2), _INTEGERS),
    _kind("ArrayField(ArrayField)", _array(_array(models.IntegerField)), _NESTED),
    _kind("ArrayField(Decimal)", _array(_decimal), _DECIMALS),
    _kind("ArrayField(date)", _array(models.DateField), _DATES),
    _kind("ArrayField(datetime)", _array(models.DateTimeField), _MOMENTS),
    _kind("ArrayField(range)", _array(fields.IntegerRangeField), _RANGES),
    _kind("ArrayField(text)", _array(models.TextField), _TEXTS),
    _kind("ArrayField(Money)", _array(MoneyField), _MONEY),
    _kind("HStoreField", fields.HStoreField, _MAPS),
    _kind("IntegerRangeField", fields.IntegerRangeField, _ranges(1, 10, "[1,10]", ("2", "5"))),
    _kind("BigIntegerRangeField", fields.BigIntegerRangeField, _ranges(1, 9, "(1,9)", (1.0, 5.0))),
    _kind(
        "DecimalRangeField",
        fields.DecimalRangeField,
        _ranges(Decimal("1.50"), Decimal(3), "[1,2.50]", (1, "2.5")),
    ),
    _kind(
        "DateRangeField",
        fields.DateRangeField,
        _ranges(
            date(2026, 1, 2), date(2026, 2, 3), "[2026-01-01,2026-01-05]", ("2026-01-01", None)
        ),
    ),
    _kind(
        "DateTimeRangeField",
        fields.DateTimeRangeField,
        _ranges(
            *(_MOMENT, _MOMENT + timedelta(1), "[2026-01-01,2026-01-05]"),
            (datetime(2026, 1, 2), "2026-02-03T00:00:00+05:00"),
        ),
    ),
]
