from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from pytest_django import DjangoAssertNumQueries, Settings

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.contrib.receipts.ledger import Ledger
from django_jsonbuffer.contrib.receipts.models import Receipt
from django_jsonbuffer.draining.receipts import fault_of_receipts
from django_jsonbuffer.exceptions import BufferMisconfigured, BufferUnavailable
from django_jsonbuffer.management.progress import describe_drain
from django_jsonbuffer.processors import Processor
from django_jsonbuffer.store.claims import Claim
from django_jsonbuffer.store.store import Store
from tests.prepared import drain_of
from tests.server import Redis, both_servers

pytestmark = [pytest.mark.django_db(transaction=True), both_servers]


@pytest.fixture
def bucket() -> Bucket:
    return bucket_with()


def bucket_with(**options: Any) -> Bucket:
    """A bucket with receipts, whose processor writes a row for each event, which is a text."""
    return Bucket(
        "audit", processor=store, batch_size=10, lease=timedelta(0), receipts="default", **options
    )


def store(batch: Batch) -> None:
    Group.objects.bulk_create(Group(name=name) for name in batch)


def names() -> list[str]:
    return sorted(Group.objects.values_list("name", flat=True))


def places() -> list[str]:
    return [*Receipt.objects.order_by("pk").values_list("places", flat=True)]


@pytest.fixture
def lose_acks(monkeypatch: pytest.MonkeyPatch) -> Callable[[Bucket], None]:
    """Drains a bucket whose acks do not reach Redis."""

    def lose_acks(bucket: Bucket) -> None:
        def ack(self: Store, claim: Claim) -> None:
            raise BufferUnavailable("gone")

        with monkeypatch.context() as patch:
            patch.setattr(Store, "ack", ack)
            with pytest.raises(BufferUnavailable):
                bucket.drain()

    return lose_acks


class TestBatch:
    def test_has_a_receipt_when_its_rows_are_written(self, bucket: Bucket) -> None:
        bucket.extend([*"abc"])
        assert bucket.drain().processed == 3
        assert (names(), places()) == ([*"abc"], ["0-2"])

    def test_that_comes_again_is_acknowledged_and_not_processed(
        self, bucket: Bucket, lose_acks: Callable[[Bucket], None]
    ) -> None:
        bucket.extend([*"abc"])
        lose_acks(bucket)
        assert names() == [*"abc"]
        report = bucket.drain()
        assert (report.processed, report.repeated, report.batches) == (0, 3, 1)
        assert (names(), bucket.status().batches) == ([*"abc"], 0)

    def test_of_each_shard_has_receipts_of_its_own(
        self, lose_acks: Callable[[Bucket], None]
    ) -> None:
        bucket = bucket_with(shards=4)
        for number in range(20):
            bucket.append(str(number), ordering_key=number)
        lose_acks(bucket)
        assert bucket.drain().repeated > 0
        assert len(names()) == 20
        origins = Receipt.objects.values_list("origin", flat=True)
        assert {origin.partition("#")[2] for origin in origins} == {"", "1", "2", "3"}

    def test_that_comes_again_is_reported_by_the_command(
        self, bucket: Bucket, lose_acks: Callable[[Bucket], None]
    ) -> None:
        bucket.extend([*"abc"])
        lose_acks(bucket)
        with drain_of(bucket) as drain:
            drain.step()
        assert describe_drain(drain) == "audit: 0 events in 1 batch, 3 repeated events"

    def test_that_comes_again_is_no_success_of_the_processor(
        self, bucket: Bucket, lose_acks: Callable[[Bucket], None], client_of_server: Redis
    ) -> None:
        bucket.extend([*"abc"])
        lose_acks(bucket)
        bucket.drain()
        stats = client_of_server.hgetall(f"{bucket.key}:stats")
        assert (stats.get(b"processed"), stats.get(b"successes")) == (None, None)

    def test_that_fails_has_none(self, bucket: Bucket) -> None:
        def fail(batch: Batch) -> None:
            store(batch)
            raise ValueError("no")

        bucket.processor(fail)
        bucket.append("a")
        assert bucket.drain().failed
        assert (names(), places()) == ([], [])

    def test_costs_two_statements_more(
        self, bucket: Bucket, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        bucket.processor(lambda batch: None)
        bucket.append("a")
        bucket.drain()
        bucket.extend([*"abc"])
        with drain_of(bucket) as drain:
            drain._processing._receipts._ledger.prune()  # type: ignore[union-attr]
            with django_assert_num_queries(5):  # SELECT, BEGIN, INSERT, SELECT 1, COMMIT
                drain.step()

    def test_of_a_coroutine_function(self, bucket: Bucket) -> None:
        async def store(batch: Batch) -> None:
            await Group.objects.abulk_create(Group(name=name) for name in batch)

        bucket.processor(store)
        bucket.extend([*"ab"])
        bucket.drain()
        assert (names(), places()) == ([*"ab"], ["0-1"])


class TestHalf:
    def test_of_a_batch_that_was_halved(self, bucket: Bucket) -> None:
        bad = {"f"}

        def refuse(batch: Batch) -> None:
            store(batch)
            if bad & {*batch}:
                raise ValueError("no")

        bucket.processor(refuse)
        bucket.extend([*"abcdefgh"])
        bucket.drain()
        assert (names(), places()) == ([*"abcdegh"], ["0-4,6-7"])
        bad.clear()
        bucket.drain()
        assert (names(), places()) == ([*"abcdefgh"], ["0-7"])


class TestDeadLetter:
    def refusing(self, bad: set[str]) -> Callable[[Batch], None]:
        def refuse(batch: Batch) -> None:
            for event in bad & {*batch}:
                batch.reject(event, "no")
            Group.objects.bulk_create(Group(name=name) for name in {*batch} - bad)

        return refuse

    def test_has_no_receipt_until_it_is_replayed(self, bucket: Bucket) -> None:
        bad = {"b"}
        bucket.processor(self.refusing(bad))
        bucket.extend([*"abc"])
        assert bucket.drain().buried == 1
        assert (names(), places()) == ([*"ac"], ["0,2"])
        bad.clear()
        bucket.dead.replay_all()
        assert bucket.drain().processed == 1
        assert (names(), places()) == ([*"abc"], ["0-2"])

    def test_is_written_though_the_worker_died_before(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def bury(self: Store, *args: object, **options: object) -> None:
            raise BufferUnavailable("gone")

        bucket.processor(self.refusing({"b"}))
        bucket.extend([*"abc"])
        with monkeypatch.context() as patch:
            patch.setattr(Store, "bury", bury)
            with pytest.raises(BufferUnavailable):
                bucket.drain()
        report = bucket.drain()
        assert (report.repeated, report.buried) == (2, 1)
        assert [letter.event for letter in bucket.dead] == ["b"]
        assert names() == [*"ac"]

    def test_of_several_batches_are_replayed_in_one(self, bucket: Bucket) -> None:
        bad = {"b", "d"}
        bucket.processor(self.refusing(bad))
        for event in "abcde":
            bucket.append(event)
            bucket.drain()
        bad.clear()
        bucket.dead.replay_all()
        assert bucket.drain().batches == 1
        assert (names(), places()) == ([*"abcde"], ["0"] * 5)


class TestRival:
    """Another worker has processed the batch meanwhile, since the lease was lost."""

    def test_rolls_back_and_lets_the_batch_come_again(
        self,
        bucket: Bucket,
        lose_acks: Callable[[Bucket], None],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        bucket.extend([*"ab"])
        lose_acks(bucket)
        Group.objects.all().delete()
        caplog.clear()
        with monkeypatch.context() as patch:
            # This worker has read the receipts before the other one has written its own.
            patch.setattr(Ledger, "read", lambda self, origins: {})
            report = bucket.drain()
        assert (report.processed, report.repeated, report.failed) == (0, 0, 0)
        assert (names(), caplog.messages) == ([], [])
        assert bucket.drain().repeated == 2


class TestFault:
    @pytest.mark.parametrize(
        ("alias", "atomic", "message"),
        [
            ("nowhere", None, "'nowhere'.*no such alias. Correct the alias"),
            ("default", "other", "'default'.*'other'. Name the database"),
        ],
    )
    def test_is_an_error_before_anything_is_claimed(
        self, alias: str, atomic: str | None, message: str
    ) -> None:
        bucket = Bucket("audit", receipts=alias)
        bucket.append("a")
        bucket.processor(store, atomic=atomic)
        with pytest.raises(BufferMisconfigured, match=message):
            bucket.drain()
        assert bucket.status().pending == 1

    def test_without_the_app(self, settings: Settings) -> None:
        settings.INSTALLED_APPS = [
            app for app in settings.INSTALLED_APPS if not app.endswith("receipts")
        ]
        fault = fault_of_receipts("default", Processor(store, None))
        assert fault is not None
        assert "'django_jsonbuffer.contrib.receipts' is not in INSTALLED_APPS" in fault.problem
        assert "migrate" in fault.hint

    def test_is_none_of_a_processor_in_the_same_database(self) -> None:
        assert fault_of_receipts("default", Processor(store, "default")) is None
