import time
from functools import partial

import pytest

from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store.history import Sample, histories
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from tests.server import Redis, both_servers, real_server
from tests.store.steps import MINUTE, append, claimed
from tests.threads import at_once

pytestmark = both_servers


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
            store.beat(consumer, lease=MINUTE)
        [sample] = history(store)
        assert abs(sample.at.timestamp() - time.time()) < 60
        assert sample[1:] == (1, 0, 3, 2)
        client_of_server.lset(store.keys.history, 0, f"{int(time.time() * 1000) - 60_000} 1 0 3 2")
        store.beat("one", lease=MINUTE)
        assert len(history(store)) == 2

    def test_takes_one_sample_among_many_workers(self, store: Store) -> None:
        at_once(partial(store.beat, f"worker-{n}", lease=MINUTE) for n in range(20))
        assert len(history(store)) == 1

    def test_is_some_hours_long(self, store: Store, client_of_server: Redis) -> None:
        sample = "1 123456 0 123456789 123456789"
        client_of_server.rpush(store.keys.history, *[sample] * 300)
        store.beat("one", lease=MINUTE)
        assert client_of_server.llen(store.keys.history) == 240

    @real_server
    def test_is_small(self, store: Store, client_of_server: Redis) -> None:
        now_ms = int(time.time() * 1000)
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
        store.beat("one", lease=MINUTE)
        assert len(history(store)) == 1

    def test_of_a_clock_that_was_set_back_goes_on(
        self, store: Store, client_of_server: Redis
    ) -> None:
        client_of_server.rpush(store.keys.history, f"{int(time.time() * 1000) + 3_600_000} 1 0 1 1")
        store.beat("one", lease=MINUTE)
        assert len(history(store)) == 2

    def test_is_worth_no_heartbeat(self, store: Store, client_of_server: Redis) -> None:
        for key in (store.keys.history, store.keys.open, store.keys.stats):
            client_of_server.delete(key, store.keys.workers)
            client_of_server.sadd(key, "theirs")
            store.beat("one", lease=MINUTE)
            assert client_of_server.hexists(store.keys.workers, "one")
            client_of_server.delete(key)

    def test_of_another_type_is_none(self, store: Store, client_of_server: Redis) -> None:
        client_of_server.set(store.keys.history, "theirs")
        assert histories(["orders", "other"], configuration()) == [[], []]

    def test_is_taken_on_a_full_server(self, private_server: Redis) -> None:
        store = Store("orders", configuration())
        private_server.config_set("maxmemory", 1)
        store.beat("one", lease=MINUTE)
        assert len(history(store)) == 1

    def test_of_a_server_that_is_away(self, unreachable: str) -> None:
        with pytest.raises(BufferUnavailable):
            histories(["orders"], configuration())
