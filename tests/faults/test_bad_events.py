"""Events that fail among others, and an outage that a cron job meets. No time passes faster.

The options are the defaults, unless a test says so.
"""

from collections.abc import Callable

import pytest

from tests.faults.bad_events import at_random, events_with, in_a_row, key_error, own_class
from tests.faults.outages import most_calls
from tests.faults.scale import report, scale
from tests.faults.sites import Start


class TestBadEvents:
    def test_one_of_a_thousand(self, start: Start) -> None:
        with start() as running:
            running.bucket.extend(events_with({333}, 1000, key_error))
            running.start_many(1)
            seconds = running.wait_for(999)
            calls = len(running.calls())
            running.check(1000, bad={333})
        assert calls <= 40
        assert seconds <= 3
        report("one bad event of 1,000", calls=calls, all_others_after=f"{seconds:.1f} s")

    @pytest.mark.parametrize("workers", scale(full=[1, 4], short=[4]))
    @pytest.mark.parametrize(
        ("places", "kind_of"),
        [(at_random, key_error), (in_a_row, key_error), (at_random, own_class)],
    )
    def test_hundred_of_ten_thousand(
        self,
        start: Start,
        places: Callable[[float, int], set[int]],
        kind_of: Callable[[int], str],
        workers: int,
    ) -> None:
        bad = places(0.01, 10_000)
        with start() as running:
            running.bucket.extend(events_with(bad, 10_000, kind_of))
            running.start_many(workers)
            seconds = running.wait_for(9_900)
            calls = len(running.calls())
            running.check(10_000, bad=bad)
        assert calls <= 20 * len(bad)
        assert seconds <= 30
        report(
            f"100 bad events of 10,000, {places.__name__}, {kind_of.__name__}",
            workers=workers,
            calls=calls,
            all_others_after=f"{seconds:.1f} s",
        )

    @pytest.mark.parametrize(
        ("bad", "total", "batch_size", "most_calls"),
        [(3000, 10_000, 1000, 40), (20, 100, 1, 200)],
    )
    def test_before_all_others(
        self, start: Start, bad: int, total: int, batch_size: int, most_calls: int
    ) -> None:
        with start(batch_size=batch_size) as running:
            running.bucket.extend(events_with(set(range(bad)), total, key_error))
            running.start_many(1)
            seconds = running.wait_for(total - bad)
            calls = len(running.calls())
            running.check(total, bad=set(range(bad)))
        assert calls <= most_calls
        report(
            f"the first {bad:,} of {total:,} events bad",
            batch_size=batch_size,
            calls=calls,
            all_others_after=f"{seconds:.1f} s",
        )


class TestOutage:
    def test_with_a_drain_each_minute(self, start: Start) -> None:
        """As a cron job runs drain_buckets. The clock is set forward between two runs."""
        minutes = scale(full=60, short=3)
        with start() as running:
            running.serve("RuntimeError")
            running.bucket.extend(range(10_000))
            for minute in range(minutes):
                running.clock.set(60 * minute)
                assert running.start("--verbosity=0").wait() == 3
            calls, lines = len(running.calls()), len(running.logs())
            assert calls <= most_calls(60 * minutes, workers=1)
            assert lines <= 100
            assert running.bucket.status().dead == 0
            running.serve()
            runs = 0
            while running.bucket.status().batches:
                runs += 1
                running.clock.set(60 * (minutes + runs))
                running.start("--verbosity=0").wait()
            running.check(10_000)
        report(
            f"endpoint down for {minutes} minutes, drain_buckets each minute",
            calls=calls,
            log_lines=lines,
            dead=0,
            runs_to_process_all=runs,
        )
