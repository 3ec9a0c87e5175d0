import os
import sys
import time
from datetime import timedelta
from typing import Any

import pytest

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.catalog import options_of
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store.store import Store
from tests.draining.drains import claim_and_die, refuse, report
from tests.prepared import drain_of
from tests.server import Redis, both_servers
from tests.threads import at_once

pytestmark = both_servers


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
        assert bucket.drain() == report(processed=1, batches=1)
        assert bucket.status().pending == 4

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
        first = store.claim("other", lease=options_of(bucket).lease, linger=None).claim
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
        with drain_of(slow, watch=True) as drain:
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
        with drain_of(bucket, watch=True) as drain:
            failing = [drain.step() and drain.is_failing for _ in range(3)]
            assert failing == [True, True, False]
            assert not drain.step()
        assert seen == [(1, 1), (1, 2), (2, 1)]

    def test_comes_to_a_new_batch_after_each_failure(self) -> None:
        bucket = Bucket("orders", batch_size=1, lease=timedelta(0))
        got = refuse(bucket, 0, 1, 2)
        bucket.extend(range(3 + 7))
        with drain_of(bucket, watch=True) as drain:
            for _ in range(2 * (3 + 7)):
                drain.step()
        assert got == [*range(3, 3 + 7)]


class TestFailure:
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

    def test_that_seems_to_have_run_out_is_believed_after_a_while(self, bucket: Bucket) -> None:
        """No worker has sent a heartbeat, so the clock of Redis may have been set."""
        heir = Bucket("orders", lease=timedelta(seconds=0.2))
        got: list[int] = []
        heir.processor(got.extend)
        bucket.append(1)
        claim_and_die(bucket)
        time.sleep(0.25)
        with drain_of(heir) as drain:
            assert not drain.step()
            assert drain.next_seconds is not None
            assert got == []
            while drain.step() or drain.wait():
                pass
        assert got == [1]

    def test_that_its_worker_renews_meanwhile_stays_with_it(self, bucket: Bucket) -> None:
        heir = Bucket("orders", lease=timedelta(seconds=0.2))
        heir.processor(lambda batch: pytest.fail("a worker lost its batch"))
        bucket.append(1)
        store = bucket._definition.parts.store
        store.seal()
        claim = store.claim("lives", lease=timedelta(seconds=0.2), linger=None).claim
        assert claim is not None
        time.sleep(0.25)
        with drain_of(heir) as drain:
            assert not drain.step()
            store.renew(claim)
            while drain.step() or drain.wait():
                store.renew(claim)
        assert bucket.status().in_flight == 1

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
