import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from django_jsonbuffer.json_arrays import leading_events

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, width=32),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


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
