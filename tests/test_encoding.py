import dataclasses
import enum
import json
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple

import pydantic
import pytest
from django.contrib.auth.models import User
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from django_jsonbuffer.encoding import MAX_DEPTH, JSONEncoder, OrjsonEncoder, encoder
from django_jsonbuffer.exceptions import BufferMisconfigured, InvalidEvent

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


@pytest.fixture(params=[JSONEncoder, OrjsonEncoder], ids=["json", "orjson"])
def codec(request: pytest.FixtureRequest) -> JSONEncoder:
    return request.param()  # type: ignore[no-any-return]


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def nested_objects(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


class Colour(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Size:
    width: int
    made: date


@dataclasses.dataclass
class Private:
    shown: int = 1
    _hidden: int = 2


class Tags(pydantic.BaseModel):
    tags: set[int]


class Order(pydantic.BaseModel):
    total: Decimal
    at: datetime


class Stubborn:
    def model_dump(self, mode: str) -> None:
        raise RuntimeError("no")


class TestValues:
    @given(value=JSON_VALUES)
    @pytest.mark.parametrize("cls", [JSONEncoder, OrjsonEncoder])
    def test_any_json_value_comes_back_equal(self, cls: type[JSONEncoder], value: Any) -> None:
        codec = cls()
        encoded = codec.encode(value)
        decoded = codec.decode(b"[%b]" % encoded)
        assert decoded == [value]
        # == is not enough: -0.0 == 0.0 and 1 == 1.0 == True.
        assert repr(decoded) == repr([value])

    @given(value=JSON_VALUES)
    def test_encoders_read_each_other(self, value: Any) -> None:
        for write, read in [
            (JSONEncoder(), OrjsonEncoder()),
            (OrjsonEncoder(), JSONEncoder()),
        ]:
            assert repr(read.decode(b"[%b]" % write.encode(value))) == repr([value])

    @pytest.mark.parametrize(
        "value",
        [
            [],
            {},
            None,
            "",
            "   ",
            -0.0,
            2**53 - 1,
            2**53 + 1,
            2**63,
            2**64,
            -(2**64),
            2**64 - 1,
            -(2**63),
            {"a": [-(2**63) - 1]},
            -(2**63) - 10**18,
            10**4299,
            1763912345.123456,
            0.1 + 0.2,
            5e-324,
            1.7976931348623157e308,
            '{"a":1},{"b":2}',
            "1],[2",
            '"\\',
            "\x00\x7f\u2028\ufeff\u202e😀",
            {"": 1, "__proto__": {"x": 1}},
            {"k" * 1_000_000: 1},
            "é vs e\u0301",
        ],
        ids=lambda value: repr(value)[:24],
    )
    def test_awkward_values_come_back_as_they_are(self, codec: JSONEncoder, value: Any) -> None:
        assert repr(codec.decode(b"[%b]" % codec.encode(value))) == repr([value])

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), '"2026-01-02T03:04:05.678901Z"'),
            (
                datetime(2026, 1, 2, 3, 4, 5, 1, tzinfo=timezone(timedelta(hours=2))),
                '"2026-01-02T03:04:05.000001+02:00"',
            ),
            (datetime(2026, 1, 2, 3, 4, 5), '"2026-01-02T03:04:05"'),
            (date(2026, 1, 2), '"2026-01-02"'),
            (time(3, 4, 5, 678901), '"03:04:05.678901"'),
            (timedelta(days=1, microseconds=5), '"P1DT00H00M00.000005S"'),
            (Decimal("12345678901234567890.10"), '"12345678901234567890.10"'),
            (uuid.UUID(int=5), '"00000000-0000-0000-0000-000000000005"'),
            (gettext_lazy("Buckets"), '"Buckets"'),
            (mark_safe("<b>"), '"<b>"'),
            (Colour.RED, '"red"'),
            (Point(1, 2), "[1,2]"),
            (time(3, 4, tzinfo=UTC), '"03:04:00Z"'),
            (Private(), '{"shown":1,"_hidden":2}'),
            (Tags(tags={1}), '{"tags":[1]}'),
            (Size(3, date(2026, 1, 2)), '{"width":3,"made":"2026-01-02"}'),
            (
                Order(total=Decimal("1.50"), at=datetime(2026, 1, 2, tzinfo=UTC)),
                '{"total":"1.50","at":"2026-01-02T00:00:00Z"}',
            ),
            ("ü", '"ü"'),
            ({1: True, None: 2.5, False: 0}, '{"1":true,"null":2.5,"false":0}'),
            ({mark_safe("<b>"): 1}, '{"<b>":1}'),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_further_types_have_one_form_in_both_encoders(
        self, codec: JSONEncoder, value: Any, text: str
    ) -> None:
        assert codec.encode(value) == text.encode()


class TestRefusals:
    @pytest.mark.parametrize(
        "value",
        [
            float("nan"),
            float("inf"),
            float("-inf"),
            1e400,
            "\ud800",
            {"\udfff": 1},
            b"bytes",
            {1, 2},
            (number for number in range(3)),
            object(),
            int,
            Order,
            Size,
            Stubborn(),
            {(1, 2): 3},
            {uuid.UUID(int=1): 1},
            {date(2026, 1, 2): 1},
            {float("nan"): 1},
            10**4300,
        ],
        ids=lambda value: type(value).__name__,
    )
    @pytest.mark.parametrize("wrap", [lambda v: v, lambda v: {"a": [None, v]}], ids=["bare", "in"])
    def test_what_could_not_be_read_back(self, codec: JSONEncoder, value: Any, wrap: Any) -> None:
        with pytest.raises(InvalidEvent):
            codec.encode(wrap(value))

    def test_a_model_instance(self, codec: JSONEncoder) -> None:
        with pytest.raises(InvalidEvent, match="User is not a type that JSON can hold: append its"):
            codec.encode(User())

    @pytest.mark.parametrize(
        ("value", "way_out"),
        [
            ({1}, "make it a list"),
            (b"x", "decode it"),
            (float("nan"), "Use None"),
            ([float("-inf")], "Use None"),
        ],
    )
    def test_say_what_to_do(self, codec: JSONEncoder, value: Any, way_out: str) -> None:
        with pytest.raises(InvalidEvent, match=way_out):
            codec.encode(value)

    def test_a_circle(self, codec: JSONEncoder) -> None:
        circle: list[Any] = []
        circle.append(circle)
        with pytest.raises(InvalidEvent):
            codec.encode(circle)

    @pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 999, 1000, 1001, 100_000])
    def test_too_many_levels(self, codec: JSONEncoder, depth: int) -> None:
        for value in (nested(depth), nested_objects(depth)):
            with pytest.raises(InvalidEvent):
                codec.encode(value)

    @pytest.mark.parametrize("depth", [31, MAX_DEPTH])
    def test_as_many_levels_as_allowed(self, codec: JSONEncoder, depth: int) -> None:
        for value in (nested(depth), nested_objects(depth)):
            assert codec.decode(b"[%b]" % codec.encode(value)) == [value]

    def test_levels_side_by_side_do_not_add_up(self, codec: JSONEncoder) -> None:
        value = [nested(MAX_DEPTH - 1), nested_objects(MAX_DEPTH - 1)] * 2
        assert codec.decode(codec.encode(value)) == value

    def test_many_brackets_are_no_depth(self, codec: JSONEncoder) -> None:
        value = [['[{"'], {"]": "\\"}] * 300
        assert codec.decode(codec.encode(value)) == value

    def test_looking_for_depth_costs_in_proportion(self, codec: JSONEncoder) -> None:
        """A long text with many brackets beside it is read once. Otherwise this takes gigabytes."""
        value = ["x" * 20_000_000, '"\\' * 1_000_000, [[]] * 102]
        assert len(codec.encode(value)) > 20_000_000


class TestDecode:
    @pytest.mark.parametrize(
        "text",
        [
            *[b"{}", b"null", b"1", b"[1", b"", b'["\xff"]', b"\xef\xbb\xbf[1]"],
            *["[1]".encode("utf-16"), "[1]".encode("utf-32")],
        ],
    )
    def test_what_is_no_array(self, codec: JSONEncoder, text: bytes) -> None:
        with pytest.raises(ValueError):
            codec.decode(text)

    @pytest.mark.parametrize(
        "number", [2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**18, 10**19, -(10**19)]
    )
    def test_integers_beside_what_64_bits_hold(self, codec: JSONEncoder, number: int) -> None:
        assert repr(codec.decode(b"[%d]" % number)) == f"[{number}]"

    def test_lone_surrogates_of_a_foreign_client(self, codec: JSONEncoder) -> None:
        assert codec.decode(b'["\\ud800"]') == ["\ud800"]


class Shouting(JSONEncoder):
    def default(self, value: object) -> object:
        return "SET" if isinstance(value, set) else super().default(value)


class TestChoice:
    def test_by_short_name_or_path(self) -> None:
        assert type(encoder("json")) is JSONEncoder
        assert type(encoder("orjson")) is OrjsonEncoder
        assert json.loads(encoder(f"{__name__}.Shouting").encode([set()])) == ["SET"]

    @pytest.mark.parametrize("name", ["ujson", "no.such.path", "json.JSONEncoder", "builtins.len"])
    def test_what_is_no_encoder(self, name: str) -> None:
        with pytest.raises(BufferMisconfigured, match="ENCODER"):
            encoder(name)
