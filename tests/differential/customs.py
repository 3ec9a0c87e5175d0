"""The forms of the values of custom fields."""

from functools import partial
from typing import Final

from django.db import models
from django.db.models import F, Value
from django.utils.functional import lazystr

from tests.differential import column_fields, custom_fields
from tests.differential.custom_fields import Code, Color, Money, Point
from tests.differential.forms import FLOATS, INTEGERS, MOMENTS, TEXTS
from tests.differential.kinds import Form, Kind, always, either
from tests.differential.scalars import kind

_WORDS: Final[dict[str, Form]] = {
    "list": either(["a"], ["a", "b"]),
    "tuple": always(("a", "c")),
    "text": always("a b"),
    "Value": always(Value("v w")),
}
_POINTS: Final[dict[str, Form]] = {
    "Point": lambda r: Point(r.randint(0, 9), 2),
    "tuple": always((1, 2)),
    "text": always("3,4"),
}
_SETS: Final[dict[str, Form]] = {
    "frozenset": either(frozenset("a"), frozenset("ab")),
    "set": always({"c", "a"}),
    "text": always("b a"),
}
_MONEY: Final[dict[str, Form]] = {
    "Money": lambda r: Money(r.randint(0, 99)),
    "int": always(5),
    "text": always("6"),
    "Value": always(Value(7)),
    "F": lambda r: F(r.name) + 1,
}
_COLORS: Final[dict[str, Form]] = {"Color": either(*Color), "text": either("r", "b")}
_CODES: Final[dict[str, Form]] = {
    "Code": lambda r: Code(r.choice("abc")),
    "text": either("x", "C-y"),
    "upper case": always("Z"),
}
_DOCUMENTS: Final[dict[str, Form]] = {
    "dict": always({"a": [1, 1.0, True]}),
    "tuple": always((1, 2)),
    "other keys": always({1: 2}),
    "text": always("t"),
}
_SLUGS: Final[dict[str, Form]] = {
    **TEXTS,
    "not a slug": either("Hot Tea", "A b-C"),
    "F": TEXTS["F"],
}
_BIG: Final[dict[str, Form]] = {**INTEGERS, "above the limit": either(51, 70, "99")}
_EMPTY: Final[dict[str, Form]] = {
    "text": always("a"),
    "empty": always(""),
    "lazy": always(lazystr("")),
}

_of = partial(partial, max_length=100)

CUSTOMS: Final[list[Kind]] = [
    kind("SquashedField", _of(custom_fields.SquashedField), TEXTS),
    kind("SluggedField", _of(custom_fields.SluggedField), _SLUGS),
    kind("UpperField", _of(custom_fields.UpperField), TEXTS),
    kind("StrictField", _of(custom_fields.StrictField), TEXTS),
    kind("ShoutedField", _of(custom_fields.ShoutedField), TEXTS),
    kind("NullableField", _of(custom_fields.NullableField), _EMPTY),
    kind("ColorField", _of(custom_fields.ColorField), _COLORS, base="default"),
    kind("PointField", _of(custom_fields.PointField), _POINTS),
    kind("CodeField", _of(column_fields.CodeField), _CODES),
    kind("CaselessField", _of(column_fields.CaselessField), TEXTS),
    kind("PaddedField", _of(column_fields.PaddedField), TEXTS),
    kind("SecretField", custom_fields.SecretField, TEXTS),
    kind("WordsField", custom_fields.WordsField, _WORDS),
    kind("SetField", custom_fields.SetField, _SETS),
    kind("DocumentField", custom_fields.DocumentField, _DOCUMENTS),
    kind("MoneyField", custom_fields.MoneyField, _MONEY, base="default"),
    kind("ClippedField", custom_fields.ClippedField, _BIG),
    kind("CountedField", custom_fields.CountedField, INTEGERS),
    kind("RealField", column_fields.RealField, FLOATS),
    kind("SecondsField", column_fields.SecondsField, MOMENTS),
    kind(
        "CharField(editable=False)", partial(models.CharField, max_length=9, editable=False), TEXTS
    ),
]
