"""The forms in which Django accepts the values of its own fields."""

import math
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from django.core.files.base import ContentFile
from django.db import models
from django.db.models import F, Value
from django.db.models.functions import Concat, Lower
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe

from tests.differential.custom_fields import Color
from tests.differential.kinds import Form, always, either

NEW_YORK: Final = ZoneInfo("America/New_York")


class Grade(models.IntegerChoices):
    LOW = 1
    HIGH = 2


class Status(models.TextChoices):
    DRAFT = "draft"
    DONE = "done"


INTEGERS: Final[dict[str, Form]] = {
    "int": lambda r: r.randint(0, 99),
    "text": lambda r: str(r.randint(0, 99)),
    "spaced text": always(" 7 "),
    "float": lambda r: float(r.randint(0, 99)),
    "fraction": always(3.7),
    "Decimal": always(Decimal("7.0")),
    "bool": either(True, False),
    "choice": either(*Grade),
    "Value": always(Value(5)),
    "sum": always(Value(2) + Value(3)),
    "F": lambda r: F(r.name) + 1,
    "not a number": always("x"),
    "too large": always(2**70),
}
FLOATS: Final[dict[str, Form]] = {
    "float": lambda r: r.random(),
    "int": lambda r: r.randint(0, 9),
    "text": always("0.50"),
    "Decimal": always(Decimal("2.50")),
    "bool": always(True),
    "NaN": always(math.nan),
    "Infinity": either(math.inf, -math.inf),
    "text of Infinity": always("inf"),
    "many digits": either(0.1 + 0.2, 1e300, 5e-324, -0.0),
    "F": lambda r: F(r.name) * 2,
}
DECIMALS: Final[dict[str, Form]] = {
    "Decimal": lambda r: Decimal(r.randint(0, 9999)).scaleb(-2),
    "text": either("3", "3.50", " 4 ", "1e2"),
    "int": lambda r: r.randint(0, 99),
    "float": either(3.5, 0.1, 2.675, 1.005),
    "bool": always(True),
    "zeros": either(Decimal("3.0000"), Decimal("1E+2"), Decimal("-0")),
    "half": either(Decimal("1.125"), Decimal("1.135"), "1.126", Decimal("-1.125")),
    "NaN": always(Decimal("NaN")),
    "Infinity": always(Decimal("Infinity")),
    "Value": always(Value(Decimal("1.5"))),
    "F": lambda r: F(r.name) + 1,
    "not a number": always("x"),
    "too large": always(Decimal("1e9")),
}
TEXTS: Final[dict[str, Form]] = {
    "text": lambda r: r.choice(["a", "Ä b", "x y z", "Tea", "😀"]),
    "spaces": either(" a ", "a  ", ""),
    "int": lambda r: r.randint(0, 99),
    "float": always(1.5),
    "bool": always(True),
    "Decimal": always(Decimal("1.50")),
    "UUID": always(uuid.UUID(int=7)),
    "date": always(date(2026, 1, 2)),
    "lazy": always(lazystr("lazy")),
    "safe": always(mark_safe("<b>")),
    "choice": either(*Status),
    "enum": always(Color.RED),
    "Value": always(Value("v")),
    "Lower": always(Lower(Value("ABC"))),
    "F": lambda r: Concat(F(r.name), Value("+")),
    "NUL": always("a\0b"),
    "line ends": always("a\r\nb\t"),
}
BOOLEANS: Final[dict[str, Form]] = {
    "bool": either(True, False),
    "int": either(0, 1),
    "float": either(0.0, 1.0),
    "text": either("True", "False", "t", "f", "1", "0"),
    "other text": always("yes"),
    "Value": always(Value(True)),
}
DATES: Final[dict[str, Form]] = {
    "date": lambda r: date(2026, r.randint(1, 12), 9),
    "text": either("2026-01-02", "2026-1-2"),
    "aware datetime": always(datetime(2026, 1, 2, 3, tzinfo=UTC)),
    "naive datetime": always(datetime(2026, 1, 2, 23, 30)),
    "first or last": either(date.min, date.max),
    "Value": always(Value(date(2026, 5, 6))),
    "not a date": always("tomorrow"),
}
TIMES: Final[dict[str, Form]] = {
    "time": lambda r: time(r.randint(0, 23), 5),
    "text": either("08:30", "08:30:15.5"),
    "microseconds": always(time(1, 2, 3, 4)),
    "datetime": always(datetime(2026, 1, 2, 3, 4, 5)),
    "aware": always(time(1, 2, tzinfo=UTC)),
}
MOMENTS: Final[dict[str, Form]] = {
    "UTC": lambda r: datetime(2026, r.randint(1, 12), 3, 4, 5, tzinfo=UTC),
    "New York": always(datetime(2026, 7, 2, 3, 4, 5, 678, tzinfo=NEW_YORK)),
    "offset": always(datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=5, minutes=30)))),
    "naive": lambda r: datetime(2026, r.randint(1, 12), 3, 4, 5),
    "naive in the gap": always(datetime(2026, 3, 8, 2, 30)),
    "naive and ambiguous": either(*(datetime(2026, 11, 1, 1, 30, fold=fold) for fold in (0, 1))),
    "text": either("2026-01-02T03:04:05Z", "2026-01-02 03:04:05.5+02:00"),
    "naive text": always("2026-06-02 03:04:05"),
    "text of a date": always("2026-06-02"),
    "date": always(date(2026, 6, 2)),
    "microseconds": always(datetime(2026, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC)),
    "first or last": either(
        datetime(2, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    ),
    "Now": always(Value(datetime(2026, 1, 2, tzinfo=UTC), models.DateTimeField())),
    "not a time": always("noon"),
}
DURATIONS: Final[dict[str, Form]] = {
    "timedelta": lambda r: timedelta(minutes=r.randint(0, 9999)),
    "negative": always(timedelta(days=-1, microseconds=5)),
    "text": either("1 02:03:04", "PT3H"),
    "int": always(5),
    "Value": always(Value(timedelta(hours=1))),
}
UUIDS: Final[dict[str, Form]] = {
    "UUID": lambda r: uuid.UUID(int=r.getrandbits(128)),
    "text": lambda r: str(uuid.UUID(int=r.getrandbits(128))),
    "hex": always(uuid.UUID(int=7).hex),
    "upper case": always(str(uuid.UUID(int=0xABCDEF)).upper()),
    "URN": always(uuid.UUID(int=7).urn),
    "int": always(7),
    "bad text": always("x"),
}
DOCUMENTS: Final[dict[str, Form]] = {
    "dict": lambda r: {"a": [r.randint(0, 9), None, {"b": True}], "c": 1.0},
    "list": always([1, 1.0, "1", True, None, []]),
    "tuple": always((1, (2, 3))),
    "other keys": always({1: {2: "a"}, None: 1, False: 2}),
    "text": either("text", "", '{"a": 1}', "null", "1"),
    "number": either(0, 1, 1.0, -0.0, 1e16, 0.1, 2**63, 12345678901234567890123, 1.5e-10),
    "bool": either(True, False),
    "null": always(Value(None, models.JSONField())),
    "odd texts": always({"é\u2028": "\x01\x7f😀", "": '"\\/'}),
    "choice": either(Status.DRAFT, Grade.HIGH),
    "lazy": always(lazystr("lazy")),
    "many values": always({str(n): [n] * 5 for n in range(50)}),
    "deep": always(eval("[" * 30 + "]" * 30)),
}
CODED_DOCUMENTS: Final[dict[str, Form]] = {
    "dict": always({"a": 1}),
    "date": always({"at": date(2026, 1, 2), "on": datetime(2026, 1, 2, 3, tzinfo=UTC)}),
    "microseconds": always([datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)]),
    "Decimal": always({"d": Decimal("1.50"), "u": uuid.UUID(int=1), "t": timedelta(1)}),
    "lazy": always({"t": lazystr("lazy")}),
}
BYTES: Final[dict[str, Form]] = {
    "bytes": lambda r: r.randbytes(5),
    "bytearray": always(bytearray(b"x")),
    "memoryview": always(memoryview(b"xy")),
    "text": always("x"),
}
FILES: Final[dict[str, Form]] = {
    "name": either("a/b.png", "c.txt"),
    "ContentFile": lambda r: ContentFile(b"x", name="new.txt"),
    "empty": always(""),
}
IPS: Final[dict[str, Form]] = {
    "IPv4": lambda r: f"10.0.0.{r.randint(0, 255)}",
    "IPv6": either("2001:DB8:0:0:0:0:0:1", "::FFFF:10.0.0.1", "2001:db8::1"),
    "spaced text": always(" 10.0.0.1 "),
    "bad text": always("x"),
}
