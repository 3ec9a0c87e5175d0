"""Both encoders are compared on values of every kind, since each has its own idea of a subclass."""

import dataclasses
import enum
import json
from collections import Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from django import forms
from django.db.models import IntegerChoices, TextChoices
from django.http import QueryDict
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from django_jsonbuffer.encoding import JSONEncoder, OrjsonEncoder
from django_jsonbuffer.exceptions import InvalidEvent
from django_jsonbuffer.plain_values import as_plain

CODECS = (JSONEncoder(), OrjsonEncoder())


class Answering(dict[Any, Any]):
    """Has no entries of its own, as a view of another mapping."""

    def items(self) -> Any:
        return [("answer", 42), *super().items()]


class Doubling(list[Any]):
    """Iterates over other values than it holds, as ErrorList does."""

    def __iter__(self) -> Iterator[Any]:
        for value in super().__iter__():
            yield from (value, value)


class Backwards(tuple[Any, ...]):
    def __iter__(self) -> Iterator[Any]:
        return iter(self[::-1])


class Breaking(list[Any]):
    """Fails behind its first values."""

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        raise LookupError("no more")

    __repr__ = object.__repr__


class ChangingDict(dict[Any, Any]):
    """Changes while it is read."""

    def items(self) -> Any:
        for key in self:
            yield key, self[key]
            self[f"{key} again"] = 1


class Loud(str):
    def __str__(self) -> str:
        return "LOUD"

    __repr__ = __str__


class Odd(int):
    def __str__(self) -> str:
        return "odd"

    __repr__ = __str__

    def __int__(self) -> int:
        return 0


class Rough(float):
    def __repr__(self) -> str:
        return "rough"

    __str__ = __repr__

    def __float__(self) -> float:
        return 0.0


class Named(NamedTuple):
    a: Any
    b: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    value: Any

    @property
    def not_a_field(self) -> int:
        return 1


@dataclasses.dataclass
class FieldsAndEntries(dict[str, Any]):
    field: Any = 1


class Plain(enum.Enum):
    TEXT = "text"
    LIST = ("a", 1)
    NUMBER = 1.5
    DAY = date(2026, 1, 2)


class Text(str, enum.Enum):  # noqa: UP042  (many projects have it)
    A = "a"


class Strict(enum.StrEnum):
    B = enum.auto()


class Whole(enum.IntEnum):
    ONE = 1


class Flags(enum.IntFlag):
    READ = 1
    WRITE = 2


class Coded(str, enum.Enum):  # noqa: UP042  (a StrEnum allows only its text as value)
    """The value is a code, and the text is not."""

    FIRST = (1, "first")

    def __new__(cls, code: int, text: str) -> "Coded":
        member = str.__new__(cls, text)
        member._value_ = code
        return member

    __repr__ = object.__repr__


class Day(date, enum.Enum):
    NEW_YEAR = 2026, 1, 1


class Half(float, enum.Enum):
    HALF = 0.5


class Choices(TextChoices):
    YES = "y", "Yes"


class Numbers(IntegerChoices):
    TWO = 2, "Two"


class WithDunder:
    def __json__(self) -> str:
        return "no"


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**66), 2**66),
    st.floats(),
    st.text(st.characters(codec=None)),
    st.integers().map(Odd),
    st.floats().map(Rough),
    st.text().map(Loud),
    st.text().map(mark_safe),
    st.decimals(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.dates(),
    st.times(),
    st.timedeltas(timedelta(-1000), timedelta(1000)),
    st.uuids(),
    st.sampled_from(
        [*Plain, *Text, *Strict, *Whole, *Flags, ~Flags.READ, *Coded, *Day, *Half, *Choices]
    ),
    st.sampled_from([*Numbers, gettext_lazy("yes"), QueryDict("a=1&a=2"), WithDunder()]),
    st.sampled_from([b"x", {1}, UserDict(a=1), UserList([1]), deque([1]), MappingProxyType({})]),
)
KEYS = st.one_of(
    st.text(),
    st.text(max_size=1).map(Loud),
    st.integers(-2, 2),
    st.integers(-2, 2).map(str),
    st.sampled_from(
        [True, None, 1.5, -0.0, float("nan"), b"k", (1,), Odd(7), Rough(1), Decimal(1)]
    ),
    st.sampled_from([Text.A, Whole.ONE, Coded.FIRST, Plain.TEXT, UUID(int=1), "\ud800"]),
)
DICTS: list[Callable[[dict[Any, Any]], Any]] = [
    *(dict, OrderedDict, Counter, Answering, FieldsAndEntries),
    lambda entries: defaultdict(list, entries),
]
ARRAYS: list[Callable[[list[Any]], Any]] = [list, tuple, Doubling, Backwards, Breaking]

NUMBER_TEXTS = r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?"
JSON_TEXTS = st.one_of(
    st.from_regex(NUMBER_TEXTS, fullmatch=True),
    st.sampled_from(["true", "null", "NaN", "-Infinity", "01", "+1", "1.", '"\\ud800"']),
    st.sampled_from(['"\\ud83d\\ude00"', '"\t"', "{}", '{"a":1,"a":2}', "[", "]", '"\x7f"']),
    st.text().map(json.dumps),
)


def containers(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    few = st.lists(children, max_size=3)
    return st.one_of(
        st.dictionaries(st.text(max_size=3), children, max_size=3),
        few,
        st.tuples(st.sampled_from(DICTS), st.dictionaries(KEYS, children, max_size=3)).map(
            lambda made: made[0](made[1])
        ),
        st.tuples(st.sampled_from(ARRAYS), few).map(lambda made: made[0](made[1])),
        children.map(Named),
        children.map(Frozen),
    )


def outcome(codec: JSONEncoder, value: Any) -> str:
    """The decoded event with its types, or the error. -0.0, 1 and True are all distinct in it."""
    try:
        encoded = codec.encode(value)
    except InvalidEvent as error:
        return f"refused: {error}"
    return repr([each.decode(b"[%b]" % encoded) for each in CODECS])


class TestBothEncoders:
    @given(value=st.recursive(LEAVES, containers, max_leaves=8))
    def test_any_value_has_one_form_or_is_refused_with_one_error(self, value: Any) -> None:
        by_json, by_orjson = (outcome(codec, value) for codec in CODECS)
        assert by_json == by_orjson

    @pytest.mark.parametrize("codec", CODECS, ids=["json", "orjson"])
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (QueryDict("a=1&a=2&b=3"), '{"a":"2","b":"3"}'),
            (Answering(), '{"answer":42}'),
            (OrderedDict(b=1, a=[2]), '{"b":1,"a":[2]}'),
            (defaultdict(list, a=[1]), '{"a":[1]}'),
            (Counter("aab"), '{"a":2,"b":1}'),
            (FieldsAndEntries(), "{}"),
            (Doubling([1, [2]]), "[1,1,[2],[2]]"),
            (Backwards((1, 2)), "[2,1]"),
            (Named(Doubling([1])), "[[1,1],null]"),
            (Loud("quiet"), '"quiet"'),
            (Odd(3), "3"),
            (Rough(1.25), "1.25"),
            (Rough(-0.0), "-0.0"),
            (Frozen(Doubling([1])), '{"value":[1,1]}'),
            ([Text.A, Strict.B, Whole.ONE, Choices.YES, Numbers.TWO], '["a","b",1,"y",2]'),
            ([Coded.FIRST, Half.HALF, Flags.READ | Flags.WRITE], "[1,0.5,3]"),
            ([*Plain, Day.NEW_YEAR], '["text",["a",1],1.5,"2026-01-02","2026-01-01"]'),
            ({Loud("k"): 1, Odd(7): 2, Text.A: 3}, '{"k":1,"7":2,"a":3}'),
            ({"a": (1, Doubling())}, '{"a":[1,[]]}'),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_value(self, codec: JSONEncoder, value: Any, text: str) -> None:
        assert codec.encode(value) == text.encode()

    @pytest.mark.parametrize("codec", CODECS, ids=["json", "orjson"])
    def test_errors_of_a_form(self, codec: JSONEncoder) -> None:
        class Login(forms.Form):
            name = forms.CharField()

        event = {"errors": Login({}).errors}
        assert codec.encode(event) == b'{"errors":{"name":["This field is required."]}}'

    @pytest.mark.parametrize("codec", CODECS, ids=["json", "orjson"])
    @pytest.mark.parametrize(
        "value",
        [
            *(UserDict(a=1), UserList([1]), deque([1]), MappingProxyType({"a": 1}), WithDunder()),
            *(Breaking([1]), ChangingDict(a=1), Rough("nan"), Rough("-inf"), Odd(10**4300)),
            *({b"k": 1}, {Plain.TEXT: 1}, {Rough("nan"): 1}, Loud("\ud800"), {Loud("\ud800"): 1}),
            Answering(a={1}),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_refused(self, codec: JSONEncoder, value: Any) -> None:
        with pytest.raises(InvalidEvent):
            codec.encode({"a": [value]})

    @pytest.mark.parametrize("kind", [Doubling, Answering])
    def test_a_circle_of_subclasses(self, kind: Any) -> None:
        circle = kind()
        circle.append(circle) if kind is Doubling else circle.update(a=circle)
        for codec in CODECS:
            with pytest.raises(InvalidEvent, match="deeper than 100 levels"):
                codec.encode(circle)

    @given(parts=st.lists(JSON_TEXTS, max_size=4))
    def test_both_decoders_read_any_text_alike(self, parts: list[str]) -> None:
        text = f"[{', '.join(parts)}]".encode()
        read = []
        for codec in CODECS:
            try:
                read.append(repr(codec.decode(text)))
            except ValueError:
                read.append("refused")
        assert read[0] == read[1]


class TestDefault:
    def test_of_a_subclass_may_return_subclasses(self) -> None:
        class Mine(JSONEncoder):
            def default(self, value: object) -> object:
                return Doubling([1]) if isinstance(value, set) else super().default(value)

        class MineToo(Mine, OrjsonEncoder):
            pass

        assert Mine().encode([set()]) == MineToo().encode([set()]) == b"[[1,1]]"


class TestAsPlain:
    def test_the_argument_is_not_changed(self) -> None:
        inner = Doubling([Loud("a")])
        event = {"a": [inner], "b": 1}
        assert as_plain(event) == {"a": [["a", "a"]], "b": 1}
        assert event["a"] == [inner]

    def test_plain_dicts_are_not_copied(self) -> None:
        event = {"a": {"b": {}}, "at": date(2026, 1, 2), "n": Decimal(1)}
        assert as_plain(event) is event
