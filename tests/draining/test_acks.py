from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.draining.acks import Acks
from django_jsonbuffer.draining.batches import Processed
from django_jsonbuffer.draining.failures import Failures
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store.claims import Claim
from django_jsonbuffer.store.store import Store
from example_project.embedded_redis import EmbeddedRedis
from tests import server
from tests.draining.drains import report
from tests.faults.proxy import Cut, Fault, Proxy, at_first
from tests.server import Redis, both_servers
from tests.store.steps import NOW, append, claimed

pytestmark = both_servers


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


class Acked:
    """Acks of one worker, and all that they need."""

    def __init__(self, bucket: Bucket) -> None:
        _, options, self.store, _ = bucket._definition.parts
        self.report = report()
        self.failures = Failures(self.store, options, self.report, logs_messages=True)
        self.acks = Acks(self.store, options, self.report, self.failures)

    def processed(self, *events: Any, rejected: Sequence[int] = ()) -> Processed:
        """A batch that a worker has claimed and processed."""
        append(self.store, *events)
        held = claimed(self.store)
        batch = Batch(events, id=held.id, attempt=held.attempt, bucket=self.store.name)
        for place in rejected:
            batch.reject(events[place], "no good")
        return Processed(held, batch, len(events), False)


class TestAcknowledge:
    def test_removes_the_batch_and_counts_its_events(self, bucket: Bucket) -> None:
        worker = Acked(bucket)
        processed = worker.processed(1, 2, 3)
        worker.failures.failing.add(processed.claim.id)
        worker.acks.acknowledge(processed)
        assert worker.report == report(processed=3, batches=1)
        assert bucket.status().batches == 0
        assert worker.acks.waiting is None
        assert not worker.failures.failing

    def test_buries_what_was_rejected(self, bucket: Bucket) -> None:
        worker = Acked(bucket)
        worker.acks.acknowledge(worker.processed("a", "b", "c", rejected=[1]))
        assert worker.report == report(processed=2, batches=1, buried=1)
        assert [letter.event for letter in bucket.dead] == ["b"]
        assert bucket.status().batches == 0

    @pytest.mark.parametrize("rejected", [[], [0]], ids=["ack", "bury"])
    def test_of_a_lost_lease_is_logged_and_counts_nothing(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture, rejected: list[int]
    ) -> None:
        worker = Acked(bucket)
        processed = worker.processed(1, 2, rejected=rejected)
        heir = claimed(worker.store, "heir", lease=NOW)
        worker.acks.acknowledge(processed)
        assert worker.report == report()
        assert worker.acks.waiting is None
        assert "The events may be processed again" in caplog.text
        worker.store.ack(heir)

    @pytest.mark.parametrize("rejected", [[], [0]], ids=["ack", "bury"])
    def test_that_redis_refuses_waits_and_may_be_sent_again(
        self, private_server: Redis, caplog: pytest.LogCaptureFixture, rejected: list[int]
    ) -> None:
        bucket = Bucket("orders")
        worker = Acked(bucket)
        processed = worker.processed(1, 2, rejected=rejected)
        private_server.execute_command("ACL", "SETUSER", server.USER, "-eval", "-evalsha")
        with pytest.raises(BufferUnavailable):
            worker.acks.acknowledge(processed)
        assert worker.report == report()
        waiting = worker.acks.waiting
        assert waiting == processed
        assert "of 2 events is processed, but could not be acknowledged yet" in caplog.text
        private_server.execute_command("ACL", "SETUSER", server.USER, "+eval", "+evalsha")
        worker.acks.acknowledge(waiting)
        buried = len(rejected)
        assert worker.report == report(processed=2 - buried, batches=1, buried=buried)
        assert worker.acks.waiting is None
        assert bucket.status().batches == 0


class TestLostReply:
    """The proxy loses replies, so a worker cannot know whether its ack was carried out."""

    @pytest.fixture
    def proxy(self, use_cache: Callable[..., str]) -> Iterator[Proxy]:
        with EmbeddedRedis() as embedded, Proxy(embedded.url) as proxy:
            use_cache(f"redis://127.0.0.1:{proxy.port}?socket_timeout=0.5")
            yield proxy

    @pytest.mark.parametrize("fault", [Cut("reply"), Cut("request", 5)], ids=["done", "not done"])
    @pytest.mark.parametrize("rejected", [[], [0]], ids=["ack", "bury"])
    def test_lets_the_ack_be_sent_again(
        self, proxy: Proxy, fault: Fault, rejected: list[int], caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket = Bucket("orders")
        worker = Acked(bucket)
        processed = worker.processed(1, 2, rejected=rejected)
        with proxy.under(at_first(fault)) as course:
            worker.acks.acknowledge(processed)
        assert course.done == 1
        buried = len(rejected)
        assert worker.report == report(processed=2 - buried, batches=1, buried=buried)
        assert (bucket.status().batches, bucket.status().dead) == (0, buried)
        assert "again" not in caplog.text

    def test_lasts_no_longer_than_the_append_timeout(self, proxy: Proxy) -> None:
        bucket = Bucket("orders", append_timeout=timedelta(0))
        worker = Acked(bucket)
        processed = worker.processed(1, 2)
        with (
            proxy.under(lambda number: Cut("reply")) as course,
            pytest.raises(BufferUnavailable),
        ):
            worker.acks.acknowledge(processed)
        assert course.seen == 1
        assert worker.acks.waiting == processed._replace(is_repeat=True)
        worker.acks.acknowledge(worker.acks.waiting)
        assert worker.report == report(processed=2, batches=1)
        assert bucket.status().batches == 0
