import json
from functools import partial

import pytest

from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BufferOutOfMemory, KeyOccupied
from django_jsonbuffer.store import pending
from django_jsonbuffer.store.coroutines import finish
from django_jsonbuffer.store.links import BLOCKING
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from tests.server import Redis, both_servers
from tests.store.steps import MINUTE, NOW, append, claim, claimed, dump, facts
from tests.threads import at_once

pytestmark = both_servers


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

    def test_counters_of_another_type_let_no_foreign_value_be_copied(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        client_of_server.set(store.keys.open, "rubbish")
        client_of_server.lpush(store.keys.stats, "foreign")
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


class TestCountLost:
    def test_adds_up(self, store: Store) -> None:
        finish(pending.count_lost(store, 3, BLOCKING))
        finish(pending.count_lost(store, 2**40, BLOCKING))
        assert read_status(store).lost == 3 + 2**40

    @pytest.mark.parametrize("spoilt", [b"many", b"9" * 30, b""])
    def test_total_that_was_spoilt_begins_again(
        self, store: Store, client_of_server: Redis, spoilt: bytes
    ) -> None:
        client_of_server.hset(store.keys.stats, "lost", spoilt)
        assert read_status(store).lost == 0
        finish(pending.count_lost(store, 3, BLOCKING))
        assert read_status(store).lost == 3

    def test_on_a_full_server_is_refused(self, private_server: Redis) -> None:
        store = Store("orders", configuration())
        private_server.config_set("maxmemory", 1)
        with pytest.raises(BufferOutOfMemory):
            finish(pending.count_lost(store, 1, BLOCKING))
        private_server.config_set("maxmemory", 0)
        assert read_status(store).lost == 0


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


class TestGlance:
    """Large values are cut on the server before they are shown."""

    def test_peek_is_cut_where_it_has_so_many_bytes(self, store: Store) -> None:
        append(store, "aaaa", "bbbb", batch_size=2)
        append(store, "cccc")
        assert pending.peek(store, 10) == [b'["aaaa", "bbbb"]'.replace(b" ", b""), b'["cccc"]']
        assert pending.peek(store, 10, most_bytes=10) == [b'["aaaa","b']
        assert pending.peek(store, 10, most_bytes=18) == [b'["aaaa","bbbb"]', b'["c']
        assert pending.peek(store, 10, most_bytes=15) == [b'["aaaa","bbbb"]']
