"""The clock of the server is set while workers work. The options are the defaults, but batches have
ten events.
"""

from itertools import pairwise

import pytest

from tests.faults.scale import report
from tests.faults.sites import Site, Start

STEPS = [3600, -3600, 120, -120, 20, -20, 3 * 24 * 3600]
HOURS = [3600, -3600]


def longest_gap(running: Site) -> float:
    """The longest time between two calls of one worker."""
    gaps = [0.0]
    for worker in running.workers:
        calls = [call for call in running.calls() if call["worker"] == worker.pid]
        gaps += [
            after["seconds"] - after["took"] - before["seconds"]
            for before, after in pairwise(calls)
        ]
    return max(gaps)


def check_first_deliveries(running: Site, total: int) -> None:
    """No lease was believed to have run out: each event came once, in a first delivery."""
    running.check(total)
    assert {call["attempt"] for call in running.calls()} == {1}
    assert running.logs() == []


@pytest.mark.parametrize("step", STEPS)
def test_with_working_workers(start: Start, step: int) -> None:
    with start(rate=15, batch_size=10) as running:
        running.serve(seconds=5)
        running.bucket.extend(range(400))
        running.start_many(4)
        running.sleep(12)
        running.clock.set(step)
        running.wait_for(400)
        check_first_deliveries(running, 400)
        report(
            f"clock set by {step:+} s while 4 workers process",
            twice=0,
            deaths_counted=0,
            longest_gap_between_calls=f"{longest_gap(running):.1f} s",
        )


@pytest.mark.parametrize("step", HOURS)
def test_with_calls_that_last_longer_than_a_lease(start: Start, step: int) -> None:
    """The clock is set three times."""
    with start(rate=60, batch_size=10) as running:
        running.serve(seconds=200)
        running.bucket.extend(range(120))
        running.start_many(4)
        for seconds in (step, 0, step):
            running.sleep(100)
            running.clock.set(seconds)
        running.wait_for(120)
        check_first_deliveries(running, 120)
        report(f"clock set by {step:+} s three times, calls of 200 s", twice=0, deaths_counted=0)


@pytest.mark.parametrize("step", [*HOURS, 100])
def test_before_further_workers_start(start: Start, step: int) -> None:
    """They claim at once, while the lease of the first one seems to have run out."""
    with start(rate=5, batch_size=10) as running:
        running.serve(seconds=25)
        running.bucket.extend(range(40))
        running.start_many(1)
        running.sleep(4)
        running.clock.set(step)
        for _ in range(3):
            running.start()
        running.wait_for(40)
        check_first_deliveries(running, 40)
        report(f"workers started just after the clock was set by {step:+} s", twice=0)


@pytest.mark.parametrize("is_killed_first", [True, False])
@pytest.mark.parametrize("step", HOURS)
def test_with_a_worker_that_is_killed(start: Start, step: int, is_killed_first: bool) -> None:
    with start(rate=20, batch_size=10) as running:
        running.serve(seconds=5)
        running.bucket.extend(range(400))
        running.start_many(4)
        running.sleep(12)
        if is_killed_first:
            running.workers[0].kill()
        running.clock.set(step)
        if not is_killed_first:
            running.workers[0].kill()
        running.serve()
        seconds = running.wait_for(400)
        running.check(400)
        report(
            f"worker killed just {'before' if is_killed_first else 'after'} the clock was set by "
            f"{step:+} s",
            all_processed_after=f"{seconds:.0f} s",
        )


@pytest.mark.parametrize("step", HOURS)
@pytest.mark.parametrize("is_outage", [True, False])
def test_does_not_stop_retries(start: Start, step: int, is_outage: bool) -> None:
    """They go on long before an hour is over, which would be three minutes here."""
    with start(rate=20) as running:
        running.bucket.extend([[0, "KeyError"], *range(1, 1000)])
        if is_outage:
            running.serve("RuntimeError")
        running.start_many(1)
        running.sleep(100)
        count = len(running.calls())
        running.clock.set(step)
        first, second = (running.wait_for_calls(count + number) for number in (1, 2))
        report(
            f"clock set by {step:+} s in {'an outage' if is_outage else 'a backoff'}",
            tries_after=f"{first:.0f} and {first + second:.0f} s",
        )
