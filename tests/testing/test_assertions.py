from datetime import date
from decimal import Decimal
from unittest.mock import ANY

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.testing import assert_appended, assert_nothing_appended


def failure(*args: object, **options: object) -> str:
    with pytest.raises(AssertionError) as caught:
        assert_appended(*args, **options)  # type: ignore[arg-type]
    return str(caught.value)


class TestAssertAppended:
    def test_event(self, orders: Bucket) -> None:
        orders.append({"id": 7, "on": date(2026, 1, 2), "total": Decimal("1.5")})
        assert_appended("orders", {"id": 7, "on": "2026-01-02", "total": "1.5"})
        assert_appended(orders, {"id": 7, "on": date(2026, 1, 2), "total": Decimal("1.5")})
        assert_appended(orders, {"id": ANY, "on": ANY, "total": ANY})
        assert_appended(orders)

    def test_keys_are_as_json(self, orders: Bucket) -> None:
        orders.append({None: 1, True: 2, 3: 4})
        assert_appended(orders, {None: 1, True: 2, 3: 4})

    def test_values(self, orders: Bucket) -> None:
        orders.append({"id": 7, "lines": [{"sku": "a"}]})
        assert_appended(orders, id=7)
        assert_appended(orders, lines=({"sku": "a"},))
        assert "no such event" in failure(orders, id=7, lines=[])

    def test_count(self, orders: Bucket) -> None:
        orders.extend([1, 2, 2])
        assert_appended(orders, 2, count=2)
        assert_appended(orders, 3, count=0)
        assert_appended(orders, count=3)
        assert failure(orders, 2, count=1).startswith(
            "Bucket 'orders' has the event 2 times, not 1"
        )
        assert failure(orders, 1, count=2).startswith("Bucket 'orders' has the event once, not 2")

    def test_true_is_not_one(self, orders: Bucket) -> None:
        orders.append({"paid": True})
        assert "no such event" in failure(orders, {"paid": 1})

    def test_failure_shows_the_most_similar_event(self, orders: Bucket) -> None:
        orders.extend([{"id": 6, "status": "new", "a": 1}, {"id": 7, "status": "new"}, "other"])
        assert failure(orders, {"id": 7, "status": "paid"}).splitlines() == [
            "Bucket 'orders' has no such event among the 3 events that were appended.",
            "The most similar one (- expected, + appended):",
            "  {",
            '    "id": 7,',
            '-   "status": "paid"',
            '+   "status": "new"',
            "  }",
        ]

    def test_failure_shows_the_values_alone(self, orders: Bucket) -> None:
        orders.append({"id": 7, "status": "new", "lines": []})
        assert failure(orders, status="paid").splitlines() == [
            "Bucket 'orders' has no such event among the 1 event that was appended.",
            "The most similar one (- expected, + appended):",
            "  {",
            '-   "status": "paid"',
            '+   "status": "new"',
            "  }",
        ]

    def test_failure_without_any_event(self, orders: Bucket) -> None:
        assert failure(orders, 1) == "Bucket 'orders' has no event: nothing was appended to it."

    def test_failure_names_other_buckets(self, orders: Bucket) -> None:
        orders.extend([1, 2])
        Bucket("audit").append(3)
        assert failure("ordres", 1).splitlines()[1] == (
            "Of the other buckets, 'audit' has 1 and 'orders' has 2."
        )

    def test_failure_of_many_events_is_short(self, orders: Bucket) -> None:
        orders.extend(range(1000))
        assert len(failure(orders, count=3).splitlines()) == 7


class TestAssertNothingAppended:
    def test_to_a_bucket(self, orders: Bucket) -> None:
        assert_nothing_appended(orders)
        Bucket("audit").append(1)
        assert_nothing_appended("orders")

    def test_to_any_bucket(self, orders: Bucket) -> None:
        assert_nothing_appended()
        orders.append({"id": 7})
        with pytest.raises(AssertionError) as caught:
            assert_nothing_appended()
        assert str(caught.value).splitlines() == [
            "No event should have been appended to any bucket, but 1 was:",
            '  {"id": 7}',
        ]
