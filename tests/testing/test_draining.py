import asyncio

import pytest
from django.db import transaction

from django_jsonbuffer import Bucket, DrainReport
from django_jsonbuffer.draining.batches import Batch
from django_jsonbuffer.exceptions import NoProcessor
from django_jsonbuffer.testing import drain_now
from tests.testing.conftest import Delivery


class TestDrainNow:
    def test_processes_everything(self, orders: Bucket, deliveries: list[Delivery]) -> None:
        orders.extend([1, 2])
        assert drain_now("orders") == DrainReport(processed=2, batches=1)
        ((_, attempt, events),) = deliveries
        assert (attempt, events) == (1, [1, 2])
        assert drain_now(orders) == DrainReport()

    def test_without_names_drains_all(
        self, nothing_declared: None, orders: Bucket, deliveries: list[Delivery]
    ) -> None:
        audit, seen = Bucket("audit"), list[int]()
        audit.processor(seen.extend)
        orders.append(1)
        audit.append(2)
        Bucket("without").append(3)
        assert drain_now().processed == 2
        assert (seen, len(deliveries)) == ([2], 1)

    @pytest.mark.django_db
    def test_in_a_test_case(self, orders: Bucket, deliveries: list[Delivery]) -> None:
        with transaction.atomic():
            orders.append(1)
        drain_now(orders)
        assert [events for _, _, events in deliveries] == [[1]]

    def test_awaits_an_async_processor(self, orders: Bucket) -> None:
        seen: list[int] = []

        @orders.processor
        async def process(batch: Batch) -> None:
            await asyncio.sleep(0)
            seen.extend(batch)

        orders.append(1)
        drain_now(orders)
        assert seen == [1]

    def test_of_a_processor_that_goes_on_to_append_ends(self, orders: Bucket) -> None:
        orders.processor(lambda batch: orders.extend(batch))
        orders.append(1)
        with pytest.raises(AssertionError, match="go on to append"):
            drain_now(orders)

    def test_of_a_bucket_without_processor(self, orders: Bucket) -> None:
        orders.append(1)
        with pytest.raises(NoProcessor, match="orders"):
            drain_now(orders)


class TestErrors:
    @pytest.mark.parametrize("is_async", [False, True])
    def test_is_raised_and_the_batch_is_kept(self, orders: Bucket, is_async: bool) -> None:
        def fail(batch: Batch) -> None:
            raise KeyError("path")

        async def afail(batch: Batch) -> None:
            fail(batch)

        orders.processor(afail if is_async else fail)
        orders.append(1)
        with pytest.raises(KeyError, match="path"):
            drain_now(orders)
        assert orders.status().pending == 1

    def test_comes_again_at_once(self, orders: Bucket, deliveries: list[Delivery]) -> None:
        """A worker would wait for the backoff."""
        errors = [ValueError("no")] * 5

        @orders.processor
        def fail_at_first(batch: Batch) -> None:
            if errors:
                raise errors.pop()
            deliveries.append((batch.id, batch.attempt, [*batch]))

        orders.append(1)
        for _ in range(5):
            with pytest.raises(ValueError, match="no"):
                drain_now(orders)
        drain_now(orders)
        assert [(attempt, events) for _, attempt, events in deliveries] == [(6, [1])]

    def test_may_only_be_counted(self, orders: Bucket) -> None:
        @orders.processor
        def fail_with_two(batch: Batch) -> None:
            if 2 in batch:
                raise ValueError("no")

        orders.extend([1, 2, 3])
        report = drain_now(orders, raises=False)
        assert (report.processed, orders.status().pending) == (2, 1)
        assert report.failed > 0

    def test_bad_event_is_buried_after_its_attempts(self) -> None:
        few = Bucket("few", max_attempts=2)

        @few.processor
        def fail_with_two(batch: Batch) -> None:
            if 2 in batch:
                raise ValueError("no")

        few.extend([1, 2])
        for good in range(10, 20):
            few.append(good)
            drain_now(few, raises=False)
        assert [letter.event for letter in few.dead] == [2]
