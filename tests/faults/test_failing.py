"""Events that fail, endpoints that are down for hours, and processors that hang, in a faked time.

The options are the defaults, unless a test says so.
"""

from collections.abc import Callable

import pytest

from django_jsonbuffer.draining.outages import PROBES
from tests.faults.bad_events import (
    at_random,
    events_with,
    every_third,
    in_a_row,
    key_error,
    like_the_endpoint,
    means_outage,
    one_of_two,
)
from tests.faults.outages import HOUR, LEASE_SECONDS, most_calls
from tests.faults.scale import report
from tests.faults.sites import Start, wait_until

MOST_PROBES_OF_SUSPECTS = 200
"""Failures that it takes to notice an outage with the error of a bad event."""


class TestBadEvents:
    @pytest.mark.parametrize(
        ("total", "kind_of", "most_seconds"), [(10_000, key_error, 60), (100, means_outage, 15)]
    )
    def test_third_of_many(
        self, start: Start, total: int, kind_of: Callable[[int], str], most_seconds: int
    ) -> None:
        bad = at_random(0.3, total)
        with start() as running:
            running.bucket.extend(events_with(bad, total, kind_of))
            running.start_many(1)
            seconds = running.wait_for(total - len(bad))
            calls = len(running.calls())
            running.check(total, bad=bad)
        assert calls <= 20 * len(bad)
        assert seconds <= most_seconds
        report(
            f"30% of {total:,} events bad, {kind_of.__name__}",
            calls=calls,
            all_others_after=f"{seconds:.1f} s",
        )

    @pytest.mark.parametrize(
        ("share", "places", "kind_of"),
        [
            (0.3, at_random, key_error),
            (0.3, at_random, one_of_two),
            (0.3, in_a_row, key_error),
            (0.3, every_third, key_error),
            (0.5, at_random, key_error),
            (0.9, at_random, key_error),
        ],
    )
    def test_many(
        self,
        start: Start,
        share: float,
        places: Callable[[float, int], set[int]],
        kind_of: Callable[[int], str],
    ) -> None:
        """All bad events end as dead letters, after ten attempts each."""
        bad = places(share, 500)
        with start(rate=30) as running:
            running.bucket.extend(events_with(bad, 500, kind_of))
            running.start_many(1)
            seconds = running.wait_for(500 - len(bad), seconds=300)
            calls_till_others = len(running.calls())
            running.let_others_come(500)
            running.check(running.bucket.status().processed + len(bad), bad=bad)
            assert running.dead() == sorted(bad)
            assert {letter.attempts for letter in running.bucket.dead} == {10}
            report(
                f"{share:.0%} of 500 events bad, {places.__name__}, {kind_of.__name__}",
                calls=len(running.calls()),
                till_all_others=f"{calls_till_others} calls, {seconds:.0f} s",
                dead=len(bad),
            )


class TestOutage:
    @pytest.mark.parametrize("workers", [1, 4])
    @pytest.mark.parametrize(
        "errors",
        [
            ["RuntimeError"],
            ["EndpointAway"],
            ["OperationalError"],
            ["RuntimeError", "EndpointAway", "OperationalError"],
        ],
        ids="-".join,
    )
    def test_of_an_hour(self, start: Start, errors: list[str], workers: int) -> None:
        with start(rate=240) as running:
            running.serve(*errors)
            running.bucket.extend(range(10_000))
            running.start_many(workers)
            running.sleep(HOUR)
            calls, lines = len(running.calls()), len(running.logs())
            assert calls <= most_calls(HOUR, workers=workers)
            assert lines <= 100
            assert running.bucket.status().dead == 0
            running.serve()
            seconds = running.wait_for(10_000)
            running.check(10_000)
        assert seconds <= 3 * LEASE_SECONDS  # of which one is the longest pause
        report(
            f"endpoint down for an hour, {' '.join(errors)}",
            workers=workers,
            calls=calls,
            log_lines=lines,
            dead=0,
            all_processed_after=f"{seconds:.0f} s",
        )

    @pytest.mark.parametrize(
        ("from_call", "kind_of"),
        [
            (2, key_error),
            (5, key_error),
            (12, key_error),
            (2, like_the_endpoint),
            (5, like_the_endpoint),
        ],
    )
    def test_that_begins_while_a_batch_is_split(
        self, start: Start, from_call: int, kind_of: Callable[[int], str]
    ) -> None:
        with start(rate=240) as running:
            running.serve("RuntimeError", from_call=from_call)
            running.bucket.extend(events_with({333}, 1000, kind_of))
            running.start_many(1)
            running.sleep(HOUR)
            assert running.bucket.status().dead == 0
            calls = len(running.calls())
            first = from_call if kind_of is key_error else from_call + MOST_PROBES_OF_SUSPECTS
            assert calls <= first + most_calls(HOUR, workers=1)
            running.serve()
            seconds = running.wait_for(999)
            running.wait_until_empty()
            running.check(1000, bad={333})
            assert running.dead() == [333]
        report(
            f"outage of an hour from call {from_call} on, with one bad event, {kind_of.__name__}",
            calls=calls,
            all_others_after=f"{seconds:.0f} s",
            dead=1,
        )

    @pytest.mark.parametrize("bad", [1, 5, 150])
    def test_that_begins_after_events_have_failed(self, start: Start, bad: int) -> None:
        """Others have succeeded since, and nothing else comes."""
        seconds = 1200
        with start(rate=30) as running:
            running.bucket.extend(events_with(set(range(bad)), 1000, key_error))
            running.start_many(1)
            running.wait_for(1000 - bad)
            running.serve("RuntimeError")
            running.sleep(10)
            calls_before = len(running.calls())
            running.sleep(seconds)
            calls = len(running.calls()) - calls_before
            assert running.bucket.status().dead == 0
            assert calls <= most_calls(seconds, workers=1) * (1 if bad > PROBES else bad)
            running.serve()
            running.let_others_come(1000)
            running.check(running.bucket.status().processed + bad, bad=set(range(bad)))
            assert running.dead() == [*range(bad)]
        report(
            f"outage of {seconds // 60} minutes after {bad} events have failed alone",
            calls=calls,
            dead=0,
        )

    @pytest.mark.parametrize("workers", [1, 4])
    def test_that_ends_for_seconds_each_minute(self, start: Start, workers: int) -> None:
        """More events come all the time."""
        with start(rate=30, batch_size=10) as running:
            running.serve("RuntimeError")
            running.start_many(workers)
            for minute in range(60):
                running.bucket.extend(range(100 * minute, 100 * minute + 100))
                running.sleep(50)
                running.serve()
                running.sleep(10)
                running.serve("RuntimeError")
            calls, lines = len(running.calls()), len(running.logs())
            processed = running.bucket.status().processed
            running.serve()
            running.wait_until_empty()
            running.check(6_000)
        assert processed >= 5_200
        report(
            "endpoint up for ten seconds each minute, for an hour",
            workers=workers,
            calls=calls,
            log_lines=lines,
            processed=processed,
            dead=0,
        )

    @pytest.mark.parametrize("error", ["ImportError", "AttributeError"])
    def test_broken_deployment_of_a_day(self, start: Start, error: str) -> None:
        with start(rate=1800) as running:
            running.serve(error)
            running.bucket.extend(range(10_000))
            running.start_many(1)
            running.sleep(24 * HOUR)
            calls, lines = len(running.calls()), len(running.logs())
            assert calls <= most_calls(24 * HOUR, workers=1)
            assert lines <= 24 * 100
            assert running.bucket.status().dead == 0
            running.serve()
            running.wait_for(10_000)
            running.check(10_000)
        report(
            f"deployment broken for a day, {error}",
            calls=calls,
            log_lines_per_hour=round(lines / 24),
            dead=0,
        )

    def test_does_not_last_when_old_events_are_bad(self, start: Start) -> None:
        """A hundred bad events look like an outage, until a good one comes."""
        bad = set(range(100))
        with start(rate=120) as running:
            running.bucket.extend(events_with(bad, 100, key_error))
            running.start_many(1)
            wait_until(lambda: any("outage" in line for line in running.logs()))
            running.sleep(600)
            running.bucket.extend(range(100, 1100))
            seconds = running.wait_for(1000)
            assert seconds <= 3 * LEASE_SECONDS
            running.let_others_come(1100)
            running.check(running.bucket.status().processed + len(bad), bad=bad)
            assert running.dead() == sorted(bad)
        report("100 bad events before 1,000 good ones", all_others_after=f"{seconds:.0f} s")


class TestHanging:
    def test_event(self, start: Start) -> None:
        bad = {333}
        with start(rate=30, processor_timeout=10) as running:
            running.bucket.extend(events_with(bad, 2000, lambda number: "hang"))
            deaths = running.supervise(lambda: not running.bucket.status().batches)
            running.check(2000, bad=bad)
            assert running.dead() == [333]
            [letter] = running.bucket.dead
            assert "5 workers died" in letter.error
            assert all("in _fail" in line for line in running.logs() if "not returned" in line)
        # Three deaths of the batch, one on each level of halves, three more of the event alone.
        assert deaths <= 3 + 9 + 3
        report("processor hangs at one event of 2,000", deaths=deaths, dead=1)

    def test_event_that_stands_alone_holds_up_no_other(self, start: Start) -> None:
        with start(rate=30, processor_timeout=10) as running:
            running.bucket.append([0, "hang"])
            running.start_many(1)
            wait_until(lambda: running.workers[-1].poll() is not None)
            running.bucket.extend(range(1, 2000))
            deaths = running.supervise(lambda: not running.bucket.status().batches)
            running.check(2000, bad={0})
            assert running.dead() == [0]
        report("processor hangs at an event alone, before 2,000 others", deaths=deaths, dead=1)

    def test_endpoint(self, start: Start) -> None:
        """While nothing succeeds, no event is buried."""
        with start(rate=30, processor_timeout=10) as running:
            running.bucket.extend([number, "hang"] for number in range(1000))
            deaths = running.supervise(lambda: len(running.workers) == 20)
            assert running.bucket.status().dead == 0
        report("processor hangs at every event", deaths=deaths, dead=0)
