import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import redis

from django_jsonbuffer import Bucket
from django_jsonbuffer.appending.producers import Producer
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import (
    BucketFull,
    BufferOutOfMemory,
    BufferUnavailable,
    EventTooLarge,
    KeyOccupied,
    LeaseLost,
)
from django_jsonbuffer.json_arrays import spans
from django_jsonbuffer.options import MAX_APPEND_BYTES, Limits
from django_jsonbuffer.stamps import Stamp
from django_jsonbuffer.store import catalog_entries, dead_letters, pending
from django_jsonbuffer.store.claims import Burial, Claim
from django_jsonbuffer.store.deliveries import Deliveries, read_deliveries
from django_jsonbuffer.store.history import Sample, histories
from django_jsonbuffer.store.keys import PRODUCER, Keys
from django_jsonbuffer.store.server import server_facts
from django_jsonbuffer.store.status import BucketStatus, read_status, statuses
from django_jsonbuffer.store.store import Store
from example_project.embedded_redis import EmbeddedRedis
from tests.server import Redis
from tests.stamps import a_stamp
from tests.threads import at_once

MINUTE = timedelta(minutes=1)
NOW = timedelta(0)
LAST_ID = f"{2**64 - 1}-{2**64 - 1}"


@pytest.fixture
def store() -> Store:
    return Store("orders", configuration())


def append(
    store: Store, *values: Any, batch_size: int | None = 1000, batch_bytes: int = 1_000_000
) -> None:
    events = [json.dumps(value).encode() for value in values]
    store.append(events, a_stamp(), Limits(batch_size=batch_size, batch_bytes=batch_bytes))


def claim(
    store: Store,
    consumer: str = "worker",
    *,
    lease: timedelta = MINUTE,
    linger: timedelta | None = NOW,
    after: str | None = None,
) -> Claim | None:
    return store.claim(consumer, lease=lease, linger=linger, after=after)[0]


def claimed(store: Store, consumer: str = "worker", **options: Any) -> Claim:
    found = claim(store, consumer, **options)
    assert found is not None
    return found


def a_claim() -> Claim:
    """A claim of a batch that does not exist."""
    past = {"failures": 0, "deaths": 0, "outages": 0}
    return Claim(id="1-1", worker="w", attempt=1, count=1, array=b"[1]", **past)


def bury(store: Store, claim: Claim, *, attempts: int = 0) -> None:
    """Bury the whole batch as one dead letter."""
    burial = Burial(0, len(claim.array), "no")
    store.bury(claim, [burial], processed=0, failures=attempts)


def dump(plain: Redis, prefix: str) -> dict[bytes, bytes | None]:
    """The values of all keys of the test, to check that nothing was written."""
    return {key: plain.dump(key) for key in sorted(plain.scan_iter(match=f"{prefix}:*"))}


def commands_of(plain: Redis, call: Callable[[], object]) -> dict[str, int]:
    """How often the server ran each command during the call, also within scripts."""
    plain.config_resetstat()
    call()
    return {
        name.removeprefix("cmdstat_"): stats["calls"]
        for name, stats in plain.info("commandstats").items()
    }


def facts(status: BucketStatus) -> tuple[int, int, int, int]:
    return status.pending, status.in_flight, status.batches, status.bytes


class TestAppend:
    def test_first_event_opens_the_batch(self, store: Store, client_of_server: Redis) -> None:
        append(store, {"a": 1})
        assert client_of_server.get(store.keys.open) == b'[{"a": 1}]'

    def test_events_are_spliced_in_order_and_unchanged(
        self, store: Store, client_of_server: Redis
    ) -> None:
        events = [b"[]", b"{}", b"1234567890123456789", b"1763912345.123456", b' "e\\u0301" ']
        for event in events:
            store.append([event], a_stamp(), Limits(batch_size=1000, batch_bytes=1000))
        store.append(events, a_stamp(), Limits(batch_size=1000, batch_bytes=1000))
        assert client_of_server.get(store.keys.open) == b"[%b]" % b",".join(events * 2)

    def test_full_batch_is_sealed_byte_for_byte(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, batch_size=3)
        append(store, [3], batch_size=3)
        assert client_of_server.get(store.keys.open) is None
        [(_, fields)] = client_of_server.xrange(store.keys.batches)
        assert fields[b"events"] == b"[1,2,[3]]"
        assert fields[b"count"] == b"3"
        opened = int(fields[b"opened"]) / 1000
        assert 0 <= time.time() - opened < 60

    def test_no_batch_has_more_events_than_allowed(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, "a", batch_size=3)
        append(store, *range(8), batch_size=3)
        sealed = [json.loads(f[b"events"]) for _, f in client_of_server.xrange(store.keys.batches)]
        assert sealed == [["a"], [0, 1, 2], [3, 4, 5]]
        assert client_of_server.get(store.keys.open) == b"[6,7]"

    def test_no_batch_has_more_bytes_than_allowed(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, *["x" * 30] * 7, batch_bytes=100)
        append(store, "y" * 500, "z", batch_bytes=100)
        sealed = [f[b"events"] for _, f in client_of_server.xrange(store.keys.batches)]
        assert [len(json.loads(events)) for events in sealed] == [3, 3, 1, 1]
        assert [len(events) for events in sealed] == [100, 100, 34, 504]
        assert client_of_server.get(store.keys.open) == b'["z"]'

    def test_without_batch_size_nothing_is_sealed(
        self, store: Store, client_of_server: Redis
    ) -> None:
        for _ in range(3):
            append(store, *range(500), batch_size=None, batch_bytes=10)
        assert len(json.loads(client_of_server.get(store.keys.open) or b"")) == 1500
        assert not client_of_server.exists(store.keys.batches)

    def test_hundred_thousand_events_in_one_call(self, store: Store) -> None:
        append(store, *range(100_000))
        assert read_status(store).batches == 100
        assert [n for array in pending.take(store) for n in json.loads(array)] == list(
            range(100_000)
        )

    def test_bucket_is_registered(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        assert catalog_entries.names(configuration()) == {"orders"}

    def test_bucket_is_registered_again_after_the_database_was_emptied(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        append(store, 1)
        client_of_server.delete(*client_of_server.keys(f"{prefix}:*"))
        append(store, 1)
        assert catalog_entries.names(configuration()) == {"orders"}

    def test_register_that_cannot_be_written_afterwards_undoes_nothing(
        self,
        store: Store,
        client_of_server: Redis,
        prefix: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        append(store, 1)
        client_of_server.delete(store.keys.stats)
        client_of_server.set(f"{prefix}:buckets", "foreign")
        append(store, 2)
        assert pending.take(store) == [b"[1,2]"]
        assert "catalog" in caplog.text
        client_of_server.delete(f"{prefix}:buckets")
        append(store, 3)
        assert catalog_entries.names(configuration()) == {"orders"}

    @pytest.mark.parametrize("kind", ["open", "batches", "stats"])
    def test_key_of_another_type_refuses_and_writes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str, kind: str
    ) -> None:
        append(store, 0, batch_size=1)
        append(store, 1)
        key = getattr(store.keys, kind)
        client_of_server.delete(key)
        client_of_server.sadd(key, "foreign")
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied, match="orders"):
            append(store, 2, batch_size=2)
        assert dump(client_of_server, prefix) == before

    def test_more_than_a_string_can_hold_is_refused(
        self, store: Store, private_server: Redis
    ) -> None:
        store = Store("orders", configuration())
        # 512 MiB less 10 bytes. The script refuses without reading them.
        private_server.setrange(store.keys.open, 512 * 1024 * 1024 - 11, "]")
        private_server.setrange(store.keys.open, 0, "[")
        private_server.hset(
            store.keys.stats,
            mapping={
                "open": 1,
                "opened": 1,
                "open_bytes": 512 * 1024 * 1024 - 10,
                "open_tail": b"\0" * 31 + b"]",
            },
        )
        before = private_server.hgetall(store.keys.stats)
        with pytest.raises(BucketFull, match="orders"):
            append(store, "a" * 10, batch_size=None)
        assert private_server.hgetall(store.keys.stats) == before
        assert private_server.strlen(store.keys.open) == 512 * 1024 * 1024 - 10
        append(store, "a" * 6, batch_size=None)
        assert private_server.strlen(store.keys.open) == 512 * 1024 * 1024 - 1

    def test_call_that_is_too_large_is_refused_here(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        event = b'"%b"' % (b"x" * (64 * 1024 * 1024))
        with pytest.raises(EventTooLarge, match=f"{MAX_APPEND_BYTES:,}"):
            store.append([event] * 4, a_stamp(), Limits(batch_size=None, batch_bytes=1))
        assert dump(client_of_server, prefix) == {}

    def test_asks_the_same_of_the_server_whatever_is_waiting(self, private_server: Redis) -> None:
        """The same commands, and none that reads the waiting events: so the cost does not grow."""
        store = Store("orders", configuration())
        append(store, 0, batch_size=None)
        few = commands_of(private_server, lambda: append(store, 1, batch_size=None))
        append(store, *range(100_000), batch_size=None)
        many = commands_of(private_server, lambda: append(store, 1, batch_size=None))
        assert few == many
        assert "xrange" not in many
        assert (many["get"], many["set"]) == (1, 1)  # of the producer's key

    @pytest.mark.parametrize("batch_size", [1000, None])
    @pytest.mark.parametrize("max_pending", [None, 1000])
    def test_usual_call_runs_no_needless_command(
        self, private_server: Redis, batch_size: int | None, max_pending: int | None
    ) -> None:
        """A usual call fills no batch, and nothing has changed since the call before."""
        store = Store("orders", configuration())
        limits = Limits(batch_size=batch_size, batch_bytes=10_000, max_pending=max_pending)

        def append() -> None:
            store.append([b"1"], a_stamp(), limits)

        append()
        commands = commands_of(private_server, append)
        looks_at_the_stream = {} if max_pending is None else {"xlen": 1}
        assert commands == {
            "config|resetstat": 1,
            "evalsha": 1,
            "get": 1,
            "hmget": 1,
            "getrange": 1,
            **looks_at_the_stream,
            "setrange": 1,
            "persist": 1,
            "hset": 1,
            "set": 1,
        }

    def test_more_batches_than_allowed_at_once_are_refused_here(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        with pytest.raises(EventTooLarge, match="10,001 batches"):
            append(store, *range(10_001), batch_size=1)
        assert dump(client_of_server, prefix) == {}

    @pytest.mark.parametrize("total", ["1", "spoilt"])
    def test_value_that_a_foreign_client_lets_expire_takes_no_event_with_it(
        self, store: Store, client_of_server: Redis, total: str
    ) -> None:
        append(store, 1)
        client_of_server.hset(store.keys.stats, "appended", total)
        client_of_server.pexpire(store.keys.open, 50)
        append(store, 2)
        time.sleep(0.1)
        assert pending.take(store) == [b"[1,2]"]

    def test_spoilt_counters_cost_no_event(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1, batch_size=2)
        client_of_server.hset(
            store.keys.stats,
            mapping={"appended": 2**63 - 1, "sealed": "many", "sealed_bytes": "x", "open": "?"},
        )
        append(store, 2, batch_size=2)
        append(store, 3, batch_size=2)
        assert [json.loads(array) for array in pending.take(store)] == [[1, 2], [3]]

    def test_spoilt_count_costs_no_event(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        client_of_server.hset(store.keys.stats, "open", 0)
        append(store, 2)
        assert pending.take(store) == [b"[1,2]"]
        client_of_server.hset(store.keys.stats, "open", 5)
        assert read_status(store).pending == 0
        append(store, 3)
        assert pending.take(store) == [b"[3]"]

    def test_many_threads_at_once(self, store: Store) -> None:
        def write(writer: int) -> None:
            for number in range(200):
                append(store, [writer, number], batch_size=7)

        at_once(partial(write, writer) for writer in range(8))
        assert read_status(store).pending == 1600
        events = [event for array in pending.take(store) for event in json.loads(array)]
        for writer in range(8):
            assert [n for who, n in events if who == writer] == list(range(200))

    def test_batch_of_just_as_many_bytes_as_allowed_is_full(
        self, store: Store, client_of_server: Redis
    ) -> None:
        for _ in range(3):
            append(store, "x" * 30, batch_bytes=100)
        assert client_of_server.get(store.keys.open) is None
        assert facts(read_status(store)) == (3, 0, 1, 100)

    def test_one_byte_more_is_a_batch_more(self, store: Store, client_of_server: Redis) -> None:
        append(store, *["x" * 22] * 8, batch_bytes=100)  # four events would have 101 bytes
        sealed = [f[b"events"] for _, f in client_of_server.xrange(store.keys.batches)]
        assert [len(events) for events in sealed] == [76, 76]
        assert client_of_server.strlen(store.keys.open) == 51

    def test_call_of_just_as_many_bytes_as_allowed(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in ("appends", "store"):
            monkeypatch.setattr(f"django_jsonbuffer.store.{module}.MAX_APPEND_BYTES", 10)
        store.append([b"1234", b"5678"], a_stamp(), Limits(batch_size=None, batch_bytes=100))
        with pytest.raises(EventTooLarge):
            store.append([b"1234", b"56789"], a_stamp(), Limits(batch_size=None, batch_bytes=100))
        assert pending.take(store) == [b"[1234,5678]"]

    def test_is_one_round_trip_once_the_bucket_is_registered(self, private_server: Redis) -> None:
        store = Store("orders", configuration())
        append(store, 1)
        commands = commands_of(private_server, lambda: append(store, 2))
        assert commands["evalsha"] == 1
        assert not {"eval", "sadd"} & set(commands)

    def test_bucket_is_registered_before_anything_is_written(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        client_of_server.set(f"{prefix}:buckets", "foreign")
        with pytest.raises(KeyOccupied):
            append(store, 1)
        assert list(dump(client_of_server, prefix)) == [f"{prefix}:buckets".encode()]


class TestSeal:
    def test_open_batch_becomes_the_newest(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        newest, _ = store.seal()
        [(id, fields)] = client_of_server.xrange(store.keys.batches)
        assert newest == id.decode()
        assert fields[b"events"] == b"[1]"

    def test_empty_bucket(self, store: Store, client_of_server: Redis, prefix: str) -> None:
        assert store.seal() == (None, 0)
        assert dump(client_of_server, prefix) == {}

    def test_again_seals_nothing_more(self, store: Store) -> None:
        append(store, 1)
        assert store.seal() == store.seal()
        assert read_status(store).batches == 1

    @pytest.mark.parametrize("kind", ["open", "batches", "dead", "stats"])
    def test_key_of_another_type_refuses_and_writes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str, kind: str
    ) -> None:
        append(store, 0, batch_size=1)
        append(store, 1)
        client_of_server.delete(getattr(store.keys, kind))
        client_of_server.zadd(getattr(store.keys, kind), {"foreign": 1})
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied):
            store.seal()
        assert dump(client_of_server, prefix) == before

    def test_many_threads_at_once(self, store: Store) -> None:
        append(store, *range(10))
        at_once([store.seal] * 8)
        assert facts(read_status(store)) == (10, 0, 1, 21)


class TestClaim:
    def test_oldest_sealed_batch_first(self, store: Store) -> None:
        append(store, *range(5), batch_size=2)
        first, second = claimed(store, "a"), claimed(store, "b")
        assert (first.array, first.count, first.attempt) == (b"[0,1]", 2, 1)
        assert second.array == b"[2,3]"
        assert facts(read_status(store)) == (1, 4, 3, 13)

    def test_empty_bucket(self, store: Store, client_of_server: Redis, prefix: str) -> None:
        assert claim(store) is None
        assert dump(client_of_server, prefix) == {}

    def test_open_batch_only_when_it_has_lingered(self, store: Store) -> None:
        append(store, 1)
        assert claim(store, linger=MINUTE) is None
        assert claim(store, linger=None) is None
        assert read_status(store).pending == 1
        assert claimed(store, linger=NOW).array == b"[1]"

    def test_worker_that_did_not_hear_claims_the_same_again(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        assert claimed(store) == claimed(store)
        assert facts(read_status(store)) == (1, 1, 2, 6)

    def test_held_batch_is_not_given_to_another(self, store: Store) -> None:
        append(store, 1, batch_size=1)
        claimed(store, "a")
        assert claim(store, "b") is None

    def test_expired_lease_comes_before_what_is_new(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        first = claimed(store, "died")
        again = claimed(store, "heir", lease=NOW)
        assert (again.id, again.attempt, again.array) == (first.id, 2, b"[1]")
        assert facts(read_status(store)) == (1, 1, 2, 6)

    def test_only_past_the_given_id(self, store: Store) -> None:
        append(store, 1, 2, 3, batch_size=1)
        first, second = claimed(store, "a"), claimed(store, "b")
        assert claimed(store, "c", lease=NOW, after=first.id).id == second.id
        assert claimed(store, "d", lease=NOW, after=second.id).array == b"[3]"

    def test_stream_whose_group_was_removed(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1, batch_size=1)
        client_of_server.xgroup_destroy(store.keys.batches, "drain")
        assert read_status(store).pending == 1
        assert claimed(store).array == b"[1]"

    def test_stream_with_a_group_of_another_name(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, batch_size=1)
        client_of_server.xgroup_destroy(store.keys.batches, "drain")
        client_of_server.xgroup_create(store.keys.batches, "other", "$")
        assert claimed(store).array == b"[1]"

    def test_open_batch_of_the_future_is_taken(self, store: Store, client_of_server: Redis) -> None:
        """The server's clock was set back after the batch was opened."""
        append(store, 1)
        in_an_hour = int((time.time() + 3600) * 1000)
        client_of_server.hset(store.keys.stats, "opened", in_an_hour)
        assert read_status(store).oldest == NOW
        assert claimed(store, linger=MINUTE).array == b"[1]"

    @pytest.mark.parametrize(
        "fields",
        [
            {"count": "inf", "opened": 1},
            {"count": "1e300", "opened": 1},
            {"count": -7, "opened": 1},
            {"count": "nan", "opened": 1},
            {"count": "1" * 16, "opened": 1},
            {"count": 1, "opened": -(9 * 10**17)},
            {"count": 1, "opened": "9" * 400},
            {"count": 1},
            {"opened": 1},
        ],
        ids=str,
    )
    def test_entry_with_impossible_fields_is_set_aside(
        self, store: Store, client_of_server: Redis, fields: dict[str, Any]
    ) -> None:
        client_of_server.xadd(store.keys.batches, {"events": "[1]", **fields})
        assert facts(read_status(store)) == (0, 0, 1, 0)
        assert claim(store) is None
        assert read_status(store).dead == 1
        assert facts(read_status(store)) == (0, 0, 0, 0)

    def test_any_number_of_foreign_entries_is_set_aside(
        self, store: Store, client_of_server: Redis
    ) -> None:
        for number in range(250):
            client_of_server.xadd(store.keys.batches, {"foreign": number})
        append(store, 1, batch_size=1)
        found, rubbish = store.claim("worker", lease=MINUTE, linger=None, after=None)
        assert found is not None
        assert (found.array, rubbish) == (b"[1]", 250)
        assert read_status(store).dead == 250

    def test_entry_of_another_client_is_set_aside(
        self, store: Store, client_of_server: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        client_of_server.xadd(store.keys.batches, {"foreign": "secret"})
        append(store, 1, batch_size=1)
        found, rubbish = store.claim("worker", lease=MINUTE, linger=None, after=None)
        assert found is not None
        assert (found.array, rubbish) == (b"[1]", 1)
        [(_, letter)] = client_of_server.xrange(store.keys.dead)
        assert letter[b"event"] == b"foreign secret"
        assert "orders" in caplog.text
        assert "secret" not in caplog.text

    def test_batch_that_somebody_deleted_is_passed_over(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, batch_size=1)
        client_of_server.xdel(store.keys.batches, claimed(store, "died").id)
        survivor = claimed(store, "heir", lease=NOW)
        assert survivor.array == b"[2]"
        store.ack(survivor)
        assert facts(read_status(store)) == (0, 0, 0, 0)

    @pytest.mark.parametrize("kind", ["open", "batches", "dead", "stats"])
    def test_key_of_another_type_refuses_and_writes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str, kind: str
    ) -> None:
        append(store, 0, batch_size=1)
        append(store, 1)
        client_of_server.delete(getattr(store.keys, kind))
        client_of_server.lpush(getattr(store.keys, kind), "foreign")
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied):
            claim(store)
        assert dump(client_of_server, prefix) == before

    def test_many_workers_at_once_get_each_batch_once(self, store: Store) -> None:
        append(store, *range(300), batch_size=1)
        got: list[Claim] = []

        def work(name: str) -> None:
            while found := claim(store, name):
                got.append(found)
                store.ack(found)

        at_once(partial(work, f"w{n}") for n in range(8))
        assert sorted(json.loads(found.array)[0] for found in got) == list(range(300))
        assert facts(read_status(store)) == (0, 0, 0, 0)

    def test_held_batch_comes_again_whatever_the_given_id(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        first = claimed(store)
        assert claimed(store, after=first.id) == first

    def test_held_batch_is_no_further_delivery_and_comes_before_an_older_one(
        self, store: Store
    ) -> None:
        append(store, 1, 2, batch_size=1)
        claimed(store, "died")
        held = claimed(store)
        assert [claimed(store, lease=NOW) for _ in range(3)] == [held] * 3

    def test_held_batch_that_is_claimed_again_has_its_lease_renewed(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, batch_size=1)
        held = claimed(store)
        hour_ms = 3_600_000
        client_of_server.xclaim(
            *(store.keys.batches, "drain", held.worker, 0, [held.id]), idle=hour_ms, justid=True
        )
        assert claimed(store) == held
        assert claim(store, "other") is None

    @pytest.mark.parametrize("kind", ["batches", "dead", "stats"])
    def test_that_leaves_the_open_batch_is_refused_by_another_type_too(
        self, store: Store, client_of_server: Redis, prefix: str, kind: str
    ) -> None:
        append(store, 0, batch_size=1)
        append(store, 1)
        client_of_server.delete(getattr(store.keys, kind))
        client_of_server.lpush(getattr(store.keys, kind), "foreign")
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied):
            claim(store, linger=None)
        assert dump(client_of_server, prefix) == before


class TestAck:
    def test_removes_the_batch(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1, 2)
        store.ack(claimed(store))
        assert facts(read_status(store)) == (0, 0, 0, 0)
        assert client_of_server.xlen(store.keys.batches) == 0
        assert client_of_server.hget(store.keys.stats, "processed") == b"2"

    def test_late_copy_changes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        append(store, 1, 2, batch_size=1)
        first = claimed(store)
        store.ack(first)
        claimed(store)
        before = dump(client_of_server, prefix)
        with pytest.raises(LeaseLost, match=first.id):
            store.ack(first)
        assert dump(client_of_server, prefix) == before

    def test_of_a_lost_lease_changes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        append(store, 1)
        slow = claimed(store, "slow")
        claimed(store, "heir", lease=NOW)
        before = dump(client_of_server, prefix)
        with pytest.raises(LeaseLost):
            store.ack(slow)
        assert dump(client_of_server, prefix) == before

    def test_of_an_earlier_delivery_to_the_same_worker_changes_nothing(self, store: Store) -> None:
        append(store, 1)
        first = claimed(store)
        store.release(first, lease=MINUTE, backoff=NOW)
        second = claimed(store)
        assert (second.id, second.attempt) == (first.id, 2)
        with pytest.raises(LeaseLost):
            store.ack(first)
        store.ack(second)

    def test_empty_bucket(self, store: Store, client_of_server: Redis, prefix: str) -> None:
        with pytest.raises(LeaseLost):
            store.ack(a_claim())
        assert dump(client_of_server, prefix) == {}

    def test_many_copies_at_once_count_once(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        found = claimed(store)
        outcomes: list[bool] = []

        def ack() -> None:
            try:
                store.ack(found)
                outcomes.append(True)
            except LeaseLost:
                outcomes.append(False)

        at_once([ack] * 8)
        assert sorted(outcomes) == [False] * 7 + [True]
        assert client_of_server.hget(store.keys.stats, "processed") == b"1"

    def test_after_the_release_changes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        append(store, 1)
        found = claimed(store)
        store.release(found, lease=MINUTE, backoff=NOW)
        before = dump(client_of_server, prefix)
        with pytest.raises(LeaseLost):
            store.ack(found)
        assert dump(client_of_server, prefix) == before

    def test_counters_of_another_type_refuse_and_nothing_is_written(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        append(store, 1)
        found = claimed(store)
        client_of_server.delete(store.keys.stats)
        client_of_server.sadd(store.keys.stats, "foreign")
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied):
            store.ack(found)
        assert dump(client_of_server, prefix) == before

    def test_of_one_batch_leaves_the_others_counted(self, store: Store) -> None:
        append(store, 1, 20, 300, batch_size=1)
        store.ack(claimed(store))
        claimed(store, "other")
        assert facts(read_status(store)) == (1, 1, 2, 9)


class TestRelease:
    def test_batch_is_pending_again_and_comes_after_the_backoff(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        found = claimed(store)
        store.release(found, lease=MINUTE, backoff=timedelta(milliseconds=300))
        assert facts(read_status(store)) == (2, 0, 2, 6)
        assert claimed(store, "b").array == b"[2]"
        assert claim(store, "c") is None
        time.sleep(0.35)
        again = claimed(store, "c")
        assert (again.id, again.attempt) == (found.id, 2)
        assert facts(read_status(store)) == (0, 2, 2, 6)

    def test_late_copy_changes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        append(store, 1)
        found = claimed(store)
        store.release(found, lease=MINUTE, backoff=NOW)
        claimed(store)
        before = dump(client_of_server, prefix)
        with pytest.raises(LeaseLost):
            store.release(found, lease=MINUTE, backoff=NOW)
        assert dump(client_of_server, prefix) == before

    def test_of_a_lost_lease_changes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        append(store, 1)
        slow = claimed(store, "slow")
        heir = claimed(store, "heir", lease=NOW)
        before = dump(client_of_server, prefix)
        with pytest.raises(LeaseLost):
            store.release(slow, lease=MINUTE, backoff=NOW)
        assert dump(client_of_server, prefix) == before
        store.ack(heir)

    def test_empty_bucket(self, store: Store, client_of_server: Redis, prefix: str) -> None:
        gone = a_claim()
        with pytest.raises(LeaseLost):
            store.release(gone, lease=MINUTE, backoff=NOW)
        assert dump(client_of_server, prefix) == {}

    def test_keeps_its_place_before_younger_batches(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        store.release(claimed(store), lease=MINUTE, backoff=NOW)
        assert [claimed(store, name).array for name in "ab"] == [b"[1]", b"[2]"]

    def test_again_changes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        append(store, 1)
        found = claimed(store)
        store.release(found, lease=MINUTE, backoff=NOW)
        before = dump(client_of_server, prefix)
        with pytest.raises(LeaseLost):
            store.release(found, lease=MINUTE, backoff=NOW)
        assert dump(client_of_server, prefix) == before

    def test_counters_of_another_type_refuse_and_nothing_is_written(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        append(store, 1)
        found = claimed(store)
        client_of_server.delete(store.keys.stats)
        client_of_server.sadd(store.keys.stats, "foreign")
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied):
            store.release(found, lease=MINUTE, backoff=NOW)
        assert dump(client_of_server, prefix) == before


class TestAttempts:
    """The key of the attempts has another type."""

    @pytest.mark.parametrize(
        "call",
        [Store.ack, partial(Store.release, lease=MINUTE, backoff=NOW), bury],
        ids=["ack", "release", "bury"],
    )
    def test_refuses_and_writes_nothing(
        self,
        store: Store,
        client_of_server: Redis,
        prefix: str,
        call: Callable[[Store, Claim], None],
    ) -> None:
        append(store, 1)
        found = claimed(store)
        client_of_server.set(store.keys.attempts, "foreign")
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied):
            call(store, found)
        assert dump(client_of_server, prefix) == before

    @pytest.mark.parametrize("call", [claim, pending.take, pending.purge])
    def test_refuses_to_give_or_take(
        self,
        store: Store,
        client_of_server: Redis,
        prefix: str,
        call: Callable[[Store], object],
    ) -> None:
        append(store, 1)
        client_of_server.set(store.keys.attempts, "foreign")
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied):
            call(store)
        assert dump(client_of_server, prefix) == before


class TestRenew:
    def test_lets_the_lease_begin_anew(self, store: Store) -> None:
        append(store, 1)
        found = claimed(store)
        time.sleep(0.05)
        store.renew(found)
        assert claim(store, "another", lease=timedelta(milliseconds=40)) is None
        store.ack(found)

    def test_of_a_lost_lease_changes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        append(store, 1)
        slow = claimed(store, "slow")
        heir = claimed(store, "heir", lease=NOW)
        before = dump(client_of_server, prefix)
        with pytest.raises(LeaseLost):
            store.renew(slow)
        assert dump(client_of_server, prefix) == before
        store.ack(heir)

    def test_of_a_batch_that_somebody_deleted(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        found = claimed(store)
        client_of_server.xdel(store.keys.batches, found.id)
        with pytest.raises(LeaseLost):
            store.renew(found)

    def test_empty_bucket(self, store: Store, client_of_server: Redis, prefix: str) -> None:
        with pytest.raises(LeaseLost):
            store.renew(a_claim())
        assert dump(client_of_server, prefix) == {}

    def test_counts_as_no_delivery(self, store: Store) -> None:
        append(store, 1)
        found = claimed(store)
        store.renew(found)
        store.release(found, lease=MINUTE, backoff=NOW)
        again = claimed(store, "another")
        assert (again.attempt, again.deaths, again.failures) == (2, 0, 0)


class TestSplit:
    def split(self, store: Store, found: Claim, *, failures: int = 0, deaths: int = 0) -> str:
        return store.split(found, spans(found.array), failures=failures, deaths=deaths)

    def test_puts_two_halves_in_its_place(self, store: Store) -> None:
        append(store, 1, [2, ","], "]", {"four": 4}, 5)
        found = claimed(store)
        newest = self.split(store, found, failures=7, deaths=2)
        left, right = claimed(store, "a"), claimed(store, "b")
        assert left.array == b'[1,[2, ","]]'
        assert right.array == b'["]",{"four": 4},5]'
        assert (left.count, right.count, right.id) == (2, 3, newest)
        assert {(half.failures, half.deaths) for half in (left, right)} == {(7, 2)}
        assert facts(read_status(store)) == (0, 5, 2, len(left.array) + len(right.array))
        store.ack(left)
        store.ack(right)
        assert facts(read_status(store)) == (0, 0, 0, 0)

    def test_leaves_no_trace_of_the_whole(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1, 2)
        found = claimed(store)
        store.release(found, lease=MINUTE, backoff=NOW, failed=True)
        self.split(store, claimed(store))
        for worker in "ab":
            store.ack(claimed(store, worker))
        assert not client_of_server.exists(store.keys.attempts)
        assert client_of_server.xpending(store.keys.batches, "drain")["pending"] == 0

    def test_of_a_lost_lease_changes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        append(store, 1, 2)
        slow = claimed(store, "slow")
        claimed(store, "heir", lease=NOW)
        before = dump(client_of_server, prefix)
        with pytest.raises(LeaseLost):
            self.split(store, slow)
        assert dump(client_of_server, prefix) == before

    def test_again_changes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        append(store, 1, 2)
        found = claimed(store)
        self.split(store, found)
        before = dump(client_of_server, prefix)
        with pytest.raises(LeaseLost):
            self.split(store, found)
        assert dump(client_of_server, prefix) == before

    def test_empty_bucket(self, store: Store, client_of_server: Redis, prefix: str) -> None:
        with pytest.raises(LeaseLost):
            store.split(a_claim(), [(1, 2), (3, 4)], failures=0, deaths=0)
        assert dump(client_of_server, prefix) == {}

    @pytest.mark.parametrize("kind", ["stats", "attempts"])
    def test_key_of_another_type_refuses_and_writes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str, kind: str
    ) -> None:
        append(store, 1, 2)
        found = claimed(store)
        client_of_server.delete(getattr(store.keys, kind))
        client_of_server.set(getattr(store.keys, kind), "foreign")
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied):
            self.split(store, found)
        assert dump(client_of_server, prefix) == before

    def test_goes_on_on_a_full_server(self, private_server: Redis) -> None:
        store = Store("orders", configuration())
        append(store, 1, 2)
        found = claimed(store)
        private_server.config_set("maxmemory", 1)
        self.split(store, found)
        assert [claimed(store, name).array for name in "ab"] == [b"[1]", b"[2]"]


class TestRepeat:
    def send(self, store: Store, stamp: Stamp, *values: Any, **options: Any) -> None:
        events = [json.dumps(value).encode() for value in values]
        limits: dict[str, Any] = {"batch_size": 2, "batch_bytes": 1000, **options}
        store.append(events, stamp, Limits(**limits))

    def test_is_stored_once(self, store: Store, client_of_server: Redis, prefix: str) -> None:
        stamp = a_stamp()
        self.send(store, stamp, 1, 2, 3)
        before = dump(client_of_server, prefix)
        for _ in range(3):
            self.send(store, stamp, 1, 2, 3)
        assert dump(client_of_server, prefix) == before
        assert facts(read_status(store))[0] == 3

    def test_is_known_after_the_batch_has_gone(self, store: Store) -> None:
        stamp = a_stamp()
        self.send(store, stamp, 1)
        pending.take(store)
        self.send(store, stamp, 1)
        assert pending.take(store) == []

    def test_late_copy_behind_what_came_since(self, store: Store) -> None:
        producer = Producer()
        first, second = producer.next_stamp(), producer.next_stamp()
        self.send(store, first, 1)
        self.send(store, second, 2)
        self.send(store, first, 1)
        assert pending.take(store) == [b"[1,2]"]

    def test_of_another_producer_or_bucket_is_none(self, store: Store) -> None:
        other = Store("others", configuration())
        stamp = a_stamp()
        self.send(store, stamp, 1)
        self.send(other, stamp, 1)
        self.send(store, Stamp("another", stamp.sequence), 1)
        assert (pending.take(store), pending.take(other)) == ([b"[1,1]"], [b"[1]"])

    def test_of_what_was_refused_is_stored(self, store: Store) -> None:
        stamp = a_stamp()
        self.send(store, a_stamp(), 0)
        with pytest.raises(BucketFull):
            self.send(store, stamp, 1, max_pending=1)
        self.send(store, stamp, 1)
        assert pending.take(store) == [b"[0,1]"]

    def test_of_what_was_dropped_is_dropped_once(self, store: Store) -> None:
        stamp = a_stamp()
        self.send(store, a_stamp(), 0)
        for _ in range(2):
            self.send(store, stamp, 1, max_pending=1, overflow="drop_newest")
        assert read_status(store).dropped.newest == 1
        assert pending.take(store) == [b"[0]"]

    def test_is_remembered_for_a_day(self, store: Store, client_of_server: Redis) -> None:
        stamp = a_stamp()
        self.send(store, stamp, 1)
        key = store.keys.open + PRODUCER + stamp.producer
        assert timedelta(hours=23) < timedelta(milliseconds=client_of_server.pttl(key))
        assert timedelta(hours=25) > timedelta(milliseconds=client_of_server.pttl(key))

    def test_spoilt_memory_is_no_reason_to_refuse(
        self, store: Store, client_of_server: Redis
    ) -> None:
        stamp = a_stamp()
        client_of_server.set(store.keys.open + PRODUCER + stamp.producer, "rubbish")
        self.send(store, stamp, 1)
        assert pending.take(store) == [b"[1]"]

    def test_memory_of_another_type_refuses_and_writes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        stamp = a_stamp()
        self.send(store, a_stamp(), 0)
        client_of_server.lpush(store.keys.open + PRODUCER + stamp.producer, "foreign")
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied):
            self.send(store, stamp, 1)
        assert dump(client_of_server, prefix) == before


class TestCaps:
    def add(self, store: Store, *values: Any, **options: Any) -> None:
        events = [json.dumps(value).encode() for value in values]
        limits: dict[str, Any] = {"batch_size": 2, "batch_bytes": 1000, **options}
        store.append(events, a_stamp(), Limits(**limits))

    @pytest.mark.parametrize(
        "cap", [{"max_pending": 3}, {"max_pending_bytes": len("[1,2]") + len("[3]")}]
    )
    def test_is_reached_and_not_passed(
        self, store: Store, client_of_server: Redis, prefix: str, cap: dict[str, int]
    ) -> None:
        self.add(store, 1, 2, 3, **cap)
        before = dump(client_of_server, prefix)
        with pytest.raises(BucketFull, match="max_pending"):
            self.add(store, 4, **cap)
        assert dump(client_of_server, prefix) == before

    def test_refuses_a_call_whole(self, store: Store) -> None:
        self.add(store, 1, max_pending=3)
        with pytest.raises(BucketFull):
            self.add(store, 2, 3, 4, max_pending=3)
        self.add(store, 5, 6, max_pending=3)
        assert pending.take(store) == [b"[1]", b"[5,6]"]

    def test_what_a_worker_holds_is_not_pending(self, store: Store) -> None:
        self.add(store, 1, 2, max_pending=2)
        found = claimed(store)
        self.add(store, 3, 4, max_pending=2)
        store.ack(found)
        with pytest.raises(BucketFull):
            self.add(store, 5, max_pending=2)

    def test_newest_are_dropped_and_counted(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.add(store, 1, 2, 3, max_pending=3)
        self.add(store, "secret", 5, max_pending=3, overflow="drop_newest")
        assert read_status(store).dropped.newest == 2
        assert "full. Dropped: 2" in caplog.text
        assert "secret" not in caplog.text
        assert pending.take(store) == [b"[1,2]", b"[3]"]

    def test_oldest_batches_make_room_and_are_counted(self, store: Store) -> None:
        options: dict[str, Any] = {"max_pending": 5, "overflow": "drop_oldest"}
        for value in range(1, 6):
            self.add(store, value, **options)
        self.add(store, 6, **options)
        assert read_status(store).dropped.oldest == 2
        assert facts(read_status(store))[0] == 4
        self.add(store, 7, 8, 9, **options)
        assert read_status(store).dropped.oldest == 4
        assert pending.take(store) == [b"[5,6]", b"[7,8]", b"[9]"]
        assert facts(read_status(store)) == (0, 0, 0, 0)

    def test_open_batch_makes_room_last(self, store: Store) -> None:
        options: dict[str, Any] = {"max_pending": 3, "overflow": "drop_oldest"}
        self.add(store, 1, 2, 3, **options)
        self.add(store, 4, 5, 6, **options)
        assert read_status(store).dropped.oldest == 3
        assert pending.take(store) == [b"[4,5]", b"[6]"]

    def test_what_a_worker_holds_is_not_dropped(self, store: Store) -> None:
        options: dict[str, Any] = {"max_pending_bytes": 13, "overflow": "drop_oldest"}
        self.add(store, 1, 2, **options)
        found = claimed(store)
        self.add(store, 3, 4, **options)
        self.add(store, 5, 6, **options)
        store.ack(found)
        assert pending.take(store) == [b"[5,6]"]

    def test_drops_nothing_in_vain(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        options: dict[str, Any] = {"max_pending": 3, "overflow": "drop_oldest"}
        self.add(store, 1, 2, 3, **options)
        before = dump(client_of_server, prefix)
        with pytest.raises(BucketFull):
            self.add(store, 4, 5, 6, 7, **options)
        assert dump(client_of_server, prefix) == before

    def test_dropped_batch_that_had_failed_leaves_no_trace(
        self, store: Store, client_of_server: Redis
    ) -> None:
        self.add(store, 1, 2)
        store.release(claimed(store), lease=MINUTE, backoff=MINUTE, failed=True)
        self.add(store, 3, 4, max_pending=2, overflow="drop_oldest")
        assert not client_of_server.exists(store.keys.attempts)
        assert client_of_server.xpending(store.keys.batches, "drain")["pending"] == 0
        assert claimed(store).array == b"[3,4]"

    def test_drops_nothing_on_a_full_server(self, private_server: Redis) -> None:
        store = Store("orders", configuration())
        self.add(store, 1, 2, 3)
        private_server.config_set("maxmemory", 1)
        for overflow in ("drop_newest", "drop_oldest"):
            with pytest.raises(BufferOutOfMemory):
                self.add(store, 4, max_pending=3, overflow=overflow)
        assert pending.take(store) == [b"[1,2]", b"[3]"]

    def test_key_of_another_type_refuses_and_writes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        self.add(store, 1, 2, 3)
        store.release(claimed(store), lease=MINUTE, backoff=MINUTE)
        client_of_server.set(store.keys.attempts, "foreign")
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied):
            self.add(store, 4, max_pending=3, overflow="drop_oldest")
        assert dump(client_of_server, prefix) == before

    def test_by_many_at_once_is_kept(self, store: Store) -> None:
        def add_some() -> None:
            for _ in range(20):
                with suppress(BucketFull):
                    self.add(store, 1, max_pending=50)

        at_once([add_some] * 5)
        assert facts(read_status(store))[0] == 50


class TestBury:
    def test_moves_the_batch_to_the_dead_letters(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, batch_size=1)
        found = claimed(store)
        bury(store, found, attempts=3)
        [(_, letter)] = client_of_server.xrange(store.keys.dead)
        assert (letter[b"event"], letter[b"error"]) == (b"[1]", b"no")
        assert facts(read_status(store)) == (1, 0, 1, 3)
        assert read_status(store).dead == 1

    def test_of_a_lost_lease_changes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        append(store, 1)
        slow = claimed(store, "slow")
        claimed(store, "heir", lease=NOW)
        before = dump(client_of_server, prefix)
        with pytest.raises(LeaseLost):
            bury(store, slow)
        assert dump(client_of_server, prefix) == before

    @pytest.mark.parametrize("kind", ["dead", "stats"])
    def test_key_of_another_type_refuses_and_writes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str, kind: str
    ) -> None:
        append(store, 1)
        found = claimed(store)
        client_of_server.delete(getattr(store.keys, kind))
        client_of_server.set(getattr(store.keys, kind), "foreign")
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied):
            bury(store, found)
        assert dump(client_of_server, prefix) == before

    def test_empty_bucket(self, store: Store, client_of_server: Redis, prefix: str) -> None:
        gone = a_claim()
        with pytest.raises(LeaseLost):
            bury(store, gone)
        assert dump(client_of_server, prefix) == {}

    def test_goes_on_on_a_full_server(self, private_server: Redis) -> None:
        store = Store("orders", configuration())
        append(store, 1)
        found = claimed(store)
        private_server.config_set("maxmemory", 1)
        bury(store, found)
        assert (read_status(store).dead, read_status(store).batches) == (1, 0)


class TestSetAside:
    @pytest.mark.parametrize("kind", ["dead", "stats"])
    def test_key_of_another_type_refuses_and_writes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str, kind: str
    ) -> None:
        client_of_server.sadd(getattr(store.keys, kind), "foreign")
        client_of_server.expire(getattr(store.keys, kind), 1000)
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied):
            pending.set_aside(store, [b"1", b"2"], error="no")
        assert dump(client_of_server, prefix) == before
        assert client_of_server.ttl(getattr(store.keys, kind)) > 0


@pytest.mark.parametrize("value", ["[]", "[ ]", "{}"])
def test_empty_array_of_another_client_takes_no_room(
    store: Store, client_of_server: Redis, value: str
) -> None:
    client_of_server.set(store.keys.open, value)
    assert facts(read_status(store)) == (0, 0, 0, 0)
    Bucket(store.name, max_pending_bytes=3).append(1)
    assert pending.take(store) == [b"[1]"]


class TestDeletedBatch:
    """Somebody deleted a batch from the stream while a worker held it."""

    @pytest.mark.parametrize(
        "call",
        [
            Store.ack,
            partial(Store.release, lease=MINUTE, backoff=NOW),
            partial(Store.split, spans=[(1, 2), (3, 4)], failures=0, deaths=0),
            bury,
        ],
        ids=["ack", "release", "split", "bury"],
    )
    def test_is_held_no_more(
        self, store: Store, client_of_server: Redis, call: Callable[[Store, Claim], None]
    ) -> None:
        append(store, *range(6), batch_size=2)
        claims = [claimed(store, worker) for worker in "abc"]
        client_of_server.xdel(store.keys.batches, claims[0].id)
        assert facts(read_status(store)) == (0, 4, 2, 10)
        with pytest.raises(LeaseLost):
            call(store, claims[0])
        assert facts(read_status(store)) == (0, 4, 2, 10)
        for claim in claims[1:]:
            store.ack(claim)
        assert facts(read_status(store)) == (0, 0, 0, 0)

    def test_that_was_released_hides_no_other_from_the_age(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, batch_size=1)
        released = claimed(store)
        store.release(released, lease=MINUTE, backoff=MINUTE)
        client_of_server.xdel(store.keys.batches, released.id)
        assert read_status(store).oldest is not None

    def test_in_whose_place_another_came_leaves_no_phantom(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, *range(10), batch_size=5)
        fields = {"events": "[1]", "count": 1, "opened": 1}
        client_of_server.xadd(store.keys.batches, fields, maxlen=2, approximate=False)
        while found := claim(store):
            store.ack(found)
        assert facts(read_status(store)) == (0, 0, 0, 0)


class TestTake:
    def test_everything_pending_in_order(self, store: Store) -> None:
        append(store, *range(5), batch_size=2)
        released = claimed(store)
        store.release(released, lease=MINUTE, backoff=MINUTE)
        assert pending.take(store) == [b"[0,1]", b"[2,3]", b"[4]"]
        assert facts(read_status(store)) == (0, 0, 0, 0)
        assert claim(store, lease=NOW) is None

    def test_leaves_what_a_worker_holds(self, store: Store) -> None:
        append(store, *range(5), batch_size=2)
        held = claimed(store)
        assert pending.take(store) == [b"[2,3]", b"[4]"]
        assert facts(read_status(store)) == (0, 2, 1, 5)
        store.ack(held)
        assert facts(read_status(store)) == (0, 0, 0, 0)

    def test_with_nothing_sealed_beside_a_held_batch(self, store: Store) -> None:
        append(store, 1, 2, batch_size=2)
        claimed(store)
        append(store, 3)
        assert pending.take(store) == [b"[3]"]
        assert facts(read_status(store)) == (0, 2, 1, 5)

    def test_empty_bucket(self, store: Store, client_of_server: Redis, prefix: str) -> None:
        assert pending.take(store) == []
        assert dump(client_of_server, prefix) == {}

    def test_ten_thousand_batches(self, store: Store) -> None:
        append(store, *range(10_000), batch_size=1)
        assert [json.loads(array)[0] for array in pending.take(store)] == list(range(10_000))

    def test_entry_of_another_client_is_set_aside(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, batch_size=1)
        client_of_server.xadd(store.keys.batches, {"events": "[]"})
        append(store, 2)
        assert pending.take(store) == [b"[1]", b"[2]"]
        assert read_status(store).dead == 1

    @pytest.mark.parametrize("kind", ["open", "batches", "dead", "stats"])
    def test_key_of_another_type_refuses_and_writes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str, kind: str
    ) -> None:
        append(store, 0, batch_size=1)
        append(store, 1)
        client_of_server.delete(getattr(store.keys, kind))
        client_of_server.lpush(getattr(store.keys, kind), "foreign")
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied):
            pending.take(store)
        assert dump(client_of_server, prefix) == before

    def test_many_takers_at_once_get_each_event_once(self, store: Store) -> None:
        append(store, *range(500), batch_size=3)
        got: list[int] = []

        def take() -> None:
            got.extend(event for array in pending.take(store) for event in json.loads(array))

        at_once([take] * 8)
        assert sorted(got) == list(range(500))

    def test_leaves_what_many_workers_hold(self, store: Store) -> None:
        append(store, *range(23), batch_size=1)
        for number in range(20):
            claimed(store, f"worker-{number}")
        assert pending.take(store) == [b"[20]", b"[21]", b"[22]"]
        assert facts(read_status(store)) == (0, 20, 20, 70)

    def test_counts_what_it_returns(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1, 2, 3, batch_size=2)
        pending.take(store)
        stats = client_of_server.hgetall(store.keys.stats)
        assert stats[b"processed"] == b"3"
        assert b"dropped" not in stats


class TestPurge:
    def test_counts_what_it_discards(self, store: Store, client_of_server: Redis) -> None:
        append(store, *range(5), batch_size=2)
        held = claimed(store)
        assert pending.purge(store) == 3
        assert facts(read_status(store)) == (0, 2, 1, 5)
        assert client_of_server.hget(store.keys.stats, "dropped") == b"3"
        store.ack(held)

    def test_any_number_of_foreign_entries(self, store: Store, client_of_server: Redis) -> None:
        for number in range(250):
            client_of_server.xadd(store.keys.batches, {"foreign": number})
        append(store, 1)
        assert pending.purge(store) == 1
        assert facts(read_status(store)) == (0, 0, 0, 0)
        assert read_status(store).dead == 250

    def test_many_batches(self, store: Store) -> None:
        append(store, *range(777), batch_size=2)
        assert pending.purge(store) == 777
        assert facts(read_status(store)) == (0, 0, 0, 0)

    def test_holds_up_the_server_for_no_more_than_a_portion(self, private_server: Redis) -> None:
        store = Store("orders", configuration())
        append(store, *range(777), batch_size=2)
        private_server.config_resetstat()
        pending.purge(store)
        assert private_server.info("commandstats")["cmdstat_evalsha"]["calls"] >= 4

    def test_empty_bucket(self, store: Store) -> None:
        assert pending.purge(store) == 0

    def test_sends_no_event(self, private_server: Redis) -> None:
        store = Store("orders", configuration())
        append(store, *["x" * 1000] * 150, batch_size=100)
        before = private_server.info()["total_net_output_bytes"]
        pending.purge(store)
        assert private_server.info()["total_net_output_bytes"] - before < 50_000


class TestPeek:
    def test_oldest_first_and_no_more_batches_than_needed(self, store: Store) -> None:
        append(store, *range(5), batch_size=2)
        assert pending.peek(store, 1) == [b"[0,1]"]
        assert pending.peek(store, 3) == [b"[0,1]", b"[2,3]"]
        assert pending.peek(store, 100) == [b"[0,1]", b"[2,3]", b"[4]"]

    def test_not_what_a_worker_holds_but_what_it_released(self, store: Store) -> None:
        append(store, *range(5), batch_size=2)
        held = claimed(store)
        assert pending.peek(store, 100) == [b"[2,3]", b"[4]"]
        store.release(held, lease=MINUTE, backoff=MINUTE)
        assert pending.peek(store, 100) == [b"[0,1]", b"[2,3]", b"[4]"]

    def test_writes_nothing(self, store: Store, client_of_server: Redis, prefix: str) -> None:
        append(store, 1)
        client_of_server.xadd(store.keys.batches, {"foreign": "x"})
        before = dump(client_of_server, prefix)
        assert pending.peek(store, 9) == [b"[1]"]
        assert dump(client_of_server, prefix) == before

    def test_empty_bucket(self, store: Store) -> None:
        assert pending.peek(store, 5) == []

    def test_not_what_many_workers_hold(self, store: Store) -> None:
        append(store, *range(23), batch_size=1)
        for number in range(20):
            claimed(store, f"worker-{number}")
        assert pending.peek(store, 99) == [b"[20]", b"[21]", b"[22]"]


class TestRetire:
    def test_removes_who_holds_nothing_and_nobody_else(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, 3, batch_size=1)
        store.ack(claimed(store, "done"))
        held = claimed(store, "busy")
        store.release(claimed(store, "gave back"), lease=MINUTE, backoff=MINUTE)
        store.retire("done", lease=MINUTE)
        consumers = client_of_server.xinfo_consumers(store.keys.batches, "drain")
        assert {consumer["name"] for consumer in consumers} == {b"busy", b"released"}
        store.ack(held)

    def test_what_it_still_holds_can_be_claimed_at_once(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        held = claimed(store, "interrupted")
        store.retire("interrupted", lease=MINUTE)
        assert facts(read_status(store)) == (2, 0, 2, 6)
        assert claimed(store, "heir").id == held.id
        with pytest.raises(LeaseLost):
            store.ack(held)

    def test_again_changes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        append(store, 1, batch_size=1)
        claimed(store)
        store.retire("worker", lease=MINUTE)
        claimed(store, "heir")
        store.retire("worker", lease=MINUTE)
        assert facts(read_status(store)) == (0, 1, 1, 3)

    def test_empty_bucket(self, store: Store, client_of_server: Redis, prefix: str) -> None:
        store.retire("worker", lease=MINUTE)
        assert dump(client_of_server, prefix) == {}


class TestCountLost:
    def test_adds_up(self, store: Store) -> None:
        pending.count_lost(store, 3)
        pending.count_lost(store, 2**40)
        assert read_status(store).lost == 3 + 2**40

    @pytest.mark.parametrize("spoilt", [b"many", b"9" * 30, b""])
    def test_total_that_was_spoilt_begins_again(
        self, store: Store, client_of_server: Redis, spoilt: bytes
    ) -> None:
        client_of_server.hset(store.keys.stats, "lost", spoilt)
        assert read_status(store).lost == 0
        pending.count_lost(store, 3)
        assert read_status(store).lost == 3

    def test_on_a_full_server_is_refused(self, private_server: Redis) -> None:
        store = Store("orders", configuration())
        private_server.config_set("maxmemory", 1)
        with pytest.raises(BufferOutOfMemory):
            pending.count_lost(store, 1)
        private_server.config_set("maxmemory", 0)
        assert read_status(store).lost == 0


class TestStatus:
    def test_age_is_that_of_the_oldest_pending_event(self, store: Store) -> None:
        append(store, 1)
        time.sleep(0.12)
        append(store, 2, batch_size=2)
        time.sleep(0.06)
        append(store, 3)
        assert 0.17 < seconds(store) < 1
        held = claimed(store)
        assert seconds(store) < 0.1
        store.release(held, lease=MINUTE, backoff=MINUTE)
        assert seconds(store) > 0.17

    def test_nothing_waits(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        claimed(store)
        assert read_status(store).oldest is None

    @pytest.mark.parametrize(
        ("missing", "left"),
        [
            ("open", (4, 2, 3, 15)),
            ("batches", (1, 0, 1, 3)),
            ("dead", (5, 2, 4, 18)),
            ("stats", (5, 2, 4, 18)),
        ],
    )
    def test_each_key_missing_in_turn(
        self,
        store: Store,
        client_of_server: Redis,
        missing: str,
        left: tuple[int, int, int, int],
    ) -> None:
        append(store, *range(7), batch_size=2)
        store.release(claimed(store, "gave back"), lease=MINUTE, backoff=MINUTE)
        held = claimed(store, "busy")
        client_of_server.delete(getattr(store.keys, missing))
        assert facts(read_status(store)) == left

        append(store, 7, 8, batch_size=2)
        if missing == "batches":
            with pytest.raises(LeaseLost):
                store.ack(held)
        else:
            store.ack(held)
        waiting = [event for array in pending.peek(store, 99) for event in json.loads(array)]
        assert read_status(store).pending == len(waiting)
        assert read_status(store).in_flight == 0
        drained = []
        while found := claim(store, lease=NOW):
            drained += json.loads(found.array)
            store.ack(found)
        assert drained == waiting
        assert facts(read_status(store)) == (0, 0, 0, 0)

    def test_deleted_batch_leaves_no_phantom(self, store: Store, client_of_server: Redis) -> None:
        append(store, *range(4), batch_size=2)
        [(first, _), _] = client_of_server.xrange(store.keys.batches)
        client_of_server.xdel(store.keys.batches, first)
        assert facts(read_status(store)) == (2, 0, 1, 5)
        assert pending.take(store) == [b"[2,3]"]
        append(store, 5)
        assert facts(read_status(store)) == (1, 0, 1, 3)

    def test_deleted_stream_leaves_no_phantom(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1, 2, batch_size=1)
        claimed(store)
        client_of_server.delete(store.keys.batches)
        assert facts(read_status(store)) == (0, 0, 0, 0)

    @pytest.mark.parametrize("kind", ["open", "batches", "dead", "stats"])
    def test_key_of_another_type(self, store: Store, client_of_server: Redis, kind: str) -> None:
        client_of_server.sadd(getattr(store.keys, kind), "foreign")
        with pytest.raises(KeyOccupied):
            read_status(store)

    def test_many_in_one_round_trip_each_with_its_own_fault(self, client_of_server: Redis) -> None:
        names = [f"bucket-{number}" for number in range(50)]
        for number, name in enumerate(names):
            append(Store(name, configuration()), *range(number)) if number else None
        client_of_server.script_flush()
        client_of_server.set(Store("bucket-7", configuration()).keys.dead, "foreign")
        found = statuses(names, configuration())
        assert isinstance(found[7], KeyOccupied)
        for number, status in enumerate(found):
            assert number == 7 or (isinstance(status, BucketStatus) and status.pending == number)

    def test_age_beside_a_group_of_another_name(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, batch_size=1)
        client_of_server.xgroup_create(store.keys.batches, "other", "$")
        claimed(store)
        assert read_status(store).oldest is not None

    def test_entry_that_is_no_batch_has_no_age(self, store: Store, client_of_server: Redis) -> None:
        client_of_server.xadd(store.keys.batches, {"opened": "x"})
        assert read_status(store).oldest is None

    @pytest.mark.parametrize("spoilt", ["?", "-9"])
    @pytest.mark.parametrize(
        "counter",
        [
            *["open", "open_bytes", "open_tail", "opened"],
            *["sealed", "claimed", "sealed_bytes", "sealed_batches"],
        ],
    )
    def test_spoilt_counter_is_counted_anew(
        self, store: Store, client_of_server: Redis, counter: str, spoilt: str
    ) -> None:
        append(store, 1, 2, 3, batch_size=2)
        claimed(store, linger=None)
        client_of_server.hset(store.keys.stats, counter, spoilt)
        assert facts(read_status(store)) == (1, 2, 2, 8)
        assert 0 <= seconds(store) < 60
        assert pending.take(store) == [b"[3]"]
        assert facts(read_status(store)) == (0, 2, 1, 5)


def seconds(store: Store) -> float:
    oldest = read_status(store).oldest
    assert oldest is not None
    return oldest.total_seconds()


class TestForeignEntry:
    """Stream entries of another client that are not batches."""

    @pytest.mark.parametrize("call", [claim, pending.take, pending.purge])
    def test_is_set_aside_once(
        self, store: Store, client_of_server: Redis, call: Callable[[Store], object]
    ) -> None:
        append(store, 1, batch_size=1)
        client_of_server.xadd(store.keys.batches, {"foreign": "x"})
        store.ack(claimed(store))
        for _ in range(2):
            call(store)
        assert client_of_server.xlen(store.keys.batches) == 0
        assert client_of_server.xpending(store.keys.batches, "drain")["pending"] == 0
        assert read_status(store).dead == 1

    @pytest.mark.parametrize(
        "call",
        [claim, Store.seal],
        ids=["claim", "seal"],
    )
    def test_that_had_the_last_id_there_is_costs_no_event(
        self, store: Store, client_of_server: Redis, call: Callable[[Store], object]
    ) -> None:
        append(store, 1)
        client_of_server.xadd(store.keys.batches, {"foreign": "x"}, id=LAST_ID)
        client_of_server.xdel(store.keys.batches, LAST_ID)
        with pytest.raises(BufferUnavailable):
            call(store)
        assert client_of_server.get(store.keys.open) == b"[1]"
        assert facts(read_status(store)) == (1, 0, 1, 3)

    def test_status_of_a_stream_whose_largest_id_was_delivered(
        self, store: Store, client_of_server: Redis
    ) -> None:
        batch: dict[Any, Any] = {"events": "[1]", "count": 1, "opened": 1}
        client_of_server.xadd(store.keys.batches, batch, id=LAST_ID)
        assert claimed(store).array == b"[1]"
        assert facts(read_status(store))[:2] == (0, 1)

    def test_that_had_the_last_id_there_is_refuses_no_append(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1)
        client_of_server.xadd(store.keys.batches, {"foreign": "x"}, id=LAST_ID)
        append(store, 2, 3, batch_size=1)
        assert client_of_server.get(store.keys.open) == b"[1,2,3]"

    def test_stays_when_the_dead_letters_take_no_more(
        self, store: Store, client_of_server: Redis
    ) -> None:
        client_of_server.xadd(store.keys.dead, {"event": "x"}, id=LAST_ID)
        client_of_server.xadd(store.keys.batches, {"foreign": "x"})
        with pytest.raises(BufferUnavailable):
            pending.take(store)
        assert client_of_server.xlen(store.keys.batches) == 1


def _free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return str(listening.getsockname()[1])


class TestConnections:
    @pytest.mark.parametrize("protocol", [2, 3])
    @pytest.mark.parametrize("decode", [False, True])
    def test_every_reply_shape(
        self,
        private_server: Redis,
        use_cache: Callable[..., str],
        protocol: int,
        decode: bool,
    ) -> None:
        path = private_server.get_connection_kwargs()["path"]
        use_cache(
            f"unix://{path}?db=0&protocol={protocol}",
            OPTIONS={"CONNECTION_POOL_KWARGS": {"decode_responses": decode}},
        )
        store = Store("orders", configuration())
        append(store, "é", 2, 3, batch_size=2)
        assert pending.peek(store, 3) == [b'["\\u00e9",2]', b"[3]"]
        held = claimed(store)
        store.release(held, lease=MINUTE, backoff=NOW)
        store.ack(claimed(store))
        assert pending.take(store) == [b"[3]"]
        [status] = statuses(["orders"], configuration())
        assert isinstance(status, BucketStatus)
        assert facts(status) == (0, 0, 0, 0)
        assert catalog_entries.names(configuration()) == {"orders"}

    def test_scripts_that_the_server_forgot(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        client_of_server.script_flush()
        append(store, 2)
        client_of_server.script_flush()
        assert pending.take(store) == [b"[1,2]"]

    def test_cluster_takes_every_script(self, use_cache: Callable[..., str]) -> None:
        """A single node with all slots refuses keys of several slots, as in a larger cluster."""
        with (
            EmbeddedRedis("--cluster-enabled", "yes", "--cluster-port", _free_port()) as embedded,
            redis.Redis.from_url(embedded.url) as plain,
        ):
            plain.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while plain.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                time.sleep(0.05)
            use_cache(embedded.url)
            store = Store("orders", configuration())
            append(store, 1, 2, 3, batch_size=2)
            store.seal()
            held = claimed(store)
            store.release(held, lease=MINUTE, backoff=NOW)
            store.ack(claimed(store))
            store.retire("worker", lease=MINUTE)
            assert pending.peek(store, 9) == [b"[3]"]
            [status] = statuses(["orders"], configuration())
            assert isinstance(status, BucketStatus)
            assert facts(status) == (1, 0, 1, 3)
            assert pending.take(store) == [b"[3]"]
            assert pending.purge(store) == 0
            assert catalog_entries.names(configuration()) == {"orders"}

    def test_facts_of_the_server(self, private_server: Redis) -> None:
        found = server_facts(configuration())
        assert found.version >= (6, 2)
        assert (found.eviction_policy, found.has_aof, found.has_snapshots) == (
            "noeviction",
            False,
            False,
        )
        private_server.config_set("maxmemory-policy", "allkeys-lru")
        private_server.config_set("appendonly", "yes")
        private_server.config_set("save", "60 1")
        found = server_facts(configuration())
        assert (found.eviction_policy, found.has_aof, found.has_snapshots) == (
            "allkeys-lru",
            True,
            True,
        )


class TestPause:
    def test_lets_no_batch_be_claimed_until_resumed(self, store: Store) -> None:
        append(store, 1, 2, batch_size=2)
        append(store, 3)
        assert pending.pause(store) is True
        assert claim(store) is None
        assert store.seal() == (None, 0)
        append(store, 4)
        assert facts(read_status(store))[:3] == (4, 0, 2)
        assert pending.resume(store) is True
        assert claimed(store).array == b"[1,2]"
        assert store.seal()[0] is not None

    def test_lets_a_worker_have_again_what_it_holds(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        held = claimed(store)
        pending.pause(store)
        assert claimed(store) == held
        assert claim(store, "another", lease=NOW) is None
        store.ack(held)
        assert claim(store) is None

    def test_counts_no_death_of_a_worker_while_it_lasts(self, store: Store) -> None:
        append(store, 1)
        claimed(store)
        pending.pause(store)
        for _ in range(5):
            assert claim(store, "another", lease=NOW) is None
        pending.resume(store)
        assert claimed(store, "another", lease=NOW).deaths == 1

    def test_keeps_the_time_of_the_first(self, store: Store, client_of_server: Redis) -> None:
        assert read_status(store).paused is None
        pending.pause(store)
        client_of_server.decrby(store.keys.paused, 60_000)
        assert pending.pause(store) is False
        paused = read_status(store).paused
        assert paused is not None
        assert MINUTE <= paused < 2 * MINUTE

    def test_of_another_hand_counts_from_now(self, store: Store, client_of_server: Redis) -> None:
        client_of_server.set(store.keys.paused, "by hand")
        append(store, 1)
        assert read_status(store).paused == NOW
        assert claim(store) is None

    def test_is_none_of_a_key_of_another_type(self, store: Store, client_of_server: Redis) -> None:
        client_of_server.sadd(store.keys.paused, "theirs")
        for call in (pending.pause, pending.resume, Store.seal, read_status):
            with pytest.raises(KeyOccupied):
                call(store)
        assert client_of_server.smembers(store.keys.paused) == {b"theirs"}

    def test_resume_of_what_is_not_paused(self, store: Store) -> None:
        assert pending.resume(store) is False

    def test_and_resume_on_a_full_server(self, private_server: Redis) -> None:
        store = Store("orders", configuration())
        append(store, 1)
        private_server.config_set("maxmemory", 1)
        assert pending.pause(store) is True
        assert claim(store) is None
        assert pending.resume(store) is True
        assert claimed(store).array == b"[1]"

    def test_leaves_take_and_purge_alone(self, store: Store) -> None:
        append(store, 1)
        pending.pause(store)
        assert pending.take(store) == [b"[1]"]
        append(store, 2)
        assert pending.purge(store) == 1

    def test_lets_no_worker_through_among_many(self, store: Store) -> None:
        for value in range(50):
            append(store, value, batch_size=1)
        pending.pause(store)
        at_once(partial(claim, store, f"worker-{n}") for n in range(10))
        assert read_status(store).in_flight == 0


class TestDeliveries:
    def test_of_a_bucket_that_nobody_drains(self, store: Store) -> None:
        append(store, 1, batch_size=1)
        assert read_deliveries(store, 10) == Deliveries({}, [])

    def test_tell_who_holds_which_batch_since_when_at_which_attempt(self, store: Store) -> None:
        append(store, 1, 2, batch_size=1)
        store.beat("one")
        first, second = claimed(store, "one"), claimed(store, "two")
        told = read_deliveries(store, 10)
        assert set(told.workers) == {"one"}
        assert told.workers["one"] < MINUTE
        assert [(batch.batch, batch.worker, batch.attempt) for batch in told.batches] == [
            (first.id, "one", 1),
            (second.id, "two", 1),
        ]
        for batch in told.batches:
            assert batch.claimed is not None
            assert NOW <= batch.claimed < MINUTE
            assert (batch.failures, batch.deaths, batch.error) == (0, 0, "")

    def test_hold_for_as_long_as_the_lease_is_renewed(self, store: Store) -> None:
        append(store, 1)
        held = claimed(store)
        time.sleep(0.05)
        store.renew(held)
        [batch] = read_deliveries(store, 10).batches
        assert batch.claimed is not None
        assert batch.claimed >= timedelta(milliseconds=50)
        assert batch.idle < batch.claimed

    def test_tell_what_a_batch_that_was_given_back_failed_with(self, store: Store) -> None:
        append(store, 1)
        store.release(claimed(store), lease=MINUTE, backoff=NOW, failed=True, error="KeyError")
        [batch] = read_deliveries(store, 10).batches
        assert (batch.worker, batch.failures, batch.error) == ("", 1, "KeyError")
        assert MINUTE <= batch.idle < 2 * MINUTE
        again = claimed(store, "another")
        store.release(again, lease=MINUTE, backoff=NOW, failed=False, error="Operational\nError")
        [batch] = read_deliveries(store, 10).batches
        assert (batch.attempt, batch.failures, batch.error) == (2, 1, "Operational Error")

    def test_tell_how_many_workers_died(self, store: Store) -> None:
        append(store, 1)
        claimed(store, "one")
        claimed(store, "two", lease=NOW)
        [batch] = read_deliveries(store, 10).batches
        assert (batch.worker, batch.attempt, batch.deaths) == ("two", 2, 1)

    def test_are_the_oldest(self, store: Store) -> None:
        append(store, 1, 2, 3, batch_size=1)
        ids = [claimed(store, f"worker-{n}").id for n in range(3)]
        assert [batch.batch for batch in read_deliveries(store, 2).batches] == ids[:2]

    def test_survive_what_another_client_has_spoilt(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1)
        held = claimed(store, "one")
        client_of_server.hset(store.keys.attempts, held.id, b"\xff\x00")
        client_of_server.hset(store.keys.workers, b"\xff", "x")
        [batch] = read_deliveries(store, 10).batches
        assert (batch.claimed, batch.failures) == (None, 0)
        assert list(read_deliveries(store, 10).workers) == ["\ufffd"]


def history(store: Store) -> list[Sample]:
    [samples] = histories([store.name], configuration())
    return samples


class TestHistory:
    def test_has_a_sample_a_minute_however_many_workers_beat(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, 3, batch_size=2)
        store.ack(claimed(store))
        for consumer in ("one", "two", "one"):
            store.beat(consumer)
        [sample] = history(store)
        assert abs(sample.at.timestamp() - time.time()) < 60
        assert sample[1:] == (1, 0, 3, 2)
        client_of_server.lset(store.keys.history, 0, f"{int(time.time() * 1000) - 60_000} 1 0 3 2")
        store.beat("one")
        assert len(history(store)) == 2

    def test_takes_one_sample_among_many_workers(self, store: Store) -> None:
        at_once(partial(store.beat, f"worker-{n}") for n in range(20))
        assert len(history(store)) == 1

    def test_is_some_hours_long_and_small(self, store: Store, client_of_server: Redis) -> None:
        sample = "1 123456 0 123456789 123456789"
        client_of_server.rpush(store.keys.history, *[sample] * 300)
        store.beat("one")
        assert client_of_server.llen(store.keys.history) == 240
        now_ms = int(time.time() * 1000)
        client_of_server.delete(store.keys.history)
        samples = [f"{now_ms - 60_000 * n} 123456 12 123456789 123456789" for n in range(240)]
        client_of_server.rpush(store.keys.history, *samples)
        assert client_of_server.memory_usage(store.keys.history) < 20_000

    @pytest.mark.parametrize(
        "text", ["", "x", "1 2 3", "-1 1 1 1 1", "9" * 30 + " 1 1 1 1", b"\xff"]
    )
    def test_has_no_sample_that_is_spoilt(
        self, store: Store, client_of_server: Redis, text: str | bytes
    ) -> None:
        client_of_server.rpush(store.keys.history, text)
        assert history(store) == []
        assert read_status(store).sampled is None
        store.beat("one")
        assert len(history(store)) == 1

    def test_of_a_clock_that_was_set_back_goes_on(
        self, store: Store, client_of_server: Redis
    ) -> None:
        client_of_server.rpush(store.keys.history, f"{int(time.time() * 1000) + 3_600_000} 1 0 1 1")
        store.beat("one")
        assert len(history(store)) == 2

    def test_is_worth_no_heartbeat(self, store: Store, client_of_server: Redis) -> None:
        for key in (store.keys.history, store.keys.open, store.keys.stats):
            client_of_server.sadd(key, "theirs")
            store.beat("one")
            assert client_of_server.hexists(store.keys.workers, "one")
            client_of_server.delete(key, store.keys.workers)

    def test_of_another_type_is_none(self, store: Store, client_of_server: Redis) -> None:
        client_of_server.set(store.keys.history, "theirs")
        assert histories(["orders", "other"], configuration()) == [[], []]

    def test_is_taken_on_a_full_server(self, private_server: Redis) -> None:
        store = Store("orders", configuration())
        private_server.config_set("maxmemory", 1)
        store.beat("one")
        assert len(history(store)) == 1

    def test_of_a_server_that_is_away(self, unreachable: str) -> None:
        with pytest.raises(BufferUnavailable):
            histories(["orders"], configuration())


class TestRates:
    def put(self, store: Store, plain: Redis, *samples: tuple[int, int, int]) -> None:
        """Write samples to the history: seconds ago, and the two totals at that time."""
        now_ms = int(time.time() * 1000)
        texts = [f"{now_ms - ago * 1000} 0 0 {one} {other}" for ago, one, other in samples]
        plain.rpush(store.keys.history, *texts)

    def test_are_those_of_the_last_minute_or_two(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, *range(1000))
        self.put(store, client_of_server, (500, 0, 0), (100, 0, 0), (40, 500, 0))
        status = read_status(store)
        assert status.appended_per_minute == pytest.approx(600, rel=0.05)
        assert status.processed_per_minute == 0
        assert status.sampled is not None
        assert 39 < status.sampled.total_seconds() < 60

    def test_are_not_known_without_a_history(self, store: Store) -> None:
        append(store, 1)
        status = read_status(store)
        assert (status.appended_per_minute, status.processed_per_minute) == (None, None)

    def test_are_not_known_over_a_few_seconds(self, store: Store, client_of_server: Redis) -> None:
        self.put(store, client_of_server, (10, 0, 0))
        assert read_status(store).appended_per_minute is None

    def test_are_not_known_when_a_total_began_again(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1)
        self.put(store, client_of_server, (60, 500, 500))
        status = read_status(store)
        assert (status.appended_per_minute, status.processed_per_minute) == (None, None)


@pytest.mark.parametrize("key", [field.name for field in fields(Keys)])
def test_status_says_which_bucket_has_a_key_of_another_type(
    store: Store, client_of_server: Redis, key: str
) -> None:
    append(store, 1)
    place = getattr(store.keys, key)
    client_of_server.delete(place)
    client_of_server.sadd(place, "theirs")
    with pytest.raises(KeyOccupied, match="'orders'"):
        read_status(store)


class TestAgeOfHalves:
    def put(self, store: Store, plain: Redis, *ages: int) -> None:
        """Put a batch of two events for each age, opened this many seconds ago."""
        now_ms = int(time.time() * 1000)
        for ago in ages:
            batch: dict[Any, Any] = {"events": "[1,2]", "count": 2, "opened": now_ms - ago * 1000}
            plain.xadd(store.keys.batches, batch)

    def split(self, store: Store, held: Claim) -> None:
        store.split(held, spans(held.array), failures=1, deaths=0)

    def age(self, store: Store) -> float:
        oldest = read_status(store).oldest
        assert oldest is not None
        return round(oldest.total_seconds(), -1)

    def test_is_that_of_the_batch_though_they_lie_behind_younger_ones(
        self, store: Store, client_of_server: Redis
    ) -> None:
        self.put(store, client_of_server, 7200, 60)
        held = claimed(store)
        assert self.age(store) == 60
        self.split(store, held)
        assert self.age(store) == 7200
        self.put(store, client_of_server, 10)
        store.ack(claimed(store))
        assert self.age(store) == 7200
        store.ack(claimed(store))
        store.ack(claimed(store))
        assert self.age(store) == 10

    def test_is_that_of_the_oldest_of_several(self, store: Store, client_of_server: Redis) -> None:
        self.put(store, client_of_server, 7200, 3600, 60)
        for consumer in ("one", "two"):
            self.split(store, claimed(store, consumer))
        assert self.age(store) == 7200

    def test_is_forgotten_when_they_are_gone(self, store: Store, client_of_server: Redis) -> None:
        self.put(store, client_of_server, 7200)
        self.split(store, claimed(store))
        pending.purge(store)
        self.put(store, client_of_server, 600, 60)
        assert self.age(store) == 600
        self.split(store, claimed(store))
        assert self.age(store) == 600

    def test_is_that_of_the_first_of_those_that_were_given_back(
        self, store: Store, client_of_server: Redis
    ) -> None:
        self.put(store, client_of_server, 7200, 600, 60)
        held = [claimed(store, consumer) for consumer in ("one", "two")]
        for each in held:
            store.release(each, lease=MINUTE, backoff=NOW, failed=True)
        assert self.age(store) == 7200

    def test_counts_beside_a_batch_that_was_given_back(
        self, store: Store, client_of_server: Redis
    ) -> None:
        self.put(store, client_of_server, 7200, 60)
        old, young = claimed(store, "one"), claimed(store, "two")
        store.release(young, lease=MINUTE, backoff=NOW, failed=True)
        assert self.age(store) == 60
        self.split(store, old)
        assert self.age(store) == 7200

    @pytest.mark.parametrize("text", ["", "x", "1-", "9" * 30, b"\xff"])
    def test_is_that_of_the_first_when_it_is_spoilt(
        self, store: Store, client_of_server: Redis, text: str | bytes
    ) -> None:
        self.put(store, client_of_server, 60)
        for name in ("split_last", "split_opened"):
            client_of_server.hset(store.keys.stats, name, text)
            assert self.age(store) == 60


class TestFailing:
    def test_is_a_batch_from_its_failure_to_its_success(self, store: Store) -> None:
        append(store, 1, 2, 3, batch_size=1)
        store.release(claimed(store), lease=MINUTE, backoff=NOW, failed=True, error="KeyError")
        status = read_status(store)
        assert (status.failing, status.attempt, status.error) == (1, 1, "KeyError")
        assert (status.batches_sealed, status.batches_in_flight) == (3, 0)
        again = claimed(store, "another")
        status = read_status(store)
        assert (status.failing, status.attempt, status.error) == (1, 2, "KeyError")
        assert (status.batches_sealed, status.batches_in_flight) == (2, 1)
        store.ack(again)
        assert read_status(store).failing == 0

    def test_is_one_whose_worker_died(self, store: Store) -> None:
        append(store, 1)
        claimed(store, "one")
        assert read_status(store).failing == 0
        claimed(store, "two", lease=NOW)
        status = read_status(store)
        assert (status.failing, status.attempt, status.error) == (1, 2, "")

    def test_is_none_that_was_only_given_back(self, store: Store) -> None:
        append(store, 1)
        claimed(store, "one")
        store.retire("one", lease=MINUTE)
        status = read_status(store)
        assert (status.failing, status.batches_in_flight, status.batches_sealed) == (0, 0, 1)

    def test_is_each_half_of_what_was_split(self, store: Store) -> None:
        append(store, 1, 2, batch_size=2)
        held = claimed(store)
        store.split(held, spans(held.array), failures=1, deaths=0, error="KeyError")
        claimed(store, "one")
        claimed(store, "two")
        status = read_status(store)
        assert (status.failing, status.attempt, status.error) == (2, 1, "KeyError")


class TestGlance:
    """Large values are cut on the server before they are shown."""

    def test_peek_is_cut_where_it_has_so_many_bytes(self, store: Store) -> None:
        append(store, "aaaa", "bbbb", batch_size=2)
        append(store, "cccc")
        assert pending.peek(store, 10) == [b'["aaaa", "bbbb"]'.replace(b" ", b""), b'["cccc"]']
        assert pending.peek(store, 10, most_bytes=10) == [b'["aaaa","b']
        assert pending.peek(store, 10, most_bytes=18) == [b'["aaaa","bbbb"]', b'["c']
        assert pending.peek(store, 10, most_bytes=15) == [b'["aaaa","bbbb"]']

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
