"""What the pages cost on a site with thousands of buckets and dead letters.

With ``FAULTS=full``, there are 100,000 dead letters. Times are reported, and not asserted.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.conf import configuration
from tests.admin.pages import BUCKET, LETTERS, PAGE, WORKERS
from tests.faults.scale import report, scale
from tests.server import Redis

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]

BUCKETS = 10_000
LETTERS_IN_ALL = scale(full=100_000, short=5_000)
GROUPS = 20


@dataclass
class Cost:
    """Of one page."""

    round_trips: int
    from_redis: int
    """Bytes that Redis has sent."""

    page: int
    """Bytes of the page."""


@pytest.fixture
def cost_of(
    admin_client: Client, private_server: Redis, round_trips: list[str]
) -> Callable[..., Cost]:
    def cost_of(path: str, query: dict[str, Any] | None = None) -> Cost:
        admin_client.get(path, query)  # which loads the scripts
        round_trips.clear()
        before = private_server.info("stats")["total_net_output_bytes"]
        taken = []
        for _ in range(scale(full=5, short=1)):
            began = time.perf_counter()
            response = admin_client.get(path, query)
            taken.append(time.perf_counter() - began)
            assert response.status_code == 200
        sent = private_server.info("stats")["total_net_output_bytes"] - before
        trips = len([each for each in round_trips if each != "INFO"])
        report(f"page {path} {query or ''}", ms=f"{min(taken) * 1000:.0f}")
        return Cost(trips // len(taken), sent // len(taken), len(response.content))

    return cost_of


class TestBuckets:
    @pytest.fixture(autouse=True)
    def _buckets(self, nothing_declared: None, private_server: Redis) -> None:
        names = [f"tenant-{number:05}" for number in range(BUCKETS)]
        private_server.sadd(f"{configuration().prefix}:buckets", *names)
        for name in names[:: scale(full=4, short=40)]:
            Bucket(name).extend([{"n": 1}] * 3)

    @pytest.mark.parametrize(
        ("query", "most"),
        [
            # The names; the figures of each 500 buckets; the workers; the history. And one more,
            # because events wait and nobody drains them.
            ({}, 1 + BUCKETS // 500 + 3),
            ({"sort": "-pending", "p": "70"}, 1 + BUCKETS // 500 + 3),
            ({"q": "tenant-01"}, 1 + 2 + 3),
        ],
    )
    def test_are_listed(
        self, cost_of: Callable[..., Cost], query: dict[str, str], most: int
    ) -> None:
        cost = cost_of(PAGE, query)
        assert cost.round_trips <= most
        assert cost.from_redis < 200 * BUCKETS
        assert cost.page < 250_000

    def test_are_read_for_the_workers(self, cost_of: Callable[..., Cost]) -> None:
        cost = cost_of(WORKERS)
        assert cost.round_trips <= 1 + BUCKETS // 500 + 1
        assert cost.from_redis < 200 * BUCKETS
        assert cost.page < 50_000

    def test_do_not_slow_the_page_of_one(self, cost_of: Callable[..., Cost]) -> None:
        cost = cost_of(f"{PAGE}tenant-00000/change/")
        assert cost.round_trips <= 15
        assert cost.from_redis < 50 * BUCKETS
        assert cost.page < 100_000


class TestDeadLetters:
    @pytest.fixture(autouse=True)
    def _letters(self, nothing_declared: None, private_server: Redis) -> None:
        orders = Bucket("orders", batch_size=1000)
        of_rare = LETTERS_IN_ALL - 20

        def refuse(batch: Batch) -> None:
            for event in batch:
                kind = GROUPS - 1 if event["n"] >= of_rare else event["n"] % (GROUPS - 1)
                batch.reject(event, ValueError(f"no {'x' * (kind + 1)} in order {event['n']}"))

        orders.processor(refuse)
        for start in range(0, LETTERS_IN_ALL, 1000):
            orders.extend({"n": n, "text": "y" * 900} for n in range(start, start + 1000))
            orders.drain()
        assert len(orders.dead.groups()) == GROUPS

    def test_are_shown_in_groups(self, cost_of: Callable[..., Cost]) -> None:
        cost = cost_of(BUCKET)
        assert cost.round_trips <= 15
        assert cost.from_redis < 150_000
        assert cost.page < 250_000

    @pytest.mark.parametrize("text", ["", "xxxxxxxxxxxxxxxxxxxx ", "no such text"])
    def test_are_searched(self, cost_of: Callable[..., Cost], text: str) -> None:
        """At most 10,000 of them for a page."""
        cost = cost_of(LETTERS, {"q": text})
        assert cost.round_trips <= 8 + 20
        assert cost.from_redis < 150_000
        assert cost.page < 250_000
