import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db import (
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
    connections,
    transaction,
)
from pytest_django import Settings

from django_jsonbuffer import Batch, Bucket, DrainReport
from django_jsonbuffer.catalog import options_of
from django_jsonbuffer.draining.failures import _backoff
from django_jsonbuffer.encoding import JSONEncoder
from django_jsonbuffer.exceptions import (
    BufferMisconfigured,
    BufferUnavailable,
    InvalidEvent,
    LeaseLost,
)
from django_jsonbuffer.store import pending
from django_jsonbuffer.store.claims import Claim
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from tests.library.models import Tag
from tests.server import Redis
from tests.threads import at_once


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("orders", batch_size=2)


def report(**figures: int) -> DrainReport:
    return DrainReport(**figures)


class TestBatch:
    def test_is_a_sequence_with_its_origin(self, bucket: Bucket) -> None:
        batches: list[Batch] = []
        bucket.processor(batches.append)
        bucket.extend(["a", "b"])
        bucket.drain()
        [batch] = batches
        assert list(batch) == ["a", "b"]
        assert len(batch) == 2
        assert (batch[0], batch[-1], batch[0:1]) == ("a", "b", ("a",))
        assert "b" in batch
        assert (batch.attempt, batch.bucket) == (1, "orders")
        assert batch.id

    def test_repr_shows_no_event(self) -> None:
        batch = Batch(["secret"], id="1-0", attempt=3, bucket="orders")
        assert repr(batch) == "<Batch 1-0 of 'orders', attempt 3: 1 events>"


class TestDrain:
    def test_everything_pending_the_open_batch_too(self, bucket: Bucket) -> None:
        got: list[Any] = []
        bucket.processor(lambda batch: got.append(list(batch)))
        bucket.extend(range(5))
        assert bucket.drain() == report(processed=5, batches=3)
        assert got == [[0, 1], [2, 3], [4]]
        assert bucket.status().batches == 0

    def test_nothing_pending(self, bucket: Bucket) -> None:
        bucket.processor(lambda batch: None)
        assert bucket.drain() == report()

    def test_what_the_processor_returns_does_not_matter(self, bucket: Bucket) -> None:
        bucket.processor(lambda batch: "rubbish")
        bucket.append(1)
        assert bucket.drain() == report(processed=1, batches=1)

    def test_ends_although_the_processor_appends_to_its_bucket(self, bucket: Bucket) -> None:
        def again(batch: Batch) -> None:
            bucket.extend(["x"] * 4)

        bucket.processor(again)
        bucket.append(1)
        # The drain may claim one batch after the one that was the newest at its start.
        assert bucket.drain().batches <= 2
        assert bucket.status().pending >= 4

    def test_leaves_no_name_in_the_group(self, bucket: Bucket, client_of_server: Redis) -> None:
        bucket.processor(lambda batch: None)
        bucket.append(1)
        bucket.drain()
        assert client_of_server.xinfo_consumers(f"{bucket.key}:batches", "drain") == []

    def test_many_workers_at_once(self, bucket: Bucket) -> None:
        got: list[int] = []
        bucket.processor(got.extend)
        bucket.extend(range(500))
        at_once([bucket.drain] * 6)
        assert sorted(got) == list(range(500))
        assert bucket.status().batches == 0

    def test_batch_of_another_client_counts_as_buried_when_it_is_none(
        self, bucket: Bucket, client_of_server: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket.processor(lambda batch: None)
        client_of_server.set(bucket.key, '{"secret": 1}')
        assert bucket.drain() == report(buried=1)
        assert bucket.status().dead == 1
        assert "orders" in caplog.text
        assert "secret" not in caplog.text

    def test_stops_behind_the_newest_of_its_beginning(self) -> None:
        bucket = Bucket("orders", batch_size=1)
        bucket.processor(lambda batch: bucket.append("later"))
        bucket.extend([1, 2])
        assert bucket.drain() == report(processed=2, batches=2)
        assert bucket.peek() == ["later", "later"]

    def test_seals_nothing_that_came_later_although_it_has_lingered(self) -> None:
        bucket = Bucket("orders", batch_size=2, linger=timedelta(0))
        bucket.processor(lambda batch: bucket.append("later"))
        bucket.extend([1, 2, 3, 4])
        store = bucket._definition.parts.store
        first, _ = store.claim("other", lease=options_of(bucket).lease, linger=None, after=None)
        assert first is not None
        claim_and_die(bucket)
        store.release(first, lease=options_of(bucket).lease, backoff=timedelta(0))
        assert bucket.drain() == report(processed=2, batches=1)
        assert bucket.peek() == ["later"]

    def test_entry_of_another_client_counts_as_buried(
        self, bucket: Bucket, client_of_server: Redis
    ) -> None:
        bucket.processor(lambda batch: None)
        client_of_server.xadd(f"{bucket.key}:batches", {"foreign": "x"})
        bucket.append(1)
        assert bucket.drain() == report(processed=1, batches=1, buried=1)

    def test_that_cannot_take_its_name_out_of_the_group_has_succeeded(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: Any, **options: Any) -> None:
            raise BufferUnavailable("away")

        monkeypatch.setattr(Store, "retire", fail)
        bucket.processor(lambda batch: None)
        bucket.append(1)
        assert bucket.drain() == report(processed=1, batches=1)


class TestWatch:
    def test_takes_an_open_batch_only_when_it_has_lingered(self) -> None:
        got: list[Any] = []
        slow = Bucket("orders", linger=timedelta(minutes=1))
        slow.processor(got.extend)
        slow.append(1)
        with slow.drain_steps(watch=True) as drain:
            assert not drain.step()
        with Bucket("orders", linger=timedelta(0)).drain_steps(watch=True) as drain:
            assert drain.step()
            assert not drain.step()
        assert got == [1]

    def test_comes_to_a_failed_batch_again(self) -> None:
        bucket = Bucket("orders", batch_size=1, lease=timedelta(0))
        seen: list[tuple[int, Any]] = []

        def fail_first(batch: Batch) -> None:
            seen.append((batch.attempt, batch[0]))
            if seen == [(1, 1)]:
                raise ValueError

        bucket.processor(fail_first)
        bucket.extend([1, 2])
        with bucket.drain_steps(watch=True) as drain:
            assert drain.step()
            assert drain.failing
            assert drain.step()
            assert not drain.failing
            assert drain.step()
            assert not drain.step()
        assert seen == [(1, 1), (2, 1), (1, 2)]


class TestFailure:
    @pytest.mark.parametrize("error", [ValueError, SystemExit, RecursionError, MemoryError])
    def test_batch_is_kept_and_the_others_go_on(
        self, bucket: Bucket, error: type[BaseException]
    ) -> None:
        got: list[Any] = []

        def store(batch: Batch) -> None:
            if "bad" in batch:
                raise error("no")
            got.extend(batch)

        bucket.processor(store)
        bucket.extend([1, 2, "bad", 3, 4, 5])
        assert bucket.drain() == report(processed=4, batches=2, failed=1)
        assert got == [1, 2, 4, 5]
        assert bucket.status().pending == 2
        assert bucket.peek() == ["bad", 3]

    def test_is_logged_with_its_origin_and_without_payload(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(batch: Batch) -> None:
            raise ValueError(f"cannot store {batch[0]}")

        bucket.processor(fail)
        bucket.append("a secret event")
        with caplog.at_level(logging.INFO, "django_jsonbuffer"):
            bucket.drain()
        [record] = caplog.records
        message = record.getMessage()
        assert "orders" in message
        assert "attempt 1" in message
        assert "ValueError" in message
        [id] = [part for part in message.split() if part[0].isdigit() and "-" in part]
        assert f'"{__file__}"' in message
        assert "in fail" in message
        assert "secret" not in caplog.text
        bucket.processor(lambda batch: ids.append(batch.id))
        ids: list[str] = []
        drain_until(bucket, processed=1)
        assert ids == [id]

    def test_what_the_error_says_is_for_debugging(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket.processor(lambda batch: 1 / 0)
        bucket.append(1)
        with caplog.at_level(logging.DEBUG, "django_jsonbuffer"):
            bucket.drain()
        assert "division by zero" in caplog.text

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

    def test_one_drain_tries_a_batch_once_even_without_backoff(self) -> None:
        bucket = Bucket("orders", batch_size=1, lease=timedelta(0))
        attempts: list[int] = []

        def fail(batch: Batch) -> None:
            attempts.append(batch.attempt)
            raise ValueError

        bucket.processor(fail)
        bucket.extend([1, 2])
        assert bucket.drain() == report(failed=2)
        assert bucket.drain() == report(failed=2)
        assert attempts == [1, 1, 2, 2]

    def test_interrupt_releases_the_batch_at_once_and_goes_on_its_way(self, bucket: Bucket) -> None:
        def interrupt(batch: Batch) -> None:
            raise KeyboardInterrupt

        bucket.processor(interrupt)
        bucket.append(1)
        with pytest.raises(KeyboardInterrupt):
            bucket.drain()
        assert (bucket.status().pending, bucket.status().in_flight) == (1, 0)
        bucket.processor(lambda batch: None)
        assert bucket.drain().processed == 1

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

    @pytest.mark.parametrize("moment", ["claim", "ack"])
    def test_interrupt_beside_the_processor_releases_the_batch_too(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, moment: str
    ) -> None:
        called: Any = getattr(Store, moment)

        def interrupted(store: Store, *args: Any, **options: Any) -> Any:
            if moment == "claim":
                called(store, *args, **options)
            raise KeyboardInterrupt

        bucket.processor(lambda batch: None)
        bucket.append(1)
        with monkeypatch.context() as patch:
            patch.setattr(Store, moment, interrupted)
            with pytest.raises(KeyboardInterrupt):
                bucket.drain()
        assert (bucket.status().pending, bucket.status().in_flight) == (1, 0)
        assert bucket.drain().processed == 1

    def test_drains_that_find_nothing_to_claim_leave_no_name_in_the_group(
        self, bucket: Bucket, client_of_server: Redis
    ) -> None:
        bucket.processor(lambda batch: 1 / 0)
        bucket.append(1)
        for _ in range(5):
            bucket.drain()
        consumers = client_of_server.xinfo_consumers(f"{bucket.key}:batches", "drain")
        assert [consumer["name"] for consumer in consumers] == [b"released"]

    def test_cancelled_coroutine_is_a_failure(self, bucket: Bucket) -> None:
        async def store(batch: Batch) -> None:
            raise asyncio.CancelledError

        bucket.processor(store)
        bucket.extend([1, 2, 3])
        assert bucket.drain() == report(failed=2)

    def test_generator_that_never_ran_is_a_failure(self, bucket: Bucket) -> None:
        bucket.processor(lambda batch: (event for event in batch))
        bucket.append(1)
        assert bucket.drain() == report(failed=1)

    def test_interrupted_command_leaves_no_reply_to_the_next(
        self, private_server: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*args: Any, **options: Any) -> None:
            raise KeyboardInterrupt

        bucket = Bucket("orders")
        bucket.extend([1, 2])
        bucket.peek()  # so that the server knows the script
        # So that the reply comes long after the client has given the connection back.
        private_server.execute_command("CLIENT", "PAUSE", 200)
        with monkeypatch.context() as patch:
            patch.setattr(redis.Redis, "parse_response", interrupted)
            with pytest.raises(KeyboardInterrupt):
                bucket.peek()
        assert bucket.status().pending == 2


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

    def test_is_kept_as_a_dead_letter_by_take(
        self, bucket: Bucket, client_of_server: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert bucket.take() == [1, 2, 3, 4, 5]
        [(_, letter)] = client_of_server.xrange(f"{bucket.key}:dead")
        assert letter[b"event"] == b'["secret'
        assert "dead letters: 1" in caplog.text

    @pytest.mark.parametrize(
        "array", ["[" * 100_000 + "]" * 100_000, "[NaN]", "[-Infinity]", "{}", "\ufeff[1]"], ids=len
    )
    def test_so_is_what_json_would_read_or_choke_on(
        self, bucket: Bucket, client_of_server: Redis, array: str
    ) -> None:
        client_of_server.xadd(f"{bucket.key}:batches", {"events": array, "count": 1, "opened": 1})
        bucket.processor(lambda batch: None)
        assert bucket.drain() == report(processed=5, batches=3, buried=2)

    def test_costs_a_taker_nothing_on_a_full_server(self, private_server: Redis) -> None:
        bucket = Bucket("orders", batch_size=2)
        bucket.extend([1, 2])
        private_server.xadd(f"{bucket.key}:batches", {"events": "no", "count": 1, "opened": 1})
        private_server.config_set("maxmemory", 1)
        assert bucket.take() == [1, 2]
        assert bucket.status().dead == 1

    def test_costs_a_taker_nothing_when_it_cannot_be_kept(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def unavailable(*args: Any, **options: Any) -> None:
            raise BufferUnavailable("gone")

        monkeypatch.setattr(pending, "set_aside", unavailable)
        assert bucket.take() == [1, 2, 3, 4, 5]
        assert "are lost: 1" in caplog.text

    def test_is_passed_over_by_peek(self, bucket: Bucket) -> None:
        assert bucket.peek() == [1, 2, 3, 4, 5][: len(bucket.peek())]
        assert bucket.peek(100) == [1, 2, 3, 4, 5]

    def test_that_is_no_longer_held_stays_where_it_is(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        bury: Any = Store.bury

        def overtaken(store: Store, claim: Claim, *args: Any, **options: Any) -> None:
            store.claim("heir", lease=timedelta(0), linger=None, after=None)
            bury(store, claim, *args, **options)

        bucket.processor(lambda batch: None)
        monkeypatch.setattr(Store, "bury", overtaken)
        assert bucket.drain().buried == 0
        assert bucket.status().dead == 0
        assert "no longer held" in caplog.text


class TestLease:
    def test_of_a_worker_that_died_passes_to_another(self, bucket: Bucket) -> None:
        heir = Bucket("orders", lease=timedelta(milliseconds=1))
        got: list[int] = []
        heir.processor(lambda batch: got.append(batch.attempt))
        bucket.append(1)
        claim_and_die(bucket)
        time.sleep(0.01)
        assert heir.drain() == report(processed=1, batches=1)
        assert got == [2]

    def test_that_was_lost_is_said_and_counts_as_nothing(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        heir = Bucket("orders", lease=timedelta(0))

        def overtaken(batch: Batch) -> None:
            if batch.attempt == 1:
                assert heir.drain() == report(processed=1, batches=1)

        bucket.processor(overtaken)
        bucket.append(1)
        assert bucket.drain() == report()
        assert "no longer held" in caplog.text
        assert bucket.status().batches == 0

    def test_that_a_failed_batch_has_lost_leaves_it_to_its_heir(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        heir = Bucket("orders", lease=timedelta(0))

        def overtaken(batch: Batch) -> None:
            if batch.attempt == 1:
                assert heir.drain() == report(processed=1, batches=1)
                raise ValueError

        bucket.processor(overtaken)
        bucket.append(1)
        assert bucket.drain() == report(failed=1)
        assert "no longer held" in caplog.text
        assert bucket.status().batches == 0


class TestLostAck:
    def test_is_sent_again(self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
        ack: Any = Store.ack
        sent: list[str] = []

        def lossy(store: Store, claim: Claim) -> None:
            ack(store, claim)
            sent.append(claim.id)
            error = BufferUnavailable("the reply was lost")
            error.may_be_done = True
            raise error

        def ack_once_more(store: Store, claim: Claim) -> None:
            if sent:
                ack(store, claim)
            lossy(store, claim)

        monkeypatch.setattr(Store, "ack", ack_once_more)
        got: list[int] = []
        bucket.processor(got.extend)
        bucket.append(1)
        assert bucket.drain() == report(processed=1, batches=1)
        assert got == [1]
        assert bucket.status().batches == 0

    def test_is_made_up_for_when_redis_is_back(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        ack: Any = Store.ack
        refusals = [BufferUnavailable("away")] * 3

        def refusing(store: Store, claim: Claim) -> None:
            if refusals:
                raise refusals.pop()
            ack(store, claim)

        monkeypatch.setattr(Store, "ack", refusing)
        got: list[int] = []
        bucket.processor(got.extend)
        bucket.extend([1, 2, 3])
        bucket._definition.parts.store.seal()
        with bucket.drain_steps(watch=True) as drain:
            for _ in range(3):
                with pytest.raises(BufferUnavailable):
                    drain.step()
            while drain.step():
                pass
        assert got == [1, 2, 3]
        assert drain.report == report(processed=3, batches=2)
        assert "could not be acknowledged yet" in caplog.text

    def test_is_made_up_for_when_the_worker_ends(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ack: Any = Store.ack
        refusals = [BufferUnavailable("away")]

        def refusing(store: Store, claim: Claim) -> None:
            if refusals:
                raise refusals.pop()
            ack(store, claim)

        monkeypatch.setattr(Store, "ack", refusing)
        got: list[int] = []
        bucket.processor(got.extend)
        bucket.append(1)
        with bucket.drain_steps() as drain, suppress(BufferUnavailable):
            drain.step()
        assert drain.report == report(processed=1, batches=1)
        assert bucket.drain() == report()
        assert got == [1]


class TestFork:
    """A processor forks, and its child returns into the worker's code."""

    @pytest.mark.parametrize("end", ["exits", "raises", "returns"])
    def test_child_touches_nothing(self, bucket: Bucket, end: str) -> None:
        worker = os.getpid()
        attempts: list[int] = []

        def fork(batch: Batch) -> None:
            attempts.append(batch.attempt)
            if (pid := os.fork()) == 0:
                if end == "exits":
                    sys.exit(0)
                if end == "raises":
                    raise ValueError
                return
            os.waitpid(pid, 0)

        bucket.processor(fork)
        bucket.append(1)
        try:
            found = bucket.drain()
        finally:
            if os.getpid() != worker:
                os._exit(0)
        assert found == report(processed=1, batches=1)
        assert attempts == [1]
        assert bucket.status().batches == 0


class TestBackoff:
    def test_grows_with_each_attempt_and_stays_finite(self) -> None:
        for attempt in range(1, 18):
            full = timedelta(seconds=2 ** (attempt - 1))
            assert full / 2 <= _backoff(attempt, most=timedelta.max) <= full
        assert _backoff(10_000, most=timedelta.max) < timedelta(days=1)

    def test_workers_do_not_come_back_in_step(self) -> None:
        assert len({_backoff(5, most=timedelta.max) for _ in range(20)}) > 10


def drain_until(bucket: Bucket, *, processed: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if bucket.drain().processed == processed:
            return
        time.sleep(0.05)
    pytest.fail("the batch did not come again")


def claim_and_die(bucket: Bucket) -> None:
    """Leave a batch claimed, as a worker does that is killed."""
    bucket._definition.parts.store.seal()
    claim, _ = bucket._definition.parts.store.claim(
        "dead", lease=timedelta(minutes=5), linger=None, after=None
    )
    assert claim is not None


def impatient(**options: Any) -> Bucket:
    """A bucket whose failed batches can be claimed again at once."""
    return Bucket("orders", lease=timedelta(0), **options)


def drain_all(bucket: Bucket) -> DrainReport:
    """Drain until nothing is left, as a watching worker does in the end."""
    total = report()
    for _ in range(200):
        found = bucket.drain()
        total.processed += found.processed
        total.batches += found.batches
        total.failed += found.failed
        total.buried += found.buried
        if not bucket.status().batches:
            return total
    pytest.fail("something is left for ever")


class TestAttempts:
    def test_bad_event_is_buried_and_all_others_are_processed(self) -> None:
        bucket = impatient(batch_size=1000, max_attempts=3)
        got: list[int] = []
        calls: list[int] = []

        def refuse(batch: Batch) -> None:
            calls.append(len(batch))
            if 4567 in batch:
                raise ValueError("no room for 4567")
            got.extend(batch)

        bucket.processor(refuse)
        bucket.extend(range(10_000))
        total = drain_all(bucket)
        assert sorted(got) == [number for number in range(10_000) if number != 4567]
        assert (total.processed, total.buried) == (9999, 1)
        # Nine good batches, three failures of the bad one, and two halves on each of ten levels.
        assert len(calls) <= 9 + 3 + 2 * 10
        [letter] = bucket.dead
        assert letter.event == 4567
        assert letter.error == "ValueError: no room for 4567"
        assert "in refuse" in letter.traceback
        assert letter.attempts == 3 + 10
        assert letter.first_failed
        assert letter.last_failed
        assert letter.first_failed <= letter.last_failed

    def test_many_bad_events_are_exactly_those_that_are_buried(self) -> None:
        bucket = impatient(batch_size=1000, max_attempts=2)
        got: list[int] = []
        calls: list[str] = []

        def refuse(batch: Batch) -> None:
            calls.append(batch.id)
            if any(number % 100 == 7 for number in batch):
                raise ValueError
            got.extend(batch)

        bucket.processor(refuse)
        bucket.extend(range(10_000))
        drain_all(bucket)
        assert {letter.event for letter in bucket.dead} == set(range(7, 10_000, 100))
        assert sorted(got) == [number for number in range(10_000) if number % 100 != 7]
        assert len(calls) <= 10 * 2 + 100 * 2 * 10

    def test_that_are_not_used_up_leave_the_batch_whole(self) -> None:
        bucket = impatient(batch_size=2, max_attempts=3)
        seen: list[tuple[str, int]] = []

        def fail_twice(batch: Batch) -> None:
            seen.append((batch.id, batch.attempt))
            if batch.attempt < 3:
                raise ValueError

        bucket.processor(fail_twice)
        bucket.extend([1, 2])
        assert drain_all(bucket) == report(processed=2, batches=1, failed=2)
        assert [attempt for _, attempt in seen] == [1, 2, 3]
        assert len({id for id, _ in seen}) == 1

    def test_of_one_event_end_among_the_dead_letters(self) -> None:
        bucket = impatient(batch_size=1, max_attempts=1)
        bucket.processor(lambda batch: 1 / 0)
        bucket.append("bad")
        assert bucket.drain() == report(failed=1, buried=1)
        assert [letter.event for letter in bucket.dead] == ["bad"]
        assert bucket.status().batches == 0

    def test_halves_are_tried_within_the_same_drain(self) -> None:
        bucket = Bucket("orders", batch_size=8, max_attempts=1)
        got: list[int] = []

        def refuse(batch: Batch) -> None:
            if 5 in batch:
                raise ValueError
            got.extend(batch)

        bucket.processor(refuse)
        bucket.extend(range(8))
        assert bucket.drain() == report(processed=7, batches=3, failed=4, buried=1)
        assert sorted(got) == [0, 1, 2, 3, 4, 6, 7]

    def test_log_names_no_event(self, caplog: pytest.LogCaptureFixture) -> None:
        bucket = impatient(batch_size=2, max_attempts=1)

        def quote(batch: Batch) -> None:
            raise ValueError(f"cannot store {list(batch)}")

        bucket.processor(quote)
        bucket.extend(["secret", "private"])
        drain_all(bucket)
        shown = [record.getMessage() for record in caplog.records if record.levelname != "DEBUG"]
        assert shown
        assert not any("secret" in line or "private" in line for line in shown)

    @pytest.mark.parametrize(
        "error", [MemoryError, RecursionError, SystemExit, asyncio.CancelledError]
    )
    def test_whatever_is_raised_is_one(self, error: type[BaseException]) -> None:
        bucket = impatient(batch_size=1, max_attempts=2)

        def fail(batch: Batch) -> None:
            raise error

        bucket.processor(fail)
        bucket.append(1)
        assert drain_all(bucket) == report(failed=2, buried=1)

    def test_that_a_lease_was_lost_elsewhere_is_one(self) -> None:
        bucket = impatient(max_attempts=2)

        def fail(batch: Batch) -> None:
            raise LeaseLost("of another bucket, which it drains")

        bucket.processor(fail)
        bucket.append(1)
        assert drain_all(bucket) == report(failed=2, buried=1)


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
        assert bucket.drain() == report(failed=1)
        assert drain_all(bucket).buried == 1
        assert got == [1, 1]
        with pytest.raises(InvalidEvent):
            next(iter(bucket.dead)).event  # noqa: B018


class Knowing(JSONEncoder):
    """Decodes only events of a kind that it knows."""

    def decode(self, array: bytes) -> list[Any]:
        return [{"a": 1}[event["kind"]] for event in super().decode(array)]


class TestDeaths:
    def die(self, bucket: Bucket, times: int) -> Claim:
        claim = None
        for number in range(times):
            claim, _ = bucket._definition.parts.store.claim(
                f"doomed-{number}", lease=timedelta(0), linger=timedelta(0), after=None
            )
        assert claim is not None
        return claim

    def test_do_not_use_up_attempts(self) -> None:
        bucket = impatient(batch_size=2, max_attempts=1)
        bucket.processor(lambda batch: None)
        bucket.extend([1, 2])
        assert self.die(bucket, 3).deaths == 2
        assert drain_all(bucket).processed == 2
        assert bucket.status().dead == 0

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
            drain = bucket.drain_steps(watch=True)
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
        self.die(bucket, 5)
        assert bucket.drain() == report(buried=1)
        bucket.append(2)
        self.die(bucket, 4)
        assert bucket.drain() == report(processed=1, batches=1)

    def test_are_not_counted_for_workers_that_end_in_order(self) -> None:
        bucket = Bucket("orders", batch_size=1)
        bucket.processor(lambda batch: None)
        bucket.append(1)
        store = bucket._definition.parts.store
        for _ in range(10):
            claim, _ = store.claim(
                "worker", lease=timedelta(minutes=1), linger=timedelta(0), after=None
            )
            assert claim is not None
            assert claim.deaths == 0
            store.retire("worker", lease=timedelta(minutes=1))
        assert bucket.drain().processed == 1


class TestReject:
    def test_buries_what_is_named_and_acknowledges_the_rest(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        def pick(batch: Batch) -> None:
            batch.reject(batch[1], "no such product")

        bucket.processor(pick)
        bucket.extend([{"a": "secret"}, {"b": [1, 2]}])
        assert bucket.drain() == report(processed=1, batches=1, buried=1)
        [letter] = bucket.dead
        assert letter.event == {"b": [1, 2]}
        assert letter.raw == b'{"b":[1,2]}'
        assert (letter.error, letter.traceback) == ("no such product", "")
        assert bucket.status().batches == 0
        assert "rejected 1" in caplog.text
        assert "secret" not in caplog.text

    def test_for_an_error_keeps_its_traceback(self, bucket: Bucket) -> None:
        def pick(batch: Batch) -> None:
            for event in batch:
                try:
                    int(event)
                except ValueError as error:
                    batch.reject(event, error)

        bucket.processor(pick)
        bucket.extend(["1", "x"])
        assert bucket.drain().buried == 1
        [letter] = bucket.dead
        assert letter.error.startswith("ValueError: invalid literal")
        assert "in pick" in letter.traceback

    def test_of_equal_events_takes_one_each(self, bucket: Bucket) -> None:
        def pick(batch: Batch) -> None:
            batch.reject(5, "first")
            batch.reject(5, "second")

        bucket.processor(pick)
        bucket.extend([5, 5])
        assert bucket.drain() == report(batches=1, buried=2)
        assert [letter.error for letter in bucket.dead] == ["first", "second"]

    def test_of_what_the_processor_has_changed(self, bucket: Bucket) -> None:
        def pick(batch: Batch) -> None:
            batch[0]["extra"] = 1
            batch.reject(batch[0], "no")

        bucket.processor(pick)
        bucket.append({"a": 1})
        bucket.drain()
        assert [letter.event for letter in bucket.dead] == [{"a": 1}]

    def test_of_what_python_takes_for_equal_takes_what_is_written_alike(self) -> None:
        bucket = Bucket("orders")
        bucket.processor(lambda batch: batch.reject({"x": 1}, "no"))
        bucket.extend([{"x": True}, {"x": 1.0}, {"x": 1}])
        bucket.drain()
        assert [letter.raw for letter in bucket.dead] == [b'{"x":1}']

    def test_of_the_same_keys_in_another_order(self, bucket: Bucket) -> None:
        bucket.processor(lambda batch: batch.reject({"a": 1, "b": 2}, "no"))
        bucket.extend([0, {"b": 2, "a": 1}])
        bucket.drain()
        assert [letter.raw for letter in bucket.dead] == [b'{"b":2,"a":1}']

    def test_of_a_stranger_is_refused(self) -> None:
        batch = Batch([1, 2], id="1-0", attempt=1, bucket="orders")
        batch.reject(1, "no")
        for stranger in (1, 3):
            with pytest.raises(ValueError, match="each once"):
                batch.reject(stranger, "no")

    def test_counts_for_nothing_when_the_processor_fails(self, bucket: Bucket) -> None:
        def pick(batch: Batch) -> None:
            batch.reject(batch[0], "no")
            raise ValueError

        bucket.processor(pick)
        bucket.append(1)
        assert bucket.drain() == report(failed=1)
        assert bucket.status().dead == 0
        assert bucket.status().pending == 1


class TestOutageOfTheSink:
    @pytest.mark.parametrize(
        "error",
        [OperationalError, InterfaceError, ConnectionRefusedError, TimeoutError, BufferUnavailable],
    )
    def test_uses_up_no_attempt(self, error: type[Exception]) -> None:
        bucket = impatient(batch_size=2, max_attempts=1)
        is_away = True

        def store(batch: Batch) -> None:
            if is_away:
                raise error

        bucket.processor(store)
        bucket.extend([1, 2])
        for _ in range(5):
            assert bucket.drain() == report(failed=1)
        is_away = False
        assert bucket.drain() == report(processed=2, batches=1)
        assert bucket.status().dead == 0

    def test_may_be_told_by_errors_of_the_project(self) -> None:
        bucket = impatient(batch_size=1, max_attempts=1, outage_errors=(LookupError,))

        def store(batch: Batch) -> None:
            raise KeyError

        bucket.processor(store)
        bucket.append(1)
        assert bucket.drain() == report(failed=1)
        assert bucket.status().pending == 1

    def test_ends_a_drain_before_all_batches_have_failed(self) -> None:
        bucket = Bucket("orders", batch_size=1)

        def store(batch: Batch) -> None:
            raise OperationalError

        bucket.processor(store)
        bucket.extend(range(20))
        assert bucket.drain() == report(failed=3)
        assert bucket.status().pending == 20

    def test_that_one_batch_only_has_holds_up_no_other(self) -> None:
        bucket = Bucket("orders", batch_size=1)

        def store(batch: Batch) -> None:
            if batch[0] % 2:
                raise OperationalError

        bucket.processor(store)
        bucket.extend(range(20))
        assert bucket.drain() == report(processed=10, batches=10, failed=10)

    @pytest.mark.parametrize("bad", [1, 2, 5])
    def test_that_the_oldest_batches_have_each_time_holds_up_no_other(self, bad: int) -> None:
        bucket = impatient(batch_size=1)
        got: list[int] = []

        def store(batch: Batch) -> None:
            if batch[0] < bad:
                raise OperationalError
            got.extend(batch)

        bucket.processor(store)
        bucket.extend(range(20))
        for _ in range(bad):
            bucket.drain()
        assert sorted(got) == [*range(bad, 20)]

    def test_that_some_events_of_a_batch_have_for_ever_keeps_back_no_other_event(self) -> None:
        """Errors that only some events raise are not an outage."""
        bucket = impatient(batch_size=100, max_attempts=3)
        got: list[int] = []

        def store(batch: Batch) -> None:
            if 7 in batch:
                raise OperationalError("index row size exceeds the maximum")
            got.extend(batch)

        bucket.processor(store)
        bucket.extend(range(100))
        for number in range(100, 140):
            bucket.append(number)
            bucket.drain()
        assert sorted(got) == [n for n in range(140) if n != 7]
        assert (bucket.status().pending, bucket.status().dead) == (1, 0)
        assert bucket.peek() == [7]

    def test_that_all_have_splits_none(self) -> None:
        bucket = impatient(batch_size=10, max_attempts=2)
        bucket.processor(lambda batch: None)
        bucket.append(0)
        bucket.drain()

        def store(batch: Batch) -> None:
            raise OperationalError

        bucket.processor(store)
        bucket.extend(range(30))
        for _ in range(20):
            bucket.drain()
        assert (bucket.status().pending, bucket.status().batches) == (30, 3)

    def test_makes_a_watching_worker_pause(self) -> None:
        bucket = Bucket("orders", batch_size=1)
        calls: list[str] = []

        def store(batch: Batch) -> None:
            calls.append(batch.id)
            raise OperationalError

        bucket.processor(store)
        bucket.extend(range(20))
        with bucket.drain_steps(watch=True) as drain:
            assert drain.step()
            assert not drain.step()
        assert len(calls) == 1


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
class TestAtomic:
    def test_keeps_what_the_processor_wrote(self, bucket: Bucket) -> None:
        @bucket.processor(atomic="default")
        def store(batch: Batch) -> None:
            assert connection.in_atomic_block
            Tag.objects.bulk_create(Tag(name=name) for name in batch)

        bucket.extend(["a", "b"])
        assert bucket.drain() == report(processed=2, batches=1)
        assert Tag.objects.count() == 2

    def test_undoes_it_when_the_processor_fails(self, bucket: Bucket) -> None:
        @bucket.processor(atomic="default")
        def store(batch: Batch) -> None:
            Tag.objects.create(name="half")
            raise ValueError

        bucket.append("a")
        assert bucket.drain() == report(failed=1)
        assert Tag.objects.count() == 0

    def test_undoes_it_when_the_lease_was_lost(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        heir = Bucket("orders", lease=timedelta(0))

        @bucket.processor(atomic="default")
        def store(batch: Batch) -> None:
            if batch.attempt == 1:
                assert heir.drain() == report(processed=1, batches=1)
            Tag.objects.create(name=f"attempt {batch.attempt}")

        bucket.append("a")
        assert bucket.drain() == report()
        assert [tag.name for tag in Tag.objects.all()] == []
        assert "rolled back" in caplog.text
        assert bucket.status().batches == 0

    def test_of_another_database(self, bucket: Bucket) -> None:
        bucket.processor(lambda batch: Tag.objects.using("other").create(name="x"), atomic="other")
        bucket.append("a")
        assert bucket.drain().processed == 1
        assert Tag.objects.using("other").count() == 1

    def test_of_a_coroutine(self, bucket: Bucket) -> None:
        @bucket.processor(atomic="default")
        async def store(batch: Batch) -> None:
            await Tag.objects.acreate(name="x")
            raise ValueError

        bucket.append("a")
        assert bucket.drain() == report(failed=1)
        assert Tag.objects.count() == 0

    def test_undoes_it_after_an_error_that_was_caught_within(self, bucket: Bucket) -> None:
        """Django rolls this transaction back without an error, and the batch must not be acked."""
        Tag.objects.create(id=2, name="taken")

        @bucket.processor(atomic="default")
        def store(batch: Batch) -> None:
            for event in batch:
                try:
                    Tag(id=event, name="new").save(force_insert=True)
                except IntegrityError as error:
                    batch.reject(event, error)

        bucket.extend([1, 2])
        assert bucket.drain() == report(failed=1)
        assert [tag.id for tag in Tag.objects.all()] == [2]
        assert (bucket.status().pending, bucket.status().dead) == (2, 0)

    def test_keeps_the_rest_after_an_error_within_a_savepoint(self, bucket: Bucket) -> None:
        Tag.objects.create(id=2, name="taken")

        @bucket.processor(atomic="default")
        def store(batch: Batch) -> None:
            for event in batch:
                try:
                    with transaction.atomic():
                        Tag(id=event, name="new").save(force_insert=True)
                except IntegrityError as error:
                    batch.reject(event, error)

        bucket.extend([1, 2])
        assert bucket.drain() == report(processed=1, batches=1, buried=1)
        assert sorted(tag.id for tag in Tag.objects.all()) == [1, 2]

    def test_undoes_it_when_the_connection_was_closed_within(self, bucket: Bucket) -> None:
        @bucket.processor(atomic="default")
        def store(batch: Batch) -> None:
            Tag.objects.create(name="x")
            connections["default"].needs_rollback = True

        bucket.append(1)
        assert bucket.drain() == report(failed=1)
        assert bucket.status().pending == 1

    def test_is_done_when_only_a_function_behind_the_commit_fails(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Processing the batch again would store the same rows twice."""
        full = Bucket("full", max_pending=1, on_unavailable="raise")
        full.append(0)

        @bucket.processor(atomic="default")
        def store(batch: Batch) -> None:
            Tag.objects.create(name="x")
            full.append("stored")

        bucket.append("a")
        assert bucket.drain() == report(processed=1, batches=1)
        assert Tag.objects.count() == 1
        assert "is committed" in caplog.text
        assert "BucketFull" in caplog.text

    def test_of_a_database_without_autocommit_is_refused(
        self, bucket: Bucket, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(settings.DATABASES["default"], "AUTOCOMMIT", False)
        with pytest.raises(BufferMisconfigured, match="AUTOCOMMIT"):
            bucket.processor(atomic="default")(lambda batch: None)

    def test_with_autocommit_switched_off_is_no_success(self, bucket: Bucket) -> None:
        bucket.processor(lambda batch: Tag.objects.create(name="x"), atomic="default")
        bucket.append(1)
        transaction.set_autocommit(False)
        try:
            assert bucket.drain() == report(failed=1)
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)
        assert bucket.status().pending == 1
        assert not Tag.objects.exists()

    def test_of_no_database_is_refused(self, bucket: Bucket) -> None:
        with pytest.raises(BufferMisconfigured, match="'archive'"):
            bucket.processor(atomic="archive")(lambda batch: None)


@pytest.mark.django_db
def test_atomic_within_a_test_case_moves_no_function_that_waits_for_the_commit(
    bucket: Bucket, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    """The test tools of Django find them by their place in Django's list."""
    ran: list[str] = []
    transaction.on_commit(lambda: ran.append("before"))
    bucket.processor(
        lambda batch: transaction.on_commit(lambda: ran.append("within")), atomic="default"
    )
    bucket.append(1, now=True)
    with django_capture_on_commit_callbacks(execute=True):
        assert bucket.drain().processed == 1
    assert ran == ["within"]
