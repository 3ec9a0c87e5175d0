"""A long open batch of another client is counted by the process that asks, and not by Redis."""

import json
from typing import Any

import pytest

from django_jsonbuffer.conf import configuration
from django_jsonbuffer.store import open_counts, pending, scripts
from django_jsonbuffer.store.open_counts import UNCOUNTED, count_open
from django_jsonbuffer.store.status import BucketStatus, read_status
from django_jsonbuffer.store.statuses import statuses
from django_jsonbuffer.store.store import Store
from tests.server import Redis, both_servers, real_server
from tests.store.steps import MINUTE, append, commands_of, dump

pytestmark = both_servers

LONG = "x" * 20_000


def array(*events: Any) -> str:
    """An array that is too long to be counted by a script."""
    return json.dumps([LONG, *events], separators=(",", ":"))


def raw_status(store: Store, *args: int) -> Any:
    keys = store.keys
    others = [keys.attempts, keys.workers, keys.history, keys.paused]
    return store.run(scripts.STATUS, [*store.event_keys, *others], *(args or UNCOUNTED))


class TestStatus:
    def test_script_does_not_count(self, store: Store, client_of_server: Redis) -> None:
        client_of_server.set(store.keys.open, array(1))
        assert raw_status(store) == [0]
        assert raw_status(store, 2, len(array(1)))[0] == 2

    @real_server
    def test_counts_once(self, store: Store, client_of_server: Redis) -> None:
        client_of_server.set(store.keys.open, array(1, 2))
        status = read_status(store)
        assert (status.pending, status.batches, status.bytes) == (3, 1, len(array(1, 2)))
        assert status.oldest is not None
        calls = commands_of(client_of_server, lambda: read_status(store))
        assert calls["evalsha"] == 1
        assert read_status(store).pending == 3

    @real_server
    def test_following_append_does_not_count_either(
        self, store: Store, client_of_server: Redis
    ) -> None:
        client_of_server.set(store.keys.open, array(1))
        read_status(store)
        append(store, 2, batch_size=None)
        known = commands_of(client_of_server, lambda: append(store, 3, batch_size=None))
        client_of_server.set(store.keys.open, array(1))
        read_status(store)
        assert commands_of(client_of_server, lambda: append(store, 2, batch_size=None)) == known
        assert pending.take(store) == [array(1, 2).encode()]

    def test_counters_of_another_type_let_nothing_be_noted(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        client_of_server.set(store.keys.open, array(1))
        client_of_server.lpush(store.keys.stats, "foreign")
        before = dump(client_of_server, prefix)
        assert count_open(store).events == 2
        assert dump(client_of_server, prefix) == before

    @pytest.mark.parametrize(
        ("value", "count"),
        [
            (f"  {array(1)}\n", 2),
            (f"[{' ' * 20_000}]", 0),
            (f"{{{' ' * 20_000}}}", 0),
            (LONG, 0),
            (f'{{"a":"{LONG}"}}', 0),
            (f"[1,2{' ' * 20_000}", 0),
        ],
        ids=["padded", "empty", "empty object", "no JSON", "object", "cut off"],
    )
    def test_stores_no_count_if_the_value_needs_repair(
        self, store: Store, client_of_server: Redis, prefix: str, value: str, count: int
    ) -> None:
        client_of_server.set(store.keys.open, value)
        before = dump(client_of_server, prefix)
        for _ in range(2):
            status = read_status(store)
            assert (status.pending, status.batches) == (count, min(count, 1))
            assert status.bytes == (len(value.strip()) if count else 0)
            assert (status.oldest is None) == (count == 0)
        assert dump(client_of_server, prefix) == before

    def test_of_many_buckets(self, client_of_server: Redis) -> None:
        names = ["one", "two", "three"]
        stores = [Store(name, configuration()) for name in names]
        for number, store in enumerate(stores[:2]):
            client_of_server.set(store.keys.open, array(*range(number)))
        append(stores[2], 1)
        found = statuses(names, configuration())
        assert [isinstance(each, BucketStatus) and each.pending for each in found] == [1, 2, 1]

    def test_keeps_the_age_of_a_batch_that_has_grown(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, LONG)
        client_of_server.hset(store.keys.appends, "opened", 1)
        client_of_server.set(store.keys.open, array(1))
        for _ in range(2):
            oldest = read_status(store).oldest
            assert oldest is not None
            assert oldest.days > 10_000

    def test_when_the_memory_of_redis_is_full(self, private_server: Redis, store: Store) -> None:
        store = Store("orders", configuration())
        append(store, 1)
        private_server.set(store.keys.open, array(1))
        private_server.config_set("maxmemory", 1)
        assert read_status(store).pending == 2
        assert raw_status(store) != [0]


class TestChangeMeanwhile:
    def test_of_a_value_stores_no_count(
        self, store: Store, client_of_server: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def count(value: bytes) -> int:
            client_of_server.set(store.keys.open, array(1, 2, 3))
            return 2

        client_of_server.set(store.keys.open, array(1))
        with monkeypatch.context() as patch:
            patch.setattr(open_counts, "count_events", count)
            read_status(store)
        assert read_status(store).pending == 4

    def test_appended_events_are_counted(
        self, store: Store, client_of_server: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client_of_server.set(store.keys.open, array(1))
        monkeypatch.setattr(open_counts, "_PART", 7_000)
        parts = open_counts._parts(store)
        first = next(parts)
        client_of_server.setrange(store.keys.open, len(array(1)) - 1, ",2]")
        assert first + b"".join(parts) == array(1, 2).encode()

    @pytest.mark.parametrize("size", [1, 7, 10, len(array()), len(array()) + 1])
    def test_any_size_of_the_parts(
        self, store: Store, client_of_server: Redis, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        value = array() if size > 1000 else array()[-100:]
        client_of_server.set(store.keys.open, value)
        monkeypatch.setattr(open_counts, "_PART", size)
        assert b"".join(open_counts._parts(store)) == value.encode()


class TestNoteCount:
    def note(self, store: Store, count: int, value: bytes, tail: int = 64) -> Any:
        keys = [store.keys.open, store.keys.stats, store.keys.appends]
        return store.run(scripts.NOTE_COUNT, keys, count, len(value), value[-tail:])

    def test_late_copy_changes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        value = array(1).encode()
        client_of_server.set(store.keys.open, value)
        assert self.note(store, 2, value) == 1
        client_of_server.hset(store.keys.appends, "opened", 1)
        before = dump(client_of_server, prefix)
        assert self.note(store, 2, value) == 0
        assert dump(client_of_server, prefix) == before
        append(store, 2)
        assert self.note(store, 2, value) == 0
        assert read_status(store).pending == 3
        pending.take(store)
        assert self.note(store, 2, value) == 0
        assert read_status(store).pending == 0

    @pytest.mark.parametrize("change", [b"[1]", b"", array(2).encode(), array(1).encode() + b" "])
    def test_another_value_writes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str, change: bytes
    ) -> None:
        client_of_server.set(store.keys.open, change)
        before = dump(client_of_server, prefix)
        assert self.note(store, 2, array(1).encode()) == 0
        assert dump(client_of_server, prefix) == before


class TestOtherReaders:
    @real_server
    def test_heartbeat_takes_no_sample_of_what_nobody_has_counted(
        self, store: Store, client_of_server: Redis
    ) -> None:
        client_of_server.set(store.keys.open, array(1))
        assert "get" not in commands_of(
            client_of_server, lambda: store.beat("worker", lease=MINUTE)
        )
        assert client_of_server.llen(store.keys.history) == 0
        count_open(store)
        store.beat("worker", lease=MINUTE)
        [sample] = client_of_server.lrange(store.keys.history, 0, -1)
        assert sample.split()[1] == b"2"

    @real_server
    def test_peek_counts_nothing(self, store: Store, client_of_server: Redis) -> None:
        client_of_server.set(store.keys.open, array(1))
        found = []
        calls = commands_of(client_of_server, lambda: found.append(pending.peek(store, 1)))
        assert found == [[array(1).encode()]]
        assert "get" not in calls

    def test_peek_skips_a_value_that_is_not_an_array(
        self, store: Store, client_of_server: Redis
    ) -> None:
        client_of_server.set(store.keys.open, f'{{"a":"{LONG}"}}')
        assert pending.peek(store, 1) == []
