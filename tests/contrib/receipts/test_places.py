from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jsonbuffer.contrib.receipts.places import NO_PLACES, Places, leading
from django_jsonbuffer.store.origins import Origins

RANGES = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda pair: (pair[0], sum(pair))),
    max_size=8,
)


def members(places: Places) -> set[int]:
    return {place for first, last in places for place in range(first, last + 1)}


class TestPlaces:
    @pytest.mark.parametrize("text", ["", "0", "0-999", "0-3,5,7-9"])
    def test_are_read_from_their_text(self, text: str) -> None:
        assert str(Places.read(text)) == text

    @given(RANGES)
    def test_of_ranges_that_touch_and_overlap(self, ranges: list[tuple[int, int]]) -> None:
        places = Places.of(ranges)
        assert members(places) == {n for first, last in ranges for n in range(first, last + 1)}
        assert all(one.last + 1 < other.first for one, other in pairwise(places))

    @given(RANGES, st.integers(0, 70), st.integers(1, 20))
    def test_leading_are_those_that_have_the_state_of_the_first(
        self, ranges: list[tuple[int, int]], first: int, count: int
    ) -> None:
        places = Places.of(ranges)
        states = [place in members(places) for place in range(first, first + count)]
        alike = next((n for n, state in enumerate(states) if state != states[0]), count)
        assert places.leading(first, count) == (states[0], alike)

    def test_none(self) -> None:
        assert NO_PLACES.leading(0, 3) == (False, 3)
        assert str(NO_PLACES) == ""


class TestLeading:
    @pytest.mark.parametrize(
        ("batch", "is_known", "count"),
        [
            ("a:0:4", False, 2),
            ("a:2:2", True, 2),
            ("a:2:2 b:0:3", True, 4),
            ("b:0:2 a:0:1", True, 2),
            ("c:0:5 a:0:1 b:0:1", False, 6),
        ],
    )
    def test_ends_where_the_state_changes(self, batch: str, is_known: bool, count: int) -> None:
        known = {"a": Places.read("2-3"), "b": Places.read("0-1")}
        assert leading(Origins.read(batch), known) == (is_known, count)
