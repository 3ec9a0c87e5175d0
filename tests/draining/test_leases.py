import gc
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from django_jsonbuffer import Batch, Bucket, drain_all
from django_jsonbuffer.draining import heart as heart_module
from django_jsonbuffer.draining import leases
from django_jsonbuffer.draining.heart import Heart
from django_jsonbuffer.draining.leases import Lease
from django_jsonbuffer.exceptions import LeaseLost
from django_jsonbuffer.store.claims import Claim
from django_jsonbuffer.store.store import Store
from tests import server
from tests.prepared import drain_of
from tests.server import Redis, both_servers, real_server

pytestmark = both_servers

LEASE = timedelta(milliseconds=300)


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("orders", batch_size=1, lease=LEASE)


@pytest.fixture
def heart(monkeypatch: pytest.MonkeyPatch) -> Heart:
    """A heart that no other worker of this process has."""
    heart = Heart()
    monkeypatch.setattr(leases, "HEART", heart)
    return heart


def claimed(bucket: Bucket, worker: str, *, lease: timedelta = LEASE) -> Claim | None:
    return bucket._definition.parts.store.claim(worker, lease=lease, linger=None).claim


@real_server
class TestDoubt:
    """A worker has died, and no other one has looked at the bucket for some time."""

    @pytest.fixture
    def bucket(self, configure: Callable[..., None], client_of_server: Redis) -> Bucket:
        # A shorter lease is over by the first heartbeat of the next worker.
        lease, shards = timedelta(seconds=2.1), 2
        configure(BUCKETS={"orders": {"lease": lease, "shards": shards}})
        bucket = Bucket("orders")
        bucket.append("of shard 0", ordering_key=4)
        store = bucket._definition.parts.store
        store.seal()
        claim = store.claim("dead", lease=lease, linger=None, beats=True).claim
        assert claim is not None
        of_group = (store.keys.batches, "drain", "dead", 0, [claim.stream_id])
        client_of_server.xclaim(*of_group, idle=60_000, justid=True)
        client_of_server.hset(store.keys.stats, "clock", 1)
        return bucket

    @pytest.mark.parametrize(
        "drain", [Bucket.drain, lambda bucket: drain_all()], ids=["bucket", "all"]
    )
    def test_ends_although_no_batch_is_held(
        self, bucket: Bucket, drain: Callable[[Bucket], object]
    ) -> None:
        got: list[str] = []
        bucket.processor(got.extend)
        worker = threading.Thread(target=drain, args=[bucket], daemon=True)
        worker.start()
        worker.join(10)
        assert got == ["of shard 0"]


class TestRenewal:
    def test_keeps_a_batch_whose_processor_runs_long(self, bucket: Bucket) -> None:
        others: list[Claim | None] = []

        def slow(batch: Batch) -> None:
            for _ in range(10):
                time.sleep(0.1)
                others.append(claimed(bucket, "another"))

        bucket.processor(slow)
        bucket.append(1)
        assert bucket.drain().processed == 1
        assert others == [None] * 10

    def test_ends_with_the_processor(self, bucket: Bucket) -> None:
        bucket.append(1)
        claim = claimed(bucket, "worker")
        assert claim is not None
        lease = Lease(bucket._definition.parts.store, "worker", duration=LEASE)
        lease.begin()
        lease.claim = claim
        time.sleep(0.5)
        assert claimed(bucket, "another") is None
        lease.claim = None
        time.sleep(0.5)
        assert claimed(bucket, "another") is not None
        lease.end()

    @pytest.mark.parametrize("fails", [False, True])
    def test_of_a_drain_ends_with_its_processor(self, bucket: Bucket, fails: bool) -> None:
        held: list[Claim | None] = []

        def process(batch: Batch) -> None:
            held.append(drain._lease.claim)
            if fails:
                raise ValueError

        bucket.processor(process)
        bucket.append(1)
        with drain_of(bucket) as drain:
            drain.step()
            assert drain._lease.claim is None
        assert held[0] is not None

    def test_is_not_attempted_for_a_batch_that_was_released(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The worker takes some time to release a batch that failed, and its lease is short."""
        release = Store.release

        def release_slowly(store: Store, claim: Claim, **options: Any) -> None:
            release(store, claim, **options)
            time.sleep(0.3)

        def fail(batch: Batch) -> None:
            raise ValueError

        monkeypatch.setattr(Store, "release", release_slowly)
        bucket.processor(fail)
        bucket.append(1)
        assert bucket.drain().failed == 1
        assert "no longer held" not in caplog.text

    def test_that_comes_too_late_is_said_once(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket.append(1)
        claim = claimed(bucket, "worker")
        assert claim is not None
        assert claimed(bucket, "another", lease=timedelta(0)) is not None
        lease = Lease(bucket._definition.parts.store, "worker", duration=LEASE)
        lease.begin()
        lease.claim = claim
        time.sleep(0.5)
        lease.end()
        assert caplog.text.count("no longer held") == 1
        with pytest.raises(LeaseLost):
            lease.confirm(claim)

    def test_is_ended_by_no_error(self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
        renew: Any = Store.renew
        errors = [OSError("of a bug somewhere"), None]

        def failing(store: Store, claim: Claim) -> None:
            if errors and (error := errors.pop(0)):
                raise error
            renew(store, claim)

        monkeypatch.setattr(Store, "renew", failing)
        others: list[Claim | None] = []

        def slow(batch: Batch) -> None:
            for _ in range(8):
                time.sleep(0.1)
                others.append(claimed(bucket, "another"))

        bucket.processor(slow)
        bucket.append(1)
        assert bucket.drain().processed == 1
        assert others[4:] == [None] * 4
        assert not errors

    def test_thread_ends_with_a_worker_that_nobody_has_closed(
        self, bucket: Bucket, heart: Heart, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(heart_module, "_LONGEST_SLEEP_SECONDS", 0.1)
        bucket.processor(lambda batch: None)
        bucket.append(1)
        drain = drain_of(bucket)
        while drain.step():
            pass
        thread = heart._thread
        assert thread is not None
        del drain
        gc.collect()
        thread.join(5)
        assert not thread.is_alive()

    def test_thread_that_cannot_be_started_is_no_end_of_the_worker(
        self, bucket: Bucket, heart: Heart, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def start(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        got: list[int] = []
        bucket.processor(got.extend)
        bucket.append(1)
        with drain_of(bucket) as drain:
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", start)
                with pytest.raises(RuntimeError):
                    drain.step()
            while drain.step():
                pass
        assert got == [1]

    def test_is_tried_again_when_redis_was_away(
        self, bucket: Bucket, private_server: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket.append(1)
        claim = claimed(bucket, "worker")
        assert claim is not None
        lease = Lease(bucket._definition.parts.store, "worker", duration=LEASE)
        lease.begin()
        lease.claim = claim
        private_server.execute_command("ACL", "SETUSER", server.USER, "-eval", "-evalsha")
        time.sleep(0.2)
        private_server.execute_command("ACL", "SETUSER", server.USER, "+eval", "+evalsha")
        time.sleep(0.4)
        assert claimed(bucket, "another") is None
        lease.end()
        assert "could not be renewed yet: BufferUnavailable: Redis refused" in caplog.text
        assert {vars(record)["bucket"] for record in caplog.records} == {"orders"}

    def test_does_not_log_the_message_of_an_error_that_is_not_ours(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*args: Any, **options: Any) -> None:
            raise ValueError("card 4111")

        lease = Lease(bucket._definition.parts.store, "worker", duration=LEASE)
        monkeypatch.setattr(Store, "beat", fail)
        lease.renew()
        assert "could not be renewed yet: ValueError" in caplog.text
        assert "4111" not in caplog.text


class TestHeartbeat:
    def test_tells_how_many_workers_there_are(self, bucket: Bucket) -> None:
        bucket.processor(lambda batch: None)
        bucket.extend([1, 2])
        assert bucket.status().workers == 0
        with drain_of(bucket, watch=True) as one, drain_of(bucket, watch=True) as another:
            assert one.step()
            assert another.step()
            assert bucket.status().workers == 2
        assert bucket.status().workers == 0

    def test_of_a_worker_that_died_is_forgotten(
        self, bucket: Bucket, client_of_server: Redis
    ) -> None:
        workers = bucket._definition.parts.store.keys.workers
        bucket._definition.parts.store.beat("alive", lease=LEASE)
        now_ms = int(time.time() * 1000)
        client_of_server.hset(
            workers, mapping={"silent": now_ms - 60_000, "gone": now_ms - 90_000_000, "odd": "x"}
        )
        assert bucket.status().workers == 1
        bucket._definition.parts.store.beat("alive", lease=LEASE)
        assert set(client_of_server.hkeys(workers)) == {b"alive", b"silent"}

    def test_goes_on_on_a_full_server(self, private_server: Redis) -> None:
        bucket = Bucket("orders")
        private_server.config_set("maxmemory", 1)
        bucket._definition.parts.store.beat("worker", lease=LEASE)
        assert bucket.status().workers == 1
