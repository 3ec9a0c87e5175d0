from collections.abc import Callable, Iterator

import pytest

from benchmarks.load import Response, summary
from benchmarks.rounds import Comparison, Ratio, Scale, Spread, microseconds


def figures(*values: float) -> Callable[[], float]:
    """One of them each time."""
    remaining: Iterator[float] = iter(values)
    return lambda: next(remaining)


def comparison(*ratios: Ratio, bare: tuple[float, ...] = (1, 1, 1)) -> Comparison:
    return Comparison(
        title="What it costs",
        unit="µs",
        cases={"a": figures(4, 6, 9), "b": figures(2, 4, 3), "bare": figures(*bare)},
        rounds=3,
        ratios=ratios,
    )


class TestComparison:
    def test_figure_is_the_median_with_least_and_most(self) -> None:
        assert comparison().run().figures["a"] == Spread(median=6, least=4, most=9)

    def test_ratio_is_the_median_of_those_of_the_rounds(self) -> None:
        (outcome,) = comparison(Ratio(what="a / b", of="a", to="b")).run().outcomes
        assert outcome.figure == Spread(median=2, least=1.5, most=3)

    def test_ratio_beyond_a_case_is_of_what_is_added_to_it(self) -> None:
        ratio = Ratio(what="added", of="a", to="b", beyond="bare")
        (outcome,) = comparison(ratio, bare=(1, 1, 1)).run().outcomes
        assert outcome.figure == Spread(median=3, least=5 / 3, most=4)

    def test_cases_take_turns_in_every_round_and_are_cleaned_up_after(self) -> None:
        turns: list[str] = []

        def turn(name: str) -> Callable[[], float]:
            def measure() -> float:
                turns.append(name)
                return 1

            return measure

        Comparison(
            title="Turns",
            unit="µs",
            cases={name: turn(name) for name in "abc"},
            rounds=2,
            clean_up=lambda: turns.append("-"),
        ).run()
        assert "".join(turns) == "a-b-c-c-b-a-"

    @pytest.mark.parametrize(
        ("at_most", "at_least", "aim", "is_reached"),
        [
            (2, None, "at most 2", True),
            (1.9, None, "at most 1.9", False),
            (None, 2, "at least 2", True),
            (None, 2.1, "at least 2.1", False),
            (None, None, "", True),
        ],
    )
    def test_tells_whether_the_aim_is_reached(
        self, at_most: float | None, at_least: float | None, aim: str, is_reached: bool
    ) -> None:
        ratio = Ratio(what="a / b", of="a", to="b", at_most=at_most, at_least=at_least)
        result = comparison(ratio).run().as_json()
        assert result["ratios"] == [
            {
                "what": "a / b",
                "of": "a",
                "to": "b",
                "beyond": None,
                "aim": aim,
                "is_reached": is_reached,
                "median": 2,
                "least": 1.5,
                "most": 3,
            }
        ]


def test_scale_is_one_round_of_a_tenth_when_it_is_quick() -> None:
    quick, full = Scale(is_quick=True), Scale(is_quick=False)
    assert (quick.count(1000), full.count(1000)) == (100, 1000)
    assert (quick.rounds(31), full.rounds(31)) == (1, 31)
    assert (quick.count(1000, quick=7), full.count(1000, quick=7)) == (7, 1000)


def test_microseconds_are_those_of_an_event() -> None:
    calls: list[None] = []
    figure = microseconds(lambda: calls.append(None), calls=10, events_a_call=5)
    assert len(calls) == 10
    assert 0 < figure < 1000


def test_summary_of_a_load_leaves_out_the_first_response_of_each_client() -> None:
    times = [*range(1, 101)]
    responses = [Response("/", 200, seconds, is_first=False) for seconds in times]
    first = Response("/", None, 1000, is_first=True)
    assert summary([first, *responses]) == {
        "median_ms": 50_500,
        "p99_ms": 100_000,
        "errors": 1,
    }
