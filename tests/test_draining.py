import asyncio
import logging
import time
from datetime import timedelta
from typing import Any

import pytest
import redis

from django_jsonbuffer import Batch, Bucket, DrainReport
from django_jsonbuffer.draining import _backoff
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store import Claim, Store
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
        # One batch past the newest of the beginning may be claimed before the drain sees it.
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
        store = bucket.wiring.store
        first, _ = store.claim("other", lease=bucket.options.lease, linger=None, after=None)
        assert first is not None
        claim_and_die(bucket)
        store.release(first, lease=bucket.options.lease, backoff=timedelta(0))
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
        # So that the reply comes when the connection has long been given back.
        private_server.execute_command("CLIENT", "PAUSE", 200)
        with monkeypatch.context() as patch:
            patch.setattr(redis.Redis, "parse_response", interrupted)
            with pytest.raises(KeyboardInterrupt):
                bucket.peek()
        assert bucket.status().pending == 2


class TestUnreadable:
    """A foreign client put a batch into the stream that only looks like one."""

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
        assert letter[b"attempts"] == b"1"
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

        monkeypatch.setattr(Store, "set_aside", unavailable)
        assert bucket.take() == [1, 2, 3, 4, 5]
        assert "is lost: 1" in caplog.text

    def test_is_passed_over_by_peek(self, bucket: Bucket) -> None:
        assert bucket.peek() == [1, 2, 3, 4, 5][: len(bucket.peek())]
        assert bucket.peek(100) == [1, 2, 3, 4, 5]

    def test_that_is_no_longer_held_stays_where_it_is(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        bury: Any = Store.bury

        def overtaken(store: Store, claim: Claim, **options: Any) -> None:
            store.claim("heir", lease=timedelta(0), linger=None, after=None)
            bury(store, claim, **options)

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


class TestBackoff:
    def test_grows_with_each_attempt_and_stays_finite(self) -> None:
        for attempt in range(1, 18):
            full = timedelta(seconds=2 ** (attempt - 1))
            assert full / 2 <= _backoff(attempt) <= full
        assert _backoff(10_000) < timedelta(days=1)

    def test_workers_do_not_come_back_in_step(self) -> None:
        assert len({_backoff(5) for _ in range(20)}) > 10


def drain_until(bucket: Bucket, *, processed: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if bucket.drain().processed == processed:
            return
        time.sleep(0.05)
    pytest.fail("the batch did not come again")


def claim_and_die(bucket: Bucket) -> None:
    """Leaves a batch claimed, as a worker does that is killed."""
    bucket.wiring.store.seal()
    claim, _ = bucket.wiring.store.claim(
        "dead", lease=timedelta(minutes=5), linger=None, after=None
    )
    assert claim is not None
