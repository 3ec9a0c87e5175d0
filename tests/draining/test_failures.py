import asyncio
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.draining.cursors import MOST_TRIES
from django_jsonbuffer.draining.drain import Drain
from django_jsonbuffer.draining.outages import MOST_PROBES, PROBES, ROW_TO_PROBE
from django_jsonbuffer.encoding import JSONEncoder
from django_jsonbuffer.exceptions import (
    BufferUnavailable,
    DestinationUnavailable,
    InvalidEvent,
    LeaseLost,
)
from django_jsonbuffer.store.claims import Claim
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from tests.clock import Clock
from tests.draining.drains import (
    drain_all,
    drain_until,
    impatient,
    let_outage_last,
    refuse,
    refuse_all,
    report,
)
from tests.prepared import drain_of
from tests.server import Redis, both_servers, real_server

pytestmark = both_servers


class TestFailure:
    @pytest.mark.parametrize("error", [ValueError, SystemExit, RecursionError, MemoryError])
    def test_event_is_kept_and_the_others_go_on(
        self, bucket: Bucket, error: type[BaseException]
    ) -> None:
        got = refuse(bucket, "bad", error=error)
        bucket.extend([1, 2, "bad", 3, 4, 5])
        assert bucket.drain() == report(processed=5, batches=3, failed=2)
        assert got == [1, 2, 3, 4, 5]
        assert bucket.status().pending == 1
        assert bucket.peek() == ["bad"]

    def test_comes_again_after_its_backoff_with_the_same_id(self, bucket: Bucket) -> None:
        seen: list[tuple[str, int]] = []

        def fail_once(batch: Batch) -> None:
            seen.append((batch.id, batch.attempt))
            if batch.attempt == 1:
                raise ValueError

        bucket.processor(fail_once)
        bucket.append(1)
        assert bucket.drain() == report(failed=1)
        assert bucket.drain() == report()
        drain_until(bucket, processed=1)
        [(first, _), (second, _)] = seen
        assert first == second
        assert [attempt for _, attempt in seen] == [1, 2]

    def test_one_drain_tries_an_event_once_even_without_backoff(self) -> None:
        bucket = impatient(batch_size=1)
        attempts: list[int] = []

        def fail(batch: Batch) -> None:
            attempts.append(batch.attempt)
            raise ValueError

        bucket.processor(fail)
        bucket.extend([1, 2])
        assert bucket.drain() == report(failed=2)
        assert bucket.drain() == report(failed=2)
        assert attempts == [1, 1, 2, 2]

    def test_changed_batch_comes_again_as_it_was(self, bucket: Bucket) -> None:
        got: list[Any] = []

        def spoil(batch: Batch) -> None:
            got.append(dict(batch[0]))
            batch[0].clear()
            if batch.attempt == 1:
                raise ValueError

        bucket.processor(spoil)
        bucket.append({"a": 1})
        bucket.drain()
        drain_until(bucket, processed=1)
        assert got == [{"a": 1}, {"a": 1}]

    def test_cancelled_coroutine_is_a_failure(self, bucket: Bucket) -> None:
        async def store(batch: Batch) -> None:
            raise asyncio.CancelledError

        bucket.processor(store)
        bucket.extend([1, 2, 3])
        assert bucket.drain() == report(failed=4)

    def test_generator_that_never_ran_is_a_failure(self, bucket: Bucket) -> None:
        bucket.processor(lambda batch: (event for event in batch))
        bucket.append(1)
        assert bucket.drain() == report(failed=1)


class TestHalving:
    def test_finds_the_event_within_one_drain_and_few_calls(self) -> None:
        bucket = Bucket("orders")
        got = refuse(bucket, 317)
        bucket.extend(range(1000))
        done = bucket.drain()
        assert (done.processed, done.buried) == (999, 0)
        # The batch, and two halves on each of ten levels.
        assert done.batches + done.failed <= 1 + 2 * 10
        assert sorted(got) == [number for number in range(1000) if number != 317]
        assert bucket.peek() == [317]

    def test_halves_come_before_later_batches(self) -> None:
        bucket = Bucket("orders", batch_size=2)
        got = refuse(bucket, 2)
        bucket.extend(range(1, 7))
        bucket.drain()
        assert got == [1, 3, 4, 5, 6]

    def test_halves_are_new_batches_in_their_first_attempt(self, bucket: Bucket) -> None:
        seen: list[tuple[str, int]] = []

        def fail_both(batch: Batch) -> None:
            seen.append((batch.id, batch.attempt))
            if len(batch) == 2:
                raise ValueError

        bucket.processor(fail_both)
        bucket.extend([1, 2])
        assert bucket.drain() == report(processed=2, batches=2, failed=1)
        assert len({id for id, _ in seen}) == 3
        assert {attempt for _, attempt in seen} == {1}

    def test_of_many_bad_events_takes_few_calls_for_each(self) -> None:
        bucket = Bucket("orders")
        bad = set(range(7, 10_000, 100))
        got = refuse(bucket, *bad)
        bucket.extend(range(10_000))
        done = bucket.drain()
        assert sorted(got) == [number for number in range(10_000) if number not in bad]
        assert done.batches + done.failed <= 20 * len(bad)
        assert bucket.status().pending == len(bad)

    def test_needs_no_call_for_pieces_that_another_worker_has_taken_over(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        split: Any = Store.split

        def overtaken(store: Store, claim: Claim, *args: Any, **options: Any) -> None:
            store.claim("heir", lease=timedelta(0), linger=None)
            split(store, claim, *args, **options)

        refuse(bucket, 1)
        monkeypatch.setattr(Store, "split", overtaken)
        bucket.extend([1, 2])
        assert bucket.drain() == report(failed=1)
        assert bucket.status().in_flight == 2
        assert "Another worker processes the batch" in caplog.text


class TestUnreadable:
    """Another client put an entry into the stream that looks like a batch and cannot be read."""

    @pytest.fixture(autouse=True)
    def _between_two_of_ours(self, bucket: Bucket, client_of_server: Redis) -> None:
        bucket.extend([1, 2])
        fields: Any = {"events": '["secret', "count": 3, "opened": 1}
        client_of_server.xadd(f"{bucket.key}:batches", fields)
        bucket.extend([3, 4, 5])

    def test_is_buried_whole_by_a_drain(
        self, bucket: Bucket, client_of_server: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        got: list[Any] = []
        bucket.processor(got.extend)
        assert bucket.drain() == report(processed=5, batches=3, buried=1)
        assert got == [1, 2, 3, 4, 5]
        [(_, letter)] = client_of_server.xrange(f"{bucket.key}:dead")
        assert letter[b"event"] == b'["secret'
        assert letter[b"attempts"] == b"0"
        assert b"JSONDecodeError" in letter[b"error"]
        assert "secret" not in caplog.text
        status = bucket.status()
        assert (status.pending, status.in_flight, status.dead, status.bytes) == (0, 0, 1, 0)

    @pytest.mark.parametrize(
        "array", ["[" * 100_000 + "]" * 100_000, "[NaN]", "[-Infinity]", "{}", "\ufeff[1]"], ids=len
    )
    def test_so_is_what_json_would_read_or_choke_on(
        self, bucket: Bucket, client_of_server: Redis, array: str
    ) -> None:
        client_of_server.xadd(f"{bucket.key}:batches", {"events": array, "count": 1, "opened": 1})
        bucket.processor(lambda batch: None)
        assert bucket.drain() == report(processed=5, batches=3, buried=2)

    def test_that_is_no_longer_held_stays_where_it_is(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        bury: Any = Store.bury

        def overtaken(store: Store, claim: Claim, *args: Any, **options: Any) -> None:
            store.claim("heir", lease=timedelta(0), linger=None)
            bury(store, claim, *args, **options)

        bucket.processor(lambda batch: None)
        monkeypatch.setattr(Store, "bury", overtaken)
        assert bucket.drain().buried == 0
        assert bucket.status().dead == 0
        assert "no longer held" in caplog.text


class TestAttempts:
    def test_of_a_bad_event_end_among_the_dead_letters(self) -> None:
        bucket = impatient(max_attempts=3)
        refuse(bucket, 4567, message="no room for 4567")
        bucket.extend(range(10_000))
        total = drain_all(bucket)
        assert (total.processed, total.buried) == (9999, 1)
        [letter] = bucket.dead
        assert letter.event == 4567
        assert letter.error == "ValueError: no room for 4567"
        assert "in store" in letter.traceback
        assert letter.attempts == 3
        assert letter.first_failed
        assert letter.last_failed
        assert letter.first_failed <= letter.last_failed

    @pytest.mark.parametrize(
        "is_bad", [lambda n: n % 3 == 0, lambda n: n < 90, lambda n: n % 100 >= 70]
    )
    def test_bury_exactly_the_bad_events_of_many(self, is_bad: Callable[[int], bool]) -> None:
        bucket = impatient(batch_size=100, max_attempts=2)
        bad = set(filter(is_bad, range(1000)))
        got = refuse(bucket, *bad)
        bucket.extend(range(1000))
        drain_all(bucket)
        assert {letter.event for letter in bucket.dead} == bad
        assert sorted(got) == [number for number in range(1000) if number not in bad]

    @pytest.mark.parametrize("retries", [1, 3])
    def test_count_if_the_error_is_another_one_each_time(self, retries: int) -> None:
        """While others succeed, it is the event that fails. Every second success counts."""
        bucket = impatient(batch_size=1)
        calls = 0

        def store(batch: Batch) -> None:
            nonlocal calls
            if batch[0] == "bad":
                calls += 1
                raise ValueError("o" * calls)

        bucket.processor(store)
        bucket.append("bad")
        for number in range(21):
            assert bucket.status().dead == 0 or number == 20
            bucket.append(number)
            for _ in range(retries):
                bucket.drain()
        [letter] = bucket.dead
        assert letter.event == "bad"

    def test_are_not_counted_before_another_event_has_succeeded(self) -> None:
        bucket = impatient(batch_size=1, max_attempts=1)
        refuse(bucket, "bad")
        bucket.append("bad")
        for _ in range(20):
            assert bucket.drain() == report(failed=1)
        bucket.append("good")
        assert bucket.drain() == report(processed=1, batches=1, failed=1)
        assert bucket.drain() == report(failed=1, buried=1)
        assert [letter.event for letter in bucket.dead] == ["bad"]
        assert bucket.status().batches == 0

    def test_success_before_the_first_failure_does_not_count(self) -> None:
        bucket = impatient(batch_size=1, max_attempts=1)
        refuse(bucket, "bad")
        bucket.extend(["good", "bad"])
        for _ in range(3):
            bucket.drain()
        assert bucket.status().dead == 0

    def test_of_one_event_hold_up_no_other(self) -> None:
        bucket = Bucket("orders", batch_size=1)
        got = refuse(bucket, "bad")
        bucket.append("bad")
        for number in range(20):
            bucket.append(number)
            bucket.drain()
        assert got == [*range(20)]

    @pytest.mark.parametrize(
        "error", [MemoryError, RecursionError, SystemExit, asyncio.CancelledError, OperationalError]
    )
    def test_count_whatever_is_raised(self, error: type[BaseException]) -> None:
        bucket = impatient(batch_size=1, max_attempts=2)
        refuse(bucket, "bad", error=error)
        bucket.append("bad")
        bucket.drain()
        for _ in range(2):
            bucket.append("good")
            bucket.drain()
        assert drain_all(bucket).buried == 1

    def test_count_a_lease_that_was_lost_elsewhere(self) -> None:
        bucket = impatient(batch_size=1, max_attempts=2)
        refuse(bucket, "bad", error=LeaseLost)
        bucket.extend(["bad", "good"])
        assert drain_all(bucket).buried == 1


@pytest.fixture
def drains_set_the_clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of Redis stands still, so no backoff ends on a slow machine before a drain waits
    for it. A drain that waits sets the clock, and takes no time."""

    def wait(drain: Drain) -> bool:
        if drain.next_seconds is None:
            return False
        clock.step(timedelta(seconds=math.ceil(8 * drain.next_seconds) / 8))  # see Clock.stop()
        return True

    clock.stop(datetime.now(UTC).replace(microsecond=0))
    monkeypatch.setattr(Drain, "wait", wait)


@real_server
class TestOutage:
    """The processor fails with everything."""

    @pytest.mark.parametrize("error", [RuntimeError, ImportError, OSError, OperationalError])
    def test_buries_nothing(self, error: type[Exception]) -> None:
        bucket = impatient(batch_size=100, max_attempts=1)
        is_away, calls = True, 0

        def store(batch: Batch) -> None:
            nonlocal calls
            calls += 1
            if is_away:
                raise error

        bucket.processor(store)
        bucket.extend(range(1000))
        for _ in range(30):
            bucket.drain()
        assert bucket.status().outage is not None
        assert (bucket.status().pending, bucket.status().dead) == (1000, 0)
        assert calls < 100
        is_away = False
        assert drain_all(bucket).processed == 1000
        assert (bucket.status().outage, bucket.status().dead) == (None, 0)

    @pytest.mark.usefixtures("drains_set_the_clock")
    def test_costs_few_calls_and_then_one_after_each_pause(self) -> None:
        bucket = Bucket("orders")
        refuse_all(bucket)
        bucket.extend(range(10_000))
        assert bucket.drain().failed == ROW_TO_PROBE + PROBES + MOST_TRIES
        assert bucket.drain().failed <= 1
        with drain_of(bucket) as drain:
            assert not drain.step()
            assert drain.is_failing

    @pytest.mark.usefixtures("drains_set_the_clock")
    def test_of_single_events_holds_up_later_ones_only_when_several_have_failed(self) -> None:
        bucket = Bucket("orders", batch_size=1)
        refuse_all(bucket)
        bucket.extend(range(20))
        assert bucket.drain().failed == PROBES + MOST_TRIES
        assert bucket.status().pending == 20

    def test_splits_batches_more_seldom_after_a_number_of_probes(self) -> None:
        bucket = impatient(batch_size=100)
        refuse_all(bucket)
        bucket.extend(range(1000))
        for _ in range(2 * MOST_PROBES):
            bucket.drain()
        assert bucket.status().batches <= 10 + ROW_TO_PROBE + MOST_PROBES
        tries = 200
        for _ in range(tries):
            assert bucket.drain() == report(failed=1)
        assert bucket.status().batches <= 10 + ROW_TO_PROBE + MOST_PROBES + tries / 2

    def test_hides_no_good_events_between_many_bad_ones(self) -> None:
        bucket = impatient(batch_size=500, max_attempts=1)
        ends = [*range(100), *range(400, 500)]
        got = refuse(bucket, *ends)
        bucket.extend(range(500))
        for _ in range(1000):
            bucket.drain()
        assert sorted(got) == [*range(100, 400)]

    def test_hides_no_good_pieces_from_drains_that_end(self) -> None:
        """More than a hundred bad events stand alone, and the good pieces lie behind them."""
        bucket = impatient()
        got = refuse(bucket, *range(150))
        bucket.extend(range(1000))
        for _ in range(40):
            bucket.drain()
        assert sorted(got) == [*range(150, 1000)]

    @pytest.mark.parametrize("error", [OSError, OperationalError])
    def test_hides_no_good_events_in_batches_with_a_bad_one(self, error: type[Exception]) -> None:
        bucket = impatient(batch_size=100, max_attempts=1)
        bad = [10, 150, 290]
        got = refuse(bucket, *bad, error=error)
        bucket.extend(range(300))
        for _ in range(60):
            bucket.drain()
        assert sorted(got) == [event for event in range(300) if event not in bad]
        for event in range(300, 310):
            bucket.append(event)
            bucket.drain()
        assert sorted(letter.event for letter in bucket.dead) == bad

    def test_of_few_events_has_a_beginning_and_an_end(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket = impatient(batch_size=1)
        refuse_all(bucket)
        bucket.append(1)
        for _ in range(PROBES):
            assert bucket.status().outage is None
            bucket.drain()
        assert bucket.status().outage is not None
        assert "so it is kept, as in an outage" in caplog.text
        bucket.processor(lambda batch: None)
        assert bucket.drain().processed == 1
        assert "the outage is over" in caplog.text
        assert bucket.status().outage is None

    @pytest.mark.usefixtures("drains_set_the_clock")
    @pytest.mark.parametrize("max_attempts", [2, 10])
    def test_with_the_error_of_a_bad_event_buries_nothing(self, max_attempts: int) -> None:
        """It begins when half of the batch has succeeded, and nothing else comes."""
        bucket = Bucket("orders", max_attempts=max_attempts)
        calls, is_away = 0, False

        def store(batch: Batch) -> None:
            nonlocal calls, is_away
            calls += 1
            if is_away or 700 in batch:
                raise RuntimeError("no")
            is_away = True

        bucket.processor(store)
        bucket.extend(range(1000))
        bucket.drain()
        assert bucket.status().outage is not None
        assert bucket.status().dead == 0
        assert calls <= 200

    def test_of_events_that_failed_before_lets_workers_wait(self) -> None:
        """They failed with an exception that means an outage, and all others have succeeded."""
        bucket = impatient(batch_size=10)
        refuse(bucket, *range(0, 360, 3), error=OperationalError)
        bucket.extend(range(360))
        while bucket.status().processed < 240:
            bucket.drain()
        for _ in range(10):
            bucket.drain()
        assert bucket.status().outage is not None
        assert bucket.drain() == report(failed=1)

    def test_ends_with_the_first_success_and_says_how_long_it_was(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket = impatient(batch_size=1)
        refuse(bucket, *range(PROBES))
        bucket.extend(range(PROBES))
        bucket.drain()
        bucket.append("good")
        bucket.drain()
        bucket.drain()
        assert "the outage is over, after 0:00:0" in caplog.text
        assert bucket.status().outage is None

    def test_that_is_over_is_drained_at_once(self) -> None:
        bucket = impatient(batch_size=1)
        refuse_all(bucket)
        bucket.extend(range(20))
        for _ in range(5):
            bucket.drain()
        bucket.processor(lambda batch: None)
        assert bucket.drain() == report(processed=20, batches=20)

    def test_that_is_over_is_not_held_against_events(self, client_of_server: Redis) -> None:
        bucket = impatient(batch_size=1, max_attempts=1)
        is_away = True

        def store(batch: Batch) -> None:
            if is_away or batch[0] == "bad":
                raise RuntimeError

        bucket.processor(store)
        bucket.extend([*range(10), "bad"])
        for _ in range(3):
            bucket.drain()
        let_outage_last(client_of_server, bucket, seconds=11)
        is_away = False
        bucket.append("one")
        with drain_of(bucket) as drain:
            drain.step()
        is_away = True
        bucket.drain()
        bucket.drain()
        assert bucket.status().dead == 0
        is_away = False
        assert drain_all(bucket).buried == 1

    def test_in_the_middle_of_halving_buries_no_other_event(self) -> None:
        bucket = impatient(max_attempts=2)
        is_away, calls = False, 0

        def store(batch: Batch) -> None:
            nonlocal calls, is_away
            calls += 1
            is_away |= calls == 5
            if is_away:
                raise OSError("no route to host")
            if 3 in batch:
                raise ValueError

        bucket.processor(store)
        bucket.extend(range(1000))
        for _ in range(20):
            bucket.drain()
        assert calls < 5 + 100
        is_away = False
        drain_all(bucket)
        assert [letter.event for letter in bucket.dead] == [3]

    def test_in_the_middle_of_halving_is_known_by_the_message_if_the_class_is_the_same(
        self,
    ) -> None:
        bucket = impatient(max_attempts=1)
        calls, bad = 0, {3, 333, 666}

        def store(batch: Batch) -> None:
            nonlocal calls
            calls += 1
            if calls > 12:
                raise OSError("503 Server Error: not now")
            if not bad.isdisjoint(batch):
                raise OSError("422 Client Error: no such customer")

        bucket.processor(store)
        bucket.extend(range(1000))
        for _ in range(30):
            bucket.drain()
        assert bucket.status().outage is not None
        assert calls < 12 + 30 + 40
        assert {letter.event for letter in bucket.dead} <= bad

    def test_that_a_good_event_ends_each_time_keeps_no_bad_event_for_ever(
        self, client_of_server: Redis
    ) -> None:
        """Five bad events look like an outage, and one good event comes a minute."""
        bucket = impatient(batch_size=1)
        bad = [*range(PROBES)]
        refuse(bucket, *bad)
        bucket.extend(bad)
        bucket.drain()
        let_outage_last(client_of_server, bucket, seconds=60)
        for event in range(100, 120):
            bucket.append(event)
            bucket.drain()
            if bucket.status().outage is not None:
                let_outage_last(client_of_server, bucket, seconds=60)
        assert sorted(letter.event for letter in bucket.dead) == bad

    def test_of_new_bad_events_again_and_again_keeps_no_old_one_for_ever(
        self, client_of_server: Redis
    ) -> None:
        """Each good event is followed by as many bad ones as look like an outage."""
        bucket = impatient(batch_size=1)
        got: list[int] = []

        def store(batch: Batch) -> None:
            if batch[0] < 0:
                raise ValueError("no")
            got.extend(batch)

        bucket.processor(store)
        for number in range(30):
            bucket.append(number)
            bucket.drain()
            bucket.extend(range(-PROBES * (number + 1), -PROBES * number))
            bucket.drain()
            if bucket.status().outage is not None:
                let_outage_last(client_of_server, bucket, seconds=60)
        old = range(-PROBES * 10, 0)
        assert {*old} <= {letter.event for letter in bucket.dead}
        assert got == [*range(30)]

    def test_is_noticed_though_workers_have_died_with_the_events(self) -> None:
        bucket = impatient(batch_size=1)
        bucket.extend(range(30))
        store = bucket._definition.parts.store
        for number in range(30):
            lease = timedelta(minutes=1)
            assert store.claim(f"dead {number}", lease=lease, linger=None).claim is not None
        calls = 0

        def refuse_each(batch: Batch) -> None:
            nonlocal calls
            calls += 1
            raise ValueError("no")

        bucket.processor(refuse_each)
        for _ in range(20):
            bucket.drain()
        assert calls <= 20 + 2 * PROBES + MOST_TRIES

    @pytest.mark.parametrize(
        ("error", "outages"), [(ValueError, 2), (OperationalError, 2), (OperationalError, 3)]
    )
    def test_that_follows_another_one_buries_nothing(
        self, client_of_server: Redis, error: type[Exception], outages: int
    ) -> None:
        """One event succeeds between two of them, and nothing new comes."""
        bucket = impatient(batch_size=1)
        lets_through = 0

        def store(batch: Batch) -> None:
            nonlocal lets_through
            lets_through -= 1
            if lets_through < 0:
                raise error("no")

        bucket.processor(store)
        bucket.extend(range(8))
        for _ in range(outages):
            for _ in range(20):
                bucket.drain()
            assert bucket.status().outage is not None
            let_outage_last(client_of_server, bucket, seconds=3600)
            lets_through = 1
            with drain_of(bucket) as drain:
                drain.step()
            lets_through = 0
        assert (bucket.status().processed, bucket.status().dead) == (outages, 0)

    @pytest.mark.parametrize("blips", [1, 2, 3, 4])
    def test_that_begins_after_short_ones_buries_nothing(self, blips: int) -> None:
        """An event fails in each short one, with a new error each time. Then a long one begins."""
        bucket = impatient(batch_size=1)
        error = ""

        def store(batch: Batch) -> None:
            if error and not str(batch[0]).isdigit():
                raise OSError(error)

        bucket.processor(store)
        bucket.append("unlucky")
        for event, blip in enumerate(["refused", "no route", "bad gateway", "reset"][:blips]):
            error = blip
            bucket.append(event)
            bucket.drain()
        error = "internal server error"
        for _ in range(30):
            bucket.drain()
        assert (bucket.status().pending, bucket.status().dead) == (1, 0)

    @pytest.mark.parametrize("bad", [1, 5, 150])
    def test_that_begins_after_events_have_failed_buries_none_of_them(self, bad: int) -> None:
        """They failed with another error, and nothing else comes."""
        bucket = impatient()
        is_away, calls = False, 0

        def store(batch: Batch) -> None:
            nonlocal calls
            calls += 1
            if is_away:
                raise OSError("503 Server Error: not now")
            if min(batch) < bad:
                raise OSError("422 Client Error: no such customer")

        bucket.processor(store)
        bucket.extend(range(1000))
        while bucket.status().processed < 1000 - bad:
            bucket.drain()
        is_away, calls = True, 0
        for _ in range(50):
            bucket.drain()
        assert bucket.status().dead == 0
        assert bucket.status().outage is not None
        assert calls <= (50 * bad if bad <= 5 else 100)
        is_away = False
        for event in range(1000, 1020):
            bucket.append(event)
            bucket.drain()
        drain_all(bucket)
        assert sorted(letter.event for letter in bucket.dead) == [*range(bad)]

    def test_does_not_look_like_one_when_one_batch_alone_is_bad(self) -> None:
        bucket = Bucket("orders", batch_size=100)
        got = refuse(bucket, *range(100))
        bucket.extend(range(1000))
        bucket.drain()
        assert sorted(got) == [*range(100, 1000)]
        assert bucket.status().outage is None


@real_server
class TestOutageByException:
    @pytest.mark.parametrize(
        "error",
        [OperationalError, InterfaceError, ConnectionRefusedError, TimeoutError, BufferUnavailable],
    )
    def test_keeps_the_batch_whole(self, error: type[Exception]) -> None:
        bucket = impatient(batch_size=2, max_attempts=1)
        seen: list[str] = []
        is_away = True

        def store(batch: Batch) -> None:
            seen.append(batch.id)
            if is_away:
                raise error

        bucket.processor(store)
        bucket.extend([1, 2])
        for _ in range(2):
            assert bucket.drain() == report(failed=1)
        is_away = False
        assert bucket.drain() == report(processed=2, batches=2)
        assert bucket.status().dead == 0
        first, second, *halves = seen
        assert first == second
        assert len({*halves}) == 2

    def test_may_be_meant_by_errors_of_the_project(self) -> None:
        bucket = impatient(batch_size=2, max_attempts=1, outage_errors=(LookupError,))
        refuse_all(bucket, error=KeyError)
        bucket.extend([1, 2])
        assert bucket.drain() == report(failed=1)
        assert bucket.status().batches == 1

    def test_is_noticed_after_three_batches(self) -> None:
        bucket = Bucket("orders", batch_size=1)
        refuse_all(bucket, error=OperationalError)
        bucket.extend(range(20))
        assert bucket.drain() == report(failed=4)
        assert bucket.status().pending == 20

    def test_that_many_events_have_holds_up_no_other(self) -> None:
        bucket = impatient(batch_size=100)
        bad = [n for n in range(100) if n % 10 < 3]
        got = refuse(bucket, *bad, error=OperationalError)
        bucket.extend(range(100))
        for _ in range(20):
            bucket.drain()
        assert sorted(got) == [n for n in range(100) if n not in bad]

    def test_that_an_event_had_once_is_not_held_against_it(self) -> None:
        """A deadlock, and later an outage."""
        bucket = impatient(batch_size=1, max_attempts=2)
        refuse(bucket, "deadlocked", error=OperationalError)
        bucket.extend(["deadlocked", "other"])
        bucket.drain()
        refuse_all(bucket, error=OperationalError)
        for _ in range(20):
            bucket.drain()
        assert (bucket.status().pending, bucket.status().dead) == (1, 0)

    def test_that_begins_when_half_a_batch_has_succeeded_buries_nothing(self) -> None:
        bucket = impatient(batch_size=4, max_attempts=2)
        calls = 0

        def store(batch: Batch) -> None:
            nonlocal calls
            calls += 1
            if calls > 2:
                raise ConnectionResetError
            if "bad" in batch:
                raise ValueError

        bucket.processor(store)
        bucket.extend([1, 2, 3, "bad"])
        for _ in range(20):
            bucket.drain()
        assert (bucket.status().pending, bucket.status().dead) == (2, 0)

    def test_that_one_batch_only_has_holds_up_no_other(self) -> None:
        bucket = Bucket("orders", batch_size=1)
        refuse(bucket, *range(1, 20, 2), error=OperationalError)
        bucket.extend(range(20))
        assert bucket.drain() == report(processed=10, batches=10, failed=10)

    @pytest.mark.parametrize("bad", [1, 2, 5])
    def test_that_the_oldest_batches_have_each_time_holds_up_no_other(self, bad: int) -> None:
        bucket = impatient(batch_size=1)
        got = refuse(bucket, *range(bad), error=OperationalError)
        bucket.extend(range(20))
        for _ in range(bad):
            bucket.drain()
        assert sorted(got) == [*range(bad, 20)]

    def test_that_some_events_of_a_batch_have_for_ever_keeps_back_no_other_event(self) -> None:
        """Errors that only some events raise are not an outage."""
        bucket = impatient(batch_size=100, max_attempts=3)
        got = refuse(bucket, 7, error=OperationalError)
        bucket.extend(range(100))
        for number in range(100, 110):
            bucket.append(number)
            bucket.drain()
        assert sorted(got) == [n for n in range(110) if n != 7]
        assert [letter.event for letter in bucket.dead] == [7]

    def test_that_one_event_of_the_only_batch_has_keeps_back_no_other_event(self) -> None:
        bucket = impatient(batch_size=100)
        got = refuse(bucket, 7, error=OperationalError)
        bucket.extend(range(100))
        for _ in range(3):
            bucket.drain()
        assert sorted(got) == [n for n in range(100) if n != 7]

    def test_makes_watching_workers_pause_together(self) -> None:
        bucket = Bucket("orders", batch_size=1)
        refuse_all(bucket, error=OperationalError)
        bucket.extend(range(20))
        with drain_of(bucket, watch=True) as drain, drain_of(bucket, watch=True) as other:
            assert all(drain.step() for _ in range(3))
            assert not drain.step()
            assert not other.step()
        assert drain.report.failed == 3


class TestRetryAfter:
    """The processor raises an error that says how long to wait."""

    def test_lets_all_batches_wait_from_the_first_failure_on(self) -> None:
        bucket = Bucket("orders", batch_size=1)
        calls = self.ask_to_wait(bucket, timedelta(seconds=20))
        bucket.extend([1, 2, 3])
        assert bucket.drain() == report(failed=1)
        assert bucket.drain() == report()
        assert calls == [1]
        with drain_of(bucket) as drain:
            assert not drain.step()
            assert drain.is_failing

    @pytest.mark.parametrize(
        ("asked", "lease", "least"), [(3, 60, 3), (7200, 60, 60), (0, 60, 0), (-5, 60, 0)]
    )
    def test_is_the_least_pause_up_to_the_lease(self, asked: int, lease: int, least: int) -> None:
        bucket = Bucket("orders", batch_size=1, lease=timedelta(seconds=lease))
        self.ask_to_wait(bucket, timedelta(seconds=asked))
        bucket.append(1)
        with drain_of(bucket, watch=True) as drain:
            assert drain.step()
            store = bucket._definition.parts.store
            found = store.claim("other", lease=timedelta(seconds=lease), linger=None)
        assert found.claim is None
        assert found.wait is not None
        waits = found.wait.total_seconds() if found.reason == "outage" else 0
        assert least - 1 < waits <= least

    def test_batch_comes_again_after_it(self) -> None:
        bucket = Bucket("orders", batch_size=2)
        calls = self.ask_to_wait(bucket, timedelta(seconds=1.5), times=1)
        bucket.extend([1, 2])
        began = time.monotonic()
        assert bucket.drain().failed == 1
        drain_until(bucket, processed=2)
        assert 1.5 <= time.monotonic() - began < 5
        assert calls == [1, 1]

    def test_holds_for_the_batch_if_another_worker_succeeds(self, clock: Clock) -> None:
        bucket = Bucket("orders", batch_size=1)
        self.ask_to_wait(bucket, timedelta(seconds=30), times=1)
        bucket.extend([2, 1])
        store = bucket._definition.parts.store
        other = store.claim("other", lease=timedelta(minutes=1), linger=None).claim
        assert other is not None
        assert bucket.drain() == report(failed=1)
        store.ack(other)
        clock.step(timedelta(seconds=10))
        assert bucket.drain() == report()
        clock.step(timedelta(seconds=21))
        assert bucket.drain() == report(processed=1, batches=1)

    def test_is_no_attempt_even_if_others_succeed(self) -> None:
        bucket = Bucket("orders", batch_size=1, max_attempts=1, lease=timedelta(milliseconds=1))
        calls = self.ask_to_wait(bucket, timedelta(seconds=1), times=10)
        bucket.append(1)
        for other in range(2, 1000):
            bucket.append(other)
            bucket.drain()
            if calls.count(1) > 10:
                break
        assert calls.count(1) == 11
        assert bucket.status().dead == 0

    @pytest.mark.parametrize("value", [5, "5", None])
    def test_of_another_type_is_ignored(self, value: object) -> None:
        bucket = Bucket("orders", batch_size=1)

        def fail(batch: Batch) -> None:
            error = ConnectionError("no")
            error.retry_after = value  # type: ignore[attr-defined]
            raise error

        bucket.processor(fail)
        bucket.append(1)
        assert bucket.drain() == report(failed=1)

    @staticmethod
    def ask_to_wait(bucket: Bucket, asked: timedelta, *, times: int = 1000) -> list[int]:
        """Give the bucket a processor that refuses event 1 so often. Returns the events it got."""
        calls: list[int] = []

        def send(batch: Batch) -> None:
            calls.append(batch[0])
            if batch[0] == 1 and calls.count(1) <= times:
                raise DestinationUnavailable("busy", retry_after=asked)

        bucket.processor(send)
        return calls


class TestUndecodable:
    """Another client appended values that Python cannot read."""

    def test_is_found_and_buried_alone(self, bucket: Bucket, client_of_server: Redis) -> None:
        got: list[Any] = []
        bucket.processor(got.extend)
        huge, deep = "9" * 5000, "[" * 100_000 + "]" * 100_000
        array = f'[1, {huge},\t[2], {deep}, {{"a": ",]"}}]'
        client_of_server.xadd(f"{bucket.key}:batches", {"events": array, "count": 5, "opened": 1})
        assert bucket.drain() == report(processed=3, batches=3, buried=2)
        assert sorted(got, key=str) == [1, [2], {"a": ",]"}]
        assert {len(letter.raw) for letter in bucket.dead} == {5000, 200_000}

    def test_by_the_encoder_of_the_project_which_may_be_mended(
        self, configure: Callable[..., None]
    ) -> None:
        configure(ENCODER=f"{__name__}.{Knowing.__name__}")
        bucket = impatient(max_attempts=2)
        got: list[Any] = []
        bucket.processor(got.extend)
        bucket.extend([{"kind": "a"}, {"kind": "unknown"}, {"kind": "a"}])
        assert bucket.drain() == report(processed=2, batches=2, failed=3)
        assert drain_all(bucket).buried == 1
        assert got == [1, 1]
        with pytest.raises(InvalidEvent):
            next(iter(bucket.dead)).event  # noqa: B018

    def test_by_an_encoder_that_decodes_one_event_after_the_other(
        self, configure: Callable[..., None]
    ) -> None:
        configure(ENCODER=f"{__name__}.{Lazy.__name__}")
        bucket = impatient()
        got: list[Any] = []
        bucket.processor(got.extend)
        bucket.extend([1, 2])
        assert bucket.drain() == report(processed=2, batches=1)
        bucket.extend([3, "unreadable", 4])
        assert bucket.drain() == report(processed=2, batches=2, buried=1)
        assert got == [1, 2, 3, 4]


class Lazy(JSONEncoder):
    """Decodes an event when it is needed, which may fail then."""

    def decode(self, array: bytes) -> Any:
        return map(int, super().decode(array))


class Knowing(JSONEncoder):
    """Decodes only events of a kind that it knows."""

    def decode(self, array: bytes) -> list[Any]:
        return [{"a": 1}[event["kind"]] for event in super().decode(array)]


class TestDeaths:
    def die(self, bucket: Bucket, times: int, *, after: str | None = None) -> Claim:
        claim, store = None, bucket._definition.parts.store
        newest, _ = store.seal()
        for number in range(times):
            claim = store.claim(
                f"doomed-{number}-{after}",
                lease=timedelta(0),
                linger=None,
                after=after,
                newest=newest,
            ).claim
        assert claim is not None
        return claim

    def test_do_not_use_up_attempts(self) -> None:
        bucket = impatient(batch_size=2, max_attempts=1)
        bucket.processor(lambda batch: None)
        bucket.extend([1, 2])
        assert self.die(bucket, 3).deaths == 2
        assert drain_all(bucket).processed == 2
        assert bucket.status().dead == 0

    def test_bury_nothing_that_killed_only_while_nothing_succeeded(self) -> None:
        bucket = impatient(batch_size=1)
        got: list[int] = []
        bucket.processor(got.extend)
        bucket.extend([1, 2])
        first = self.die(bucket, 7)
        second = self.die(bucket, 7, after=first.stream_id)
        assert (first.deaths, second.deaths) == (3, 3)
        assert drain_all(bucket) == report(processed=2, batches=2)
        assert got == [1, 2]

    def test_bury_what_kills_again_when_others_succeed(self) -> None:
        bucket = impatient(batch_size=1)
        bucket.processor(lambda batch: None)
        bucket.extend([1, 2])
        second = self.die(bucket, 7, after=self.die(bucket, 7).stream_id)
        with drain_of(bucket, watch=True) as drain:
            assert drain.step()
        self.die(bucket, 2)
        assert bucket.drain() == report(buried=1)
        assert [letter.event for letter in bucket.dead] == [2]
        assert second.array == b"[2]"

    def test_halve_the_batch_until_the_killer_is_alone(self) -> None:
        bucket = impatient(batch_size=64)
        bucket.extend(range(64))
        store = bucket._definition.parts.store
        got: list[int] = []

        def kill(batch: Batch) -> None:
            if 20 in batch:
                raise KeyboardInterrupt  # without retire(), so that the lease runs out
            got.extend(batch)

        bucket.processor(kill)
        deaths = 0
        while bucket.status().batches:
            drain = drain_of(bucket, watch=True)
            try:
                while drain.step():
                    pass
            except KeyboardInterrupt:
                deaths += 1
            drain._lease.end()
            assert deaths < 30
        assert sorted(got) == [number for number in range(64) if number != 20]
        [letter] = bucket.dead
        assert letter.event == 20
        assert "workers died" in letter.error
        assert letter.attempts == 0
        # Three deaths of the batch, one on each level of halves, and three of the event alone.
        assert deaths == 3 + 5 + 3
        assert read_status(store).in_flight == 0

    def test_of_a_single_event_must_be_several(self) -> None:
        bucket = impatient(batch_size=1)
        bucket.processor(lambda batch: None)
        bucket.append(1)
        self.die(bucket, 4)
        bucket.append(2)
        assert bucket.drain() == report(processed=2, batches=2)

    def test_bury_an_event_only_if_others_have_succeeded_since(self) -> None:
        bucket = impatient(batch_size=1)
        got = refuse(bucket)
        bucket.append("killer")
        self.die(bucket, 7)
        bucket.append("other")
        with drain_of(bucket, watch=True) as drain:
            assert drain.step()
        assert got == ["killer"]

    def test_bury_an_event_after_others_have_succeeded(self) -> None:
        bucket = impatient(batch_size=1)
        got = refuse(bucket)
        bucket.extend(["killer", "other"])
        first = self.die(bucket, 2)
        store = bucket._definition.parts.store
        store.release(first, lease=timedelta(minutes=1), backoff=timedelta(minutes=1))
        other = store.claim("lives", lease=timedelta(minutes=1), linger=None).claim
        assert other is not None
        store.ack(other)
        self.die(bucket, 4)
        assert bucket.drain() == report(buried=1)
        assert got == []

    def test_are_not_counted_for_workers_that_end_in_order(self) -> None:
        bucket = Bucket("orders", batch_size=1)
        bucket.processor(lambda batch: None)
        bucket.append(1)
        store = bucket._definition.parts.store
        for _ in range(10):
            claim = store.claim("worker", lease=timedelta(minutes=1), linger=timedelta(0)).claim
            assert claim is not None
            assert claim.deaths == 0
            store.retire("worker", lease=timedelta(minutes=1))
        assert bucket.drain().processed == 1
