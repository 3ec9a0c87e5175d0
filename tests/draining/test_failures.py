import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.draining.failures import _backoff
from django_jsonbuffer.encoding import JSONEncoder
from django_jsonbuffer.exceptions import BufferUnavailable, InvalidEvent, LeaseLost
from django_jsonbuffer.store.claims import Claim
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from tests.draining.drains import drain_all, drain_until, impatient, report
from tests.server import Redis


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
        assert bucket.drain() == report(failed=2)

    def test_generator_that_never_ran_is_a_failure(self, bucket: Bucket) -> None:
        bucket.processor(lambda batch: (event for event in batch))
        bucket.append(1)
        assert bucket.drain() == report(failed=1)


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
            store.claim("heir", lease=timedelta(0), linger=None, after=None)
            bury(store, claim, *args, **options)

        bucket.processor(lambda batch: None)
        monkeypatch.setattr(Store, "bury", overtaken)
        assert bucket.drain().buried == 0
        assert bucket.status().dead == 0
        assert "no longer held" in caplog.text


class TestBackoff:
    def test_grows_with_each_attempt_and_stays_finite(self) -> None:
        for attempt in range(1, 18):
            full = timedelta(seconds=2 ** (attempt - 1))
            assert full / 2 <= _backoff(attempt, most=timedelta.max) <= full
        assert _backoff(10_000, most=timedelta.max) < timedelta(days=1)

    def test_workers_do_not_come_back_in_step(self) -> None:
        assert len({_backoff(5, most=timedelta.max) for _ in range(20)}) > 10


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
