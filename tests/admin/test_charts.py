import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from django_jsonbuffer import Bucket
from django_jsonbuffer.admin.charts import Chart, History
from django_jsonbuffer.store.history import Sample
from django_jsonbuffer.store.status import BucketStatus

NOW = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def status(**figures: Any) -> BucketStatus:
    nothing = Bucket("orders").status()
    facts = {name: getattr(nothing, name) for name in BucketStatus.__dataclass_fields__}
    return BucketStatus(**facts | {"sampled": MINUTE} | figures)


def samples(*pending: int, appended: int = 0, processed: int = 0) -> list[Sample]:
    """Samples a minute apart, the last of them a minute ago.

    Between two of them, so many events are appended and processed.
    """
    return [
        Sample(NOW - MINUTE * ago, number, 0, appended * (100 - ago), processed * (100 - ago))
        for ago, number in zip(range(len(pending), 0, -1), pending, strict=True)
    ]


def places(chart: Chart | None, name: str) -> list[tuple[float, float]]:
    assert chart is not None
    [points] = [line.points for line in chart.lines if line.name == name]
    assert re.fullmatch(r"[0-9]+\.[0-9],[0-9]+\.[0-9]( [0-9]+\.[0-9],[0-9]+\.[0-9])*", points)
    pairs = (place.split(",") for place in points.split())
    return [(float(x), float(y)) for x, y in pairs]


class TestSparkline:
    def test_ends_with_what_is_pending_now(self) -> None:
        chart = History(samples(0, 50, 100), status(pending=25)).sparkline()
        shown = places(chart, "pending")
        assert [y for _, y in shown] == [24, 12, 0, 18]
        assert shown[-1][0] == 120
        assert [x for x, _ in shown] == sorted(x for x, _ in shown)

    def test_is_described_in_words(self) -> None:
        chart = History(samples(1234, 5), status(pending=0)).sparkline()
        assert chart is not None
        assert chart.label == "Pending over the last 4 hours: at most 1,234, at the end 0."

    def test_of_nothing_but_zeros_lies_at_the_bottom(self) -> None:
        chart = History(samples(0, 0), status(pending=0)).sparkline()
        assert {y for _, y in places(chart, "pending")} == {24}

    def test_is_none_without_a_history(self) -> None:
        assert History([], status(pending=5, sampled=None)).sparkline() is None

    def test_is_none_over_less_than_two_minutes(self) -> None:
        """The line would be a dot."""
        for seconds, is_shown in ((119, False), (120, True)):
            first = Sample(NOW - timedelta(seconds=seconds), 1, 0, 0, 0)
            found = History(
                [first, Sample(NOW - MINUTE, 2, 0, 0, 0)], status(pending=3, sampled=MINUTE)
            )
            charts = (found.sparkline(), found.backlog(), found.throughput())
            assert [chart is not None for chart in charts] == [is_shown] * 3

    def test_leaves_out_what_is_older(self) -> None:
        old = [Sample(NOW - timedelta(hours=5), 1_000_000, 0, 0, 0)]
        chart = History(old + samples(1, 2), status(pending=2)).sparkline()
        assert chart is not None
        assert "at most 2," in chart.label

    def test_goes_by_the_clock_of_the_samples(self) -> None:
        """The clock of this machine does not matter."""
        chart = History(samples(1, 2), status(pending=2, sampled=MINUTE)).sparkline()
        assert places(chart, "pending")[-1] == (120, 0)

    def test_stands_a_clock_that_was_set_back(self) -> None:
        later = Sample(NOW + timedelta(hours=1), 500, 0, 0, 0)
        chart = History([later, *samples(1, 2)], status(pending=2)).sparkline()
        assert chart is not None
        assert "at most 2," in chart.label


class TestThroughput:
    def test_is_what_goes_in_and_out_per_minute(self) -> None:
        history = History(
            samples(0, 0, 0, appended=60, processed=30),
            status(appended=60 * 100, processed=30 * 100),
        )
        chart = history.throughput()
        assert {y for _, y in places(chart, "appended")} == {64}
        assert {y for _, y in places(chart, "processed")} == {112}
        assert chart is not None
        assert chart.label == (
            "In per minute: at most 60, at the end 60. Out per minute: at most 30, at the end 30."
        )

    def test_does_not_jump_over_a_few_seconds(self) -> None:
        history = History(
            samples(0, 0, 0, appended=60),
            status(appended=60 * 99 + 59, sampled=timedelta(seconds=1)),
        )
        assert {y for _, y in places(history.throughput(), "appended")} == {64}

    def test_of_totals_that_began_again_is_nothing_for_a_moment(self) -> None:
        history = History(samples(0, 0, 0, appended=60), status(appended=5))
        assert [y for _, y in places(history.throughput(), "appended")] == [64, 64, 160]

    def test_over_a_gap_is_the_mean(self) -> None:
        first = Sample(NOW - timedelta(hours=1), 0, 0, 0, 0)
        history = History([first, *samples(0, appended=60)], status(appended=6000))
        shown = places(history.throughput(), "appended")
        assert len(shown) == 2

    def test_is_none_without_a_history(self) -> None:
        assert History(samples(0), status()).throughput() is None


class TestAxes:
    def test_end_at_a_round_number(self) -> None:
        for highest, top in (
            (0, "1"),
            (3, "5"),
            (7, "10"),
            (11, "20"),
            (450, "500"),
            (501, "1,000"),
        ):
            chart = History(samples(0, highest), status(pending=0)).backlog()
            assert chart is not None
            assert [value.label for value in chart.values][::2] == ["0", top]

    @pytest.mark.parametrize(
        ("zone", "labels"),
        [
            ("UTC", ["9 a.m.", "10 a.m.", "11 a.m.", "noon"]),
            ("Asia/Kolkata", ["3 p.m.", "4 p.m.", "5 p.m."]),
        ],
    )
    def test_have_the_hours_of_the_time_zone(self, zone: str, labels: list[str]) -> None:
        with timezone.override(zone):
            chart = History(samples(1, 2), status()).backlog()
        assert chart is not None
        assert [tick.label for tick in chart.times] == labels
        assert all(0 <= tick.place <= chart.width for tick in chart.times)

    def test_need_no_time_zones(self) -> None:
        with override_settings(USE_TZ=False):
            assert History(samples(1, 2), status()).backlog() is not None
            assert History([], status(sampled=None)).sparkline() is None
