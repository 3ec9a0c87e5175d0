import time
from datetime import timedelta
from typing import Any

import pytest

from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import KeyOccupied
from django_jsonbuffer.json_arrays import spans
from django_jsonbuffer.store import dead_letters
from django_jsonbuffer.store.claims import Burial
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from tests.server import Redis, both_servers
from tests.store.steps import MINUTE, NOW, append, claimed, dump
from tests.threads import at_once

pytestmark = both_servers


class TestGlance:
    """Large values are cut on the server before they are shown."""

    def test_dead_letters_are_cut_and_tell_their_size(self, store: Store) -> None:
        append(store, "x" * 100, 2, batch_size=2)
        held = claimed(store)
        burials = [Burial(*span, "no") for span in spans(held.array)]
        store.bury(held, burials, processed=0, failures=1)
        large, small = dead_letters.list_dead(store, 10, most_bytes=10)
        assert large.fields["event"] == b'"xxxxxxxxx'
        assert large.fields["event_bytes"] == b"102"
        assert small.fields["event"] == b"2"
        assert "event_bytes" not in small.fields
        assert [len(letter.fields["event"]) for letter in dead_letters.list_dead(store, 10)] == [
            102,
            1,
        ]

    @pytest.mark.parametrize("limit", [1, 9, 10, 11, 20, 25, 30])
    @pytest.mark.parametrize("last", [5, 10, 20, 25])
    def test_list_has_the_oldest_up_to_its_end_and_limit(
        self, store: Store, client_of_server: Redis, limit: int, last: int
    ) -> None:
        ids = [f"5-{number}" for number in range(1, 26)]
        for id in ids:
            client_of_server.xadd(store.keys.dead, {"event": id}, id=id)
        assert dead_letters.dead_ids(store, limit, last=f"5-{last}") == ids[: min(limit, last)]
        assert [each.id for each in dead_letters.list_dead(store, limit)] == ids[:limit]
        behind = dead_letters.list_dead(store, limit, first=f"(5-{last}", most_bytes=2)
        assert [each.id for each in behind] == ids[last:][:limit]

    @pytest.mark.parametrize("ids_alone", [False, True])
    def test_costs_no_memory_for_what_is_not_shown(
        self, private_server: Redis, ids_alone: bool
    ) -> None:
        store = Store("orders", configuration())
        for _ in range(300):
            private_server.xadd(store.keys.dead, {"event": b"x" * 100_000})
        used = private_server.info("memory")["used_memory"]
        if ids_alone:
            assert len(dead_letters.dead_ids(store, 300, last="+")) == 300
        else:
            assert len(dead_letters.list_dead(store, 300, most_bytes=10)) == 300
        peak = private_server.info("memory")["used_memory_peak"]
        assert peak - used < 10_000_000


def put(store: Store, plain: Redis, *numbers: int, minutes_ago: float = 1) -> None:
    """Put dead letters that were buried that long ago. Later calls must put younger ones."""
    buried_ms = int(time.time() * 1000 - minutes_ago * 60_000)
    pipeline = plain.pipeline(transaction=False)
    for number in numbers:
        pipeline.xadd(store.keys.dead, {"event": number}, id=f"{buried_ms}-{number + 1}")
    pipeline.execute()


def left(store: Store) -> list[int]:
    return [int(letter.fields["event"]) for letter in dead_letters.list_dead(store, 10_000)]


def expire_all(
    store: Store, *, max_dead: int | None = None, dead_after: timedelta | None = None
) -> list[int]:
    """Call until nothing is left to remove. Returns how many each call removed."""
    counts = [-1]
    while counts[-1]:
        counts.append(dead_letters.expire(store, max_dead=max_dead, dead_after=dead_after))
    return counts[1:-1]


class TestExpire:
    def test_beyond_the_most_removes_the_oldest(
        self, store: Store, client_of_server: Redis
    ) -> None:
        put(store, client_of_server, *range(5))
        assert dead_letters.expire(store, max_dead=2, dead_after=None) == 3
        assert left(store) == [3, 4]
        assert dead_letters.expire(store, max_dead=2, dead_after=None) == 0
        status = read_status(store)
        assert (status.dead, status.dropped.expired, sum(status.dropped)) == (2, 3, 3)
        assert client_of_server.hget(store.keys.stats, "dropped") == b"3"

    def test_by_age_removes_the_old_ones_exactly(
        self, store: Store, client_of_server: Redis
    ) -> None:
        put(store, client_of_server, *range(250), minutes_ago=61)
        put(store, client_of_server, *range(250, 260), minutes_ago=59)
        assert sum(expire_all(store, dead_after=timedelta(hours=1))) == 250
        assert left(store) == [*range(250, 260)]
        assert read_status(store).dropped.expired == 250

    def test_by_both(self, store: Store, client_of_server: Redis) -> None:
        put(store, client_of_server, 1, 2, minutes_ago=10)
        put(store, client_of_server, 3, 4, 5, minutes_ago=1)
        assert dead_letters.expire(store, max_dead=4, dead_after=5 * MINUTE) == 2
        assert left(store) == [3, 4, 5]
        assert dead_letters.expire(store, max_dead=1, dead_after=5 * MINUTE) == 2
        assert left(store) == [5]

    @pytest.mark.parametrize("by", [{"max_dead": 1}, {"dead_after": NOW}])
    def test_of_an_empty_bucket_writes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str, by: dict[str, Any]
    ) -> None:
        before = dump(client_of_server, prefix)
        assert dead_letters.expire(store, **{"max_dead": None, "dead_after": None, **by}) == 0
        assert dump(client_of_server, prefix) == before

    @pytest.mark.parametrize("age", [timedelta.max, timedelta(days=40_000)])
    def test_by_an_age_that_no_letter_has(
        self, store: Store, client_of_server: Redis, age: timedelta
    ) -> None:
        put(store, client_of_server, 1)
        assert dead_letters.expire(store, max_dead=None, dead_after=age) == 0

    def test_keeps_letters_of_a_clock_that_was_set_back(
        self, store: Store, client_of_server: Redis
    ) -> None:
        put(store, client_of_server, 1, 2, minutes_ago=-60)
        assert dead_letters.expire(store, max_dead=None, dead_after=NOW) == 0
        assert dead_letters.expire(store, max_dead=1, dead_after=NOW) == 1
        assert left(store) == [2]

    @pytest.mark.parametrize("by", [{"max_dead": 10}, {"dead_after": timedelta(hours=1)}])
    def test_removes_no_more_than_a_portion_in_one_call(
        self, store: Store, client_of_server: Redis, by: dict[str, Any]
    ) -> None:
        put(store, client_of_server, *range(3500), minutes_ago=61)
        put(store, client_of_server, *range(3500, 3510), minutes_ago=1)
        counts = expire_all(store, **by)
        assert sum(counts) == 3500
        assert max(counts) <= 1000
        assert left(store) == [*range(3500, 3510)]

    def test_by_many_workers_at_once_counts_each_once(
        self, store: Store, client_of_server: Redis
    ) -> None:
        put(store, client_of_server, *range(5000))
        counts: list[list[int]] = []
        at_once([lambda: counts.append(expire_all(store, max_dead=100))] * 8)
        assert sum(map(sum, counts)) == 4900
        assert read_status(store).dropped.expired == 4900
        assert left(store) == [*range(4900, 5000)]

    @pytest.mark.parametrize("kind", ["dead", "stats"])
    def test_refuses_when_a_key_is_of_another_type(
        self, store: Store, client_of_server: Redis, prefix: str, kind: str
    ) -> None:
        put(store, client_of_server, 1, 2)
        client_of_server.delete(getattr(store.keys, kind))
        client_of_server.set(getattr(store.keys, kind), "theirs")
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied):
            dead_letters.expire(store, max_dead=1, dead_after=NOW)
        assert dump(client_of_server, prefix) == before

    @pytest.mark.parametrize("by", [{"max_dead": 1}, {"dead_after": NOW}])
    def test_goes_on_on_a_full_server(self, private_server: Redis, by: dict[str, Any]) -> None:
        store = Store("orders", configuration())
        put(store, private_server, 1, 2)
        private_server.config_set("maxmemory", 1)
        assert dead_letters.expire(store, **{"max_dead": None, "dead_after": None, **by}) > 0
        assert read_status(store).dropped.expired > 0
