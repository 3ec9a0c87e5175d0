import json
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import redis

from django_jsonbuffer import Bucket
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BufferUnavailable, KeyOccupied, LeaseLost
from django_jsonbuffer.json_arrays import spans
from django_jsonbuffer.limits import Limits
from django_jsonbuffer.store import catalog_entries, pending
from django_jsonbuffer.store.claims import Claim, Reason
from django_jsonbuffer.store.status import BucketStatus, read_status
from django_jsonbuffer.store.statuses import statuses
from django_jsonbuffer.store.store import Store
from example_project.embedded_redis import EmbeddedRedis
from tests.server import Redis, both_servers
from tests.stamps import next_stamp
from tests.store.steps import (
    LAST_ID,
    MINUTE,
    NOW,
    a_claim,
    append,
    bury,
    claim,
    claimed,
    commands_of,
    dump,
    facts,
    fail,
    let_clock_be_known,
    noted,
    split,
)
from tests.threads import at_once

pytestmark = both_servers


class TestAppend:
    def test_first_event_opens_the_batch(self, store: Store, client_of_server: Redis) -> None:
        append(store, {"a": 1})
        assert client_of_server.get(store.keys.open) == b'[{"a": 1}]'

    def test_events_are_spliced_in_order_and_unchanged(
        self, store: Store, client_of_server: Redis
    ) -> None:
        events = [b"[]", b"{}", b"1234567890123456789", b"1763912345.123456", b' "e\\u0301" ']
        for event in events:
            store.append([event], next_stamp(), Limits(batch_size=1000, batch_bytes=1000))
        store.append(events, next_stamp(), Limits(batch_size=1000, batch_bytes=1000))
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

    def test_hundred_thousand_events_in_one_call(self, store: Store) -> None:
        append(store, *range(100_000))
        assert read_status(store).batches == 100
        assert [n for array in pending.take(store) for n in json.loads(array)] == list(
            range(100_000)
        )

    @pytest.mark.parametrize("kind", ["open", "batches", "stats", "appends"])
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

    def test_asks_the_same_of_the_server_whatever_is_waiting(self, private_server: Redis) -> None:
        """The same commands, and none that reads the waiting events: so the cost does not grow."""
        store = Store("orders", configuration())
        append(store, 0, batch_size=None)
        few = commands_of(private_server, lambda: append(store, 1, batch_size=None))
        append(store, *range(100_000), batch_size=None)
        many = commands_of(private_server, lambda: append(store, 1, batch_size=None))
        assert few == many
        assert "xrange" not in many
        assert "get" not in many

    @pytest.mark.parametrize("batch_size", [1000, None])
    @pytest.mark.parametrize("max_pending", [None, 1000])
    def test_usual_call_runs_no_needless_command(
        self, private_server: Redis, batch_size: int | None, max_pending: int | None
    ) -> None:
        """A usual call fills no batch, and nothing has changed since the call before."""
        store = Store("orders", configuration())
        limits = Limits(batch_size=batch_size, batch_bytes=10_000, max_pending=max_pending)

        def append() -> None:
            store.append([b"1"], next_stamp(), limits)

        append()
        commands = commands_of(private_server, append)
        looks_at_the_stream = {} if max_pending is None else {"xlen": 1}
        assert commands == {
            "config|resetstat": 1,
            "evalsha": 1,
            "hmget": 1,
            "getrange": 1,
            **looks_at_the_stream,
            "setrange": 1,
            "hset": 1,
        }

    def test_value_that_a_foreign_client_lets_expire_takes_no_event_with_it(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 0)
        client_of_server.set(store.keys.open, "[1]", px=50)
        append(store, 2)
        time.sleep(0.1)
        assert pending.take(store) == [b"[1,2]"]

    def test_spoilt_counters_cost_no_event(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1, batch_size=2)
        client_of_server.hset(
            store.keys.stats,
            mapping={"appended": 2**63 - 1, "sealed": "many", "sealed_bytes": "x"},
        )
        client_of_server.hset(
            store.keys.appends, mapping={"open": "?", "opened": "?", "since": "?"}
        )
        append(store, 2, batch_size=2)
        append(store, 3, batch_size=2)
        assert [json.loads(array) for array in pending.take(store)] == [[1, 2], [3]]

    def test_spoilt_count_costs_no_event(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        client_of_server.hset(store.keys.appends, "open", noted(0, b"[1]"))
        append(store, 2)
        assert read_status(store).pending == 2
        assert pending.take(store) == [b"[1,2]"]
        client_of_server.hset(store.keys.appends, "open", noted(5, b""))
        assert read_status(store).pending == 0
        append(store, 3)
        assert pending.take(store) == [b"[3]"]

    @pytest.mark.parametrize("size", [2, 4])
    def test_spoilt_size_costs_no_event(
        self, store: Store, client_of_server: Redis, size: int
    ) -> None:
        append(store, 1)
        client_of_server.hset(store.keys.appends, "open", noted(1, b"[1]", size=size))
        append(store, 2)
        assert pending.take(store) == [b"[1,2]"]

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
        client_of_server.sadd(getattr(store.keys, kind), "foreign")
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied):
            store.seal()
        assert dump(client_of_server, prefix) == before

    def test_counters_of_another_type_let_no_foreign_value_be_copied(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        client_of_server.set(store.keys.open, "rubbish")
        client_of_server.lpush(store.keys.stats, "foreign")
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
        newest, _ = store.seal()
        for name, last, array in (("c", first, b"[2]"), ("d", second, b"[3]")):
            after = last.stream_id
            found = store.claim(name, lease=NOW, linger=None, after=after, newest=newest).claim
            assert found is not None
            assert found.array == array

    def test_past_the_given_id_first_and_then_round(self, store: Store) -> None:
        append(store, 1, 2, 3, batch_size=1)
        first, second = claimed(store, "a"), claimed(store, "b")
        assert claimed(store, "c", lease=NOW, after=first.stream_id).id == second.id
        assert claimed(store, "d", lease=NOW, after=second.stream_id).id == first.id

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
        client_of_server.hset(store.keys.appends, "opened", in_an_hour)
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
        found, foreign, *_ = store.claim("worker", lease=MINUTE, linger=None)
        assert found is not None
        assert (found.array, foreign) == (b"[1]", 250)
        assert read_status(store).dead == 250

    def test_entry_of_another_client_is_set_aside(
        self, store: Store, client_of_server: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        client_of_server.xadd(store.keys.batches, {"foreign": "secret"})
        append(store, 1, batch_size=1)
        found, foreign, *_ = store.claim("worker", lease=MINUTE, linger=None)
        assert found is not None
        assert (found.array, foreign) == (b"[1]", 1)
        [(_, letter)] = client_of_server.xrange(store.keys.dead)
        assert letter[b"event"] == b"foreign secret"
        assert "orders" in caplog.text
        assert "secret" not in caplog.text

    def test_batch_that_somebody_deleted_is_passed_over(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, batch_size=1)
        client_of_server.xdel(store.keys.batches, claimed(store, "died").stream_id)
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
        assert claimed(store, after=first.stream_id) == first

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
            *(store.keys.batches, "drain", held.worker, 0, [held.stream_id]),
            idle=hour_ms,
            justid=True,
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

    def test_tries_of_an_outage_go_through_all_batches(self, store: Store) -> None:
        """So that an outage ends although its oldest event is bad, and nothing else is appended."""
        append(store, 1, 2, 3, batch_size=1)
        tried = [fail_in_an_outage(store) for _ in range(9)]
        assert set(tried[3:]) == {b"[1]", b"[2]", b"[3]"}

    def test_in_an_outage_begins_with_what_was_tried_least(self, store: Store) -> None:
        append(store, 1)
        for _ in range(5):
            fail_in_an_outage(store)
        append(store, 2, 3, batch_size=2)
        whole = claimed(store)
        store.split(whole, spans(whole.array), at=1)
        assert [fail_in_an_outage(store) for _ in range(2)] == [b"[2]", b"[3]"]


def fail_in_an_outage(store: Store) -> bytes:
    """The events of a try that fails. The next one is due at once."""
    found = claimed(store)
    weight = 1 if found.attempt == 1 else 0
    store.release(found, lease=MINUTE, backoff=NOW, reason=Reason.OUTAGE, weight=weight, pause=NOW)
    return found.array


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
    def test_lets_the_lease_begin_anew(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1)
        let_clock_be_known(store, client_of_server)
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
        client_of_server.xdel(store.keys.batches, found.stream_id)
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
    def test_puts_two_halves_in_its_place(self, store: Store) -> None:
        append(store, 1, [2, ","], "]", {"four": 4}, 5)
        found = claimed(store)
        split(store, found, deaths=2)
        assert facts(read_status(store)) == (5, 0, 2, len(found.array) + 1)
        left, right = claimed(store, "a"), claimed(store, "b")
        assert left.array == b'[1,[2, ","]]'
        assert right.array == b'["]",{"four": 4},5]'
        assert (left.count, right.count) == (2, 3)
        assert {(half.failures, half.deaths) for half in (left, right)} == {(0, 2)}
        assert facts(read_status(store)) == (0, 5, 2, len(left.array) + len(right.array))
        store.ack(left)
        store.ack(right)
        assert facts(read_status(store)) == (0, 0, 0, 0)

    def test_leaves_no_trace_of_the_whole(self, store: Store, client_of_server: Redis) -> None:
        append(store, 1, 2)
        found = claimed(store)
        fail(store, found)
        split(store, claimed(store))
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
            split(store, slow)
        assert dump(client_of_server, prefix) == before

    def test_again_changes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        append(store, 1, 2)
        found = claimed(store)
        split(store, found)
        before = dump(client_of_server, prefix)
        with pytest.raises(LeaseLost):
            split(store, found)
        assert dump(client_of_server, prefix) == before

    def test_empty_bucket(self, store: Store, client_of_server: Redis, prefix: str) -> None:
        with pytest.raises(LeaseLost):
            store.split(a_claim(), [(1, 2), (3, 4)], at=1)
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
            split(store, found)
        assert dump(client_of_server, prefix) == before

    def test_goes_on_on_a_full_server(self, private_server: Redis) -> None:
        store = Store("orders", configuration())
        append(store, 1, 2)
        found = claimed(store)
        private_server.config_set("maxmemory", 1)
        split(store, found)
        assert [claimed(store, name).array for name in "ab"] == [b"[1]", b"[2]"]


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
            partial(Store.split, spans=[(1, 2), (3, 4)], at=1),
            bury,
        ],
        ids=["ack", "release", "split", "bury"],
    )
    def test_is_held_no_more(
        self, store: Store, client_of_server: Redis, call: Callable[[Store, Claim], None]
    ) -> None:
        append(store, *range(6), batch_size=2)
        claims = [claimed(store, worker) for worker in "abc"]
        client_of_server.xdel(store.keys.batches, claims[0].stream_id)
        assert facts(read_status(store)) == (0, 4, 2, 10)
        with pytest.raises(LeaseLost):
            call(store, claims[0])
        assert facts(read_status(store)) == (0, 4, 2, 10)
        for held in claims[1:]:
            store.ack(held)
        assert facts(read_status(store)) == (0, 0, 0, 0)

    def test_that_was_released_hides_no_other_from_the_age(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, 2, batch_size=1)
        released = claimed(store)
        store.release(released, lease=MINUTE, backoff=MINUTE)
        client_of_server.xdel(store.keys.batches, released.stream_id)
        assert read_status(store).oldest is not None

    def test_in_whose_place_another_came_leaves_no_phantom(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, *range(10), batch_size=5)
        fields = {"events": "[1]", "count": 1, "opened": 1}
        client_of_server.xadd(store.keys.batches, fields)
        client_of_server.xtrim(store.keys.batches, maxlen=2, approximate=False)
        while found := claim(store):
            store.ack(found)
        assert facts(read_status(store)) == (0, 0, 0, 0)


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
