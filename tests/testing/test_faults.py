import pytest
from django.core.management import call_command
from django.db import transaction
from django.test import override_settings

from django_jsonbuffer import Bucket, isolation
from django_jsonbuffer.draining.batches import Batch
from django_jsonbuffer.exceptions import BufferMisconfigured, BufferUnavailable
from django_jsonbuffer.testing import (
    appended_events,
    commit_appends,
    crash,
    drain_now,
    duplicate_delivery,
    lost_reply,
    redis_away,
)
from tests.sinks.models import Product
from tests.testing.conftest import Delivery


class TestCrash:
    @pytest.mark.parametrize("after", ["claim", "processor", "commit", "ack"])
    def test_and_what_the_next_worker_gets(
        self, after: str, orders: Bucket, deliveries: list[Delivery]
    ) -> None:
        orders.extend([1, 2])
        with crash(after=after):  # type: ignore[arg-type]
            drain_now(orders)
            orders.append("the block goes on after the crash")
        drain_now(orders)
        attempts = [attempt for _, attempt, _ in deliveries]
        assert attempts == {"claim": [2], "ack": [1]}.get(after, [1, 2])
        assert len({id for id, _, _ in deliveries}) == 1
        status = orders.status()
        assert (status.pending, status.in_flight, status.processed) == (0, 0, 2)

    @pytest.mark.parametrize("after", ["claim", "processor", "commit"])
    def test_of_a_worker_that_has_a_batch_of_any_shard(self, after: str) -> None:
        got: list[int] = []
        orders = Bucket("orders", shards=4, batch_size=1, processor=got.extend)
        for number in range(12):
            orders.append(number, ordering_key=number)
        with crash(after=after):  # type: ignore[arg-type]
            drain_now(orders)
        drain_now(orders)
        assert {*got} == {*range(12)}
        assert orders.status().in_flight == 0

    def test_of_a_worker_with_batches_of_several_shards_delivered_twice(self) -> None:
        got: list[int] = []
        orders = Bucket("orders", shards=4, processor=got.extend)
        for number in range(12):
            orders.append(number, ordering_key=number)
        with duplicate_delivery():
            drain_now(orders)
        assert sorted(got) == sorted([*range(12)] * 2)

    @pytest.mark.django_db
    @pytest.mark.parametrize(("after", "rows"), [("processor", 0), ("commit", 1)])
    def test_and_the_transaction_of_the_processor(
        self, after: str, rows: int, orders: Bucket
    ) -> None:
        orders.processor(lambda batch: Product.objects.create(name="new"), atomic="default")
        orders.append(1)
        with crash(after=after):  # type: ignore[arg-type]
            drain_now(orders)
        assert Product.objects.count() == rows

    @pytest.mark.django_db
    @pytest.mark.parametrize("how", ["drain", "command"])
    def test_of_any_drain(self, how: str, orders: Bucket, deliveries: list[Delivery]) -> None:
        orders.append(1)
        commit_appends()
        with crash(after="commit"):
            orders.drain() if how == "drain" else call_command("drain_buckets", "orders")
        assert orders.drain().processed == 1
        assert [attempt for _, attempt, _ in deliveries] == [1, 2]

    def test_of_an_async_processor(self, orders: Bucket) -> None:
        seen: list[int] = []

        @orders.processor
        async def process(batch: Batch) -> None:
            seen.extend(batch)

        orders.append(1)
        with crash(after="processor"):
            drain_now(orders)
        drain_now(orders)
        assert seen == [1, 1]

    def test_after_something_else_is_refused(self) -> None:
        with pytest.raises(ValueError, match="after='end' must be one of 'claim', "):
            crash(after="end").__enter__()  # type: ignore[arg-type]

    def test_that_does_not_come_fails_the_test(self, orders: Bucket) -> None:
        with pytest.raises(AssertionError, match="No worker crashed"), crash(after="claim"):
            pass

    def test_does_not_hide_an_error_of_the_block(self, orders: Bucket) -> None:
        with pytest.raises(KeyError), crash(after="claim"):
            raise KeyError

    def test_needs_an_isolation(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as without:
            without.setattr(isolation, "current", None)
            with pytest.raises(BufferMisconfigured, match="not isolated"), crash(after="claim"):
                pass


class TestDuplicateDelivery:
    def test_has_the_same_id_and_the_next_attempt(
        self, orders: Bucket, deliveries: list[Delivery]
    ) -> None:
        orders.extend([1, 2])
        with duplicate_delivery():
            drain_now(orders)
        ids, attempts, events = zip(*deliveries, strict=True)
        assert (len({*ids}), attempts, events) == (1, (1, 2), ([1, 2], [1, 2]))
        assert orders.status().pending == orders.status().in_flight == 0

    def test_of_each_batch(self, deliveries: list[Delivery]) -> None:
        small = Bucket("orders", batch_size=2)
        small.extend([1, 2, 3])
        with duplicate_delivery():
            drain_now(small)
        assert [events for _, _, events in deliveries] == [[1, 2], [3], [1, 2], [3]]

    def test_of_rejected_events(self, orders: Bucket) -> None:
        orders.processor(lambda batch: batch.reject(1, "no"))
        orders.append(1)
        with duplicate_delivery():
            drain_now(orders)
        assert [letter.event for letter in orders.dead] == [1]

    def test_of_nothing_fails_the_test(self, orders: Bucket, deliveries: list[Delivery]) -> None:
        with pytest.raises(AssertionError, match="No batch"), duplicate_delivery():
            drain_now(orders)


class TestLostReply:
    def test_to_an_append_stores_it_once(self, orders: Bucket) -> None:
        with lost_reply():
            orders.append(1)
        assert appended_events(orders) == orders.peek() == [1]

    def test_to_an_ack_processes_once(self, orders: Bucket, deliveries: list[Delivery]) -> None:
        orders.append(1)
        with lost_reply(to="ack"):
            drain_now(orders)
        assert len(deliveries) == orders.status().processed == 1

    @pytest.mark.django_db
    def test_at_the_commit_of_a_test_case(self, orders: Bucket) -> None:
        with lost_reply(), transaction.atomic():
            orders.append(1)
        assert orders.peek() == [1]

    def test_to_something_else_is_refused(self) -> None:
        with pytest.raises(ValueError, match="must be one of 'append', 'ack'"):
            lost_reply(to="drain").__enter__()  # type: ignore[arg-type]

    def test_may_be_lost_several_times(self, orders: Bucket) -> None:
        with lost_reply(times=2):
            orders.append(1)
        assert orders.peek() == [1]

    def test_that_is_not_lost_fails_the_test(self, orders: Bucket) -> None:
        with pytest.raises(AssertionError, match="had 0"), lost_reply():
            pass


class TestRedisAway:
    def test_fails_every_call(self, orders: Bucket, deliveries: list[Delivery]) -> None:
        orders.append(1)
        with redis_away():
            for call in (lambda: orders.append(2), orders.status, orders.drain, orders.peek):
                with pytest.raises(BufferUnavailable):
                    call()
        orders.append(3)
        assert orders.peek() == [1, 3]

    def test_spills(self, tmp_path: object) -> None:
        spilling = Bucket("spilling", on_unavailable="spill", spill_dir=tmp_path)
        with redis_away():
            spilling.append(1)
            assert appended_events(spilling) == []
        spilling.append(2)
        assert sorted(appended_events(spilling)) == sorted(spilling.peek()) == [1, 2]

    def test_outlives_a_change_of_settings(self, orders: Bucket) -> None:
        with redis_away(), override_settings(USE_TZ=False), pytest.raises(BufferUnavailable):
            orders.append(1)
        orders.append(2)

    @pytest.mark.django_db
    def test_holds_for_the_commit_of_a_test_case(
        self, orders: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        with redis_away(), transaction.atomic():
            orders.append(1)
        assert appended_events(orders) == []
        assert "1 events are lost" in caplog.text

    def test_may_begin_before_the_first_use(self, orders: Bucket) -> None:
        with redis_away(), pytest.raises(BufferUnavailable):
            orders.append(1)
        orders.append(2)
        assert orders.peek() == [2]
