import asyncio
from decimal import Decimal

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.test import TestCase

from django_jsonbuffer import Bucket, gathered
from django_jsonbuffer.testing import (
    appended_events,
    capture_events,
    commit_appends,
    drain_now,
    redis_away,
)
from tests.testing.conftest import Delivery


class TestAppendedEvents:
    def test_are_in_the_order_of_their_appends(self, orders: Bucket) -> None:
        orders.append({"id": 1})
        Bucket("audit").append("seen")
        orders.extend([{"id": 2}, {"id": 3}])
        assert appended_events(orders) == [{"id": 1}, {"id": 2}, {"id": 3}]
        assert appended_events("audit") == ["seen"]
        assert appended_events() == [{"id": 1}, "seen", {"id": 2}, {"id": 3}]

    def test_are_as_json(self, orders: Bucket) -> None:
        orders.append({"total": Decimal("1.50"), "lines": (1, 2)})
        assert appended_events(orders) == [{"total": "1.50", "lines": [1, 2]}]

    def test_stay_when_they_are_drained(self, orders: Bucket, deliveries: list[Delivery]) -> None:
        orders.append(1)
        drain_now(orders)
        assert appended_events(orders) == [1]

    def test_of_append_that_failed_are_none(self, orders: Bucket) -> None:
        with redis_away(), pytest.raises(Exception, match="reached"):
            orders.append(1)
        assert appended_events(orders) == []

    def test_that_were_dropped_are_none(self) -> None:
        full = Bucket("full", max_pending=1, overflow="drop_newest")
        full.append(1)
        full.append(2)
        assert appended_events(full) == [1]

    def test_whose_place_was_taken_by_later_ones_count(self) -> None:
        full = Bucket("full", max_pending=1, overflow="drop_oldest")
        full.append(1)
        full.append(2)
        assert appended_events(full) == [1, 2]

    def test_of_async_code(self, orders: Bucket) -> None:
        async def append() -> None:
            await orders.aappend(1)
            await orders.aextend([2, 3])

        asyncio.run(append())
        assert appended_events(orders) == [1, 2, 3]


class TestCaptureEvents:
    def test_has_the_events_of_the_block(self, orders: Bucket) -> None:
        orders.append("before")
        with capture_events("orders") as events:
            orders.append("within")
            assert events == []
        orders.append("after")
        assert events == ["within"]

    def test_of_all_buckets(self, orders: Bucket) -> None:
        with capture_events() as events:
            orders.append(1)
            Bucket("audit").append(2)
        assert events == [1, 2]

    def test_of_a_block_that_raises_are_not_captured(self, orders: Bucket) -> None:
        with pytest.raises(KeyError), capture_events("orders") as events:
            orders.append(1)
            raise KeyError
        assert events == []

    def test_of_gathered_events(self, orders: Bucket) -> None:
        with capture_events("orders") as events, gathered():
            orders.append(1)
        assert events == [1]


@pytest.mark.django_db(transaction=True)
def test_commit_of_a_real_transaction(orders: Bucket) -> None:
    with transaction.atomic():
        orders.append(1)
        assert appended_events(orders) == []
    assert appended_events(orders) == [1]


@pytest.mark.django_db
class TestInTestCase:
    """A test case of Django rolls its transaction back, so that no commit comes."""

    def test_append_counts_at_once(self, orders: Bucket) -> None:
        orders.append(1)
        assert appended_events(orders) == [1]

    def test_append_in_atomic_counts_after_its_end(self, orders: Bucket) -> None:
        with capture_events("orders") as events:
            with transaction.atomic():
                orders.append(1)
                with transaction.atomic():
                    orders.append(2)
                assert appended_events(orders) == []
            orders.append(3)
        assert events == [1, 2, 3]

    def test_in_an_async_test(self, orders: Bucket) -> None:
        async def test() -> None:
            await orders.aappend(1)
            assert appended_events(orders) == [1]

        async_to_sync(test)()
        assert orders.peek() == [1]

    def test_rollback_drops_the_append(self, orders: Bucket) -> None:
        with pytest.raises(KeyError), transaction.atomic():
            orders.append(1)
            raise KeyError
        orders.append(2)
        assert appended_events(orders) == [2]

    def test_captures_nothing_from_before_the_block(self, orders: Bucket) -> None:
        orders.append("before")
        with capture_events("orders") as events:
            orders.append("within")
        assert events == ["within"]

    def test_other_on_commit_functions_do_not_run(self, orders: Bucket) -> None:
        called: list[int] = []
        with capture_events("orders"):
            transaction.on_commit(lambda: called.append(1))
        assert called == []

    @pytest.mark.parametrize("is_first", [True, False])
    def test_with_captured_on_commit_callbacks(self, orders: Bucket, is_first: bool) -> None:
        with capture_events("orders") as events:
            with TestCase.captureOnCommitCallbacks(execute=True) as callbacks:
                with transaction.atomic():
                    orders.append(1)
                    transaction.on_commit(lambda: orders.append(2))
                if is_first:
                    commit_appends()
            assert len(callbacks) == 2
        assert events == [1, 2]

    def test_appends_within_atomic_leave_in_one_round_trip(self, orders: Bucket) -> None:
        with transaction.atomic():
            for number in range(3):
                orders.append(number)
        assert orders.status().pending == 0
        commit_appends()
        assert orders.status().pending == 3
