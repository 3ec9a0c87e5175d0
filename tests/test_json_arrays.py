import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jsonbuffer.json_arrays import count_events, is_deeper_than, leading_events, spans

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, width=32),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def has_no_infinity(value: Any) -> bool:
    return "Infinity" not in json.dumps(value)


class TestLeadingEvents:
    @given(st.lists(JSON, min_size=1, max_size=5))
    def test_of_a_whole_array_are_its_events(self, values: list[Any]) -> None:
        events = [json.dumps(value).encode() for value in values]
        found = list(leading_events(b"[%b]" % b",".join(events)))
        assert found == [(event, True) for event in events]

    @given(st.lists(JSON, min_size=1, max_size=5), st.integers(1, 200))
    def test_of_an_array_that_was_cut_are_whole_but_the_last(
        self, values: list[Any], size: int
    ) -> None:
        events = [json.dumps(value).encode() for value in values]
        found = list(leading_events((b"[%b]" % b",".join(events))[:size]))
        for (part, is_whole), event in zip(found, events, strict=False):
            assert part == event if is_whole else event.startswith(part)
        assert all(is_whole for _, is_whole in found[:-1])

    def test_may_be_anything(self) -> None:
        found = [event for event, _ in leading_events(b"[ NaN , x y ,]")]
        assert found == [b"NaN", b"x y", b""]
        assert list(leading_events(b"")) == []


class TestCountEvents:
    @given(
        st.lists(JSON.filter(has_no_infinity), max_size=5),
        st.sampled_from(["", " ", "\n\t", "\r "]),
    )
    def test_of_an_array(self, values: list[Any], space: str) -> None:
        events = f"{space},{space}".join(map(json.dumps, values))
        assert count_events(f"[{space}{events}{space}]".encode()) == len(values)

    @given(st.lists(JSON, min_size=1, max_size=5), st.data())
    def test_of_an_array_that_was_cut(self, values: list[Any], data: st.DataObject) -> None:
        array = json.dumps(values).encode()
        assert count_events(array[: data.draw(st.integers(0, len(array) - 1))]) is None

    @pytest.mark.parametrize(
        "text",
        [
            *[b"", b"{}", b"1", b" [1]", b"[1] ", b"[1][2]", b"[1,]", b"[,1]", b"[1 2]", b"[1}"],
            *[b"[NaN]", b"[01]", b'["\xff"]', b"\xef\xbb\xbf[1]", b"[" + b"9" * 4301 + b"]"],
            *[b"[" * 201 + b"]" * 201, b"[" * 100_000 + b"]" * 100_000],
        ],
        ids=lambda text: text[:9],
    )
    def test_of_what_is_no_array_of_events(self, text: bytes) -> None:
        assert count_events(text) is None

    def test_of_an_event_as_deep_as_allowed(self) -> None:
        assert count_events(b"[" * 200 + b"]" * 200) == 1


class TestSpans:
    @given(st.lists(JSON, min_size=1, max_size=5), st.sampled_from([b"", b" ", b"\n\t "]))
    def test_are_where_the_events_are(self, values: list[Any], blank: bytes) -> None:
        events = [json.dumps(value).encode() for value in values]
        padded = [blank + event + blank for event in events]
        array = blank + b"[" + b",".join(padded) + b"]" + blank
        assert [array[start:end] for start, end in spans(array)] == events

    def test_may_be_those_of_what_no_decoder_accepts(self) -> None:
        events = [b"NaN", b"x y", b'"\\ud800,]"', b"[[{]}]", "é".encode("latin-1")]
        array = b"[%b]" % b",".join(events)
        assert [array[start:end] for start, end in spans(array)] == events

    @pytest.mark.parametrize(
        "array", [b"", b"1", b"{}", b"[", b"]", b"[1", b"[1]]", b"[1] [2]", b"[1],"]
    )
    def test_are_refused_where_the_brackets_are_not_those_of_an_array(self, array: bytes) -> None:
        with pytest.raises(ValueError, match="brackets"):
            spans(array)


class TestIsDeeperThan:
    @given(JSON, st.integers(0, 6))
    def test_is_so_when_more_are_nested(self, value: Any, limit: int) -> None:
        assert is_deeper_than(limit, json.dumps(value).encode()) == (depth_of(value) > limit)

    @pytest.mark.parametrize("depth", [1, 2, 50])
    def test_counts_arrays_and_objects_alike(self, depth: int) -> None:
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}"), (b'{"a":[', b"]}")):
            encoded = opening * depth + b"1" + closing * depth
            levels = depth * len(closing)
            assert not is_deeper_than(levels, encoded)
            assert is_deeper_than(levels - 1, encoded)


def depth_of(value: Any) -> int:
    if not isinstance(value, list | dict):
        return 0
    items = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth_of, items), default=0)
