import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from django_jsonbuffer import Bucket, attendance
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.states import State, read_states
from django_jsonbuffer.store.keys import registry_key, shard_name
from django_jsonbuffer.store.patterns import Names
from django_jsonbuffer.store.registry import register
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import FACTORY, hung, node_with, url_of
from tests.prepared import keys_of, make_old, store_of
from tests.server import Redis
from tests.test_embedded_redis import client_of, wait_until

pytestmark = pytest.mark.usefixtures("nothing_declared")

MINUTE = timedelta(minutes=1)


def state(**options: Any) -> State:
    [one] = read_states([Bucket("orders", **options)])
    return one.state


def watch(worker: str = "worker", *serves: str) -> None:
    """Let a worker be registered, as one that watches is."""
    register(worker, Names(serves or ["orders"]), configuration())


def age_sample(plain: Redis, name: str, *, seconds: int) -> None:
    """Let the newest sample be so old."""
    key = keys_of(name).history
    _, _, figures = plain.lindex(key, -1).decode().partition(" ")
    plain.lset(key, -1, f"{int(time.time() * 1000) - 1000 * seconds} {figures}")


def age_worker(plain: Redis, name: str = "orders", *, seconds: int) -> None:
    """Let the worker of a bucket have died so long ago, right after a sample."""
    beat_ms = int(time.time() * 1000) - 1000 * seconds
    plain.hset(keys_of(name).workers, "worker", beat_ms)
    age_sample(plain, name, seconds=seconds)
    register("worker", None, configuration())


@pytest.fixture
def orders(nothing_declared: None, client_of_server: Redis) -> Bucket:
    """A bucket with a processor. Its oldest event has waited for five seconds."""
    bucket = Bucket("orders")
    bucket.processor(print)
    bucket.append(1)
    make_old(client_of_server, "orders", seconds=5)
    return bucket


@pytest.mark.usefixtures("orders")
class TestNobody:
    def test_is_noticed_as_soon_as_an_event_has_waited_longer_than_linger(self) -> None:
        assert state() == State.STALLED
        assert state(linger=timedelta(seconds=4)) == State.STALLED
        assert state(linger=MINUTE) == State.FLOWING
        assert state(linger=timedelta.max) == State.FLOWING

    def test_is_not_missed_in_a_bucket_of_other_clients_until_much_later(
        self, client_of_server: Redis
    ) -> None:
        assert state(batch_size=None) == State.FLOWING
        make_old(client_of_server, "orders", seconds=122)
        assert state(batch_size=None) == State.STALLED

    def test_is_there_if_all_workers_serve_other_buckets(self) -> None:
        watch("worker", "mails", "order", "tenant-*")
        assert state() == State.STALLED

    def test_is_there_if_the_clock_of_the_server_was_set_back(
        self, client_of_server: Redis
    ) -> None:
        """No event has waited at all by that clock."""
        make_old(client_of_server, "orders", seconds=-3600)
        assert state() == State.FLOWING


@pytest.mark.usefixtures("orders")
class TestWorker:
    def test_that_is_registered_attends_a_bucket_that_it_has_not_looked_at(self) -> None:
        watch("worker", "ord*")
        assert state() == State.FLOWING

    def test_that_signs_off_has_attended_it_for_a_while(self, client_of_server: Redis) -> None:
        watch()
        store = store_of("orders")
        store.beat("worker", lease=MINUTE)
        store.retire("worker", lease=MINUTE)
        register("worker", None, configuration())
        assert state() == State.FLOWING
        age_sample(client_of_server, "orders", seconds=125)
        assert state() == State.FLOWING
        age_sample(client_of_server, "orders", seconds=135)
        assert state() == State.STALLED
        assert state(behind_after=timedelta(minutes=5)) == State.FLOWING

    def test_that_was_killed_is_missed_after_half_a_minute(self, client_of_server: Redis) -> None:
        watch()
        store_of("orders").beat("worker", lease=MINUTE)
        age_worker(client_of_server, seconds=29)
        assert state() == State.FLOWING
        age_worker(client_of_server, seconds=31)
        assert state() == State.STALLED
        watch("another")
        assert state() == State.FLOWING

    def test_that_was_killed_is_missed_though_others_serve_other_buckets(
        self, client_of_server: Redis
    ) -> None:
        """They take it out of the registry."""
        store_of("orders").beat("worker", lease=MINUTE)
        age_worker(client_of_server, seconds=40)
        watch("another", "mails")
        assert state() == State.STALLED

    def test_that_was_killed_is_not_missed_while_cron_runs(self, client_of_server: Redis) -> None:
        store_of("orders").beat("worker", lease=MINUTE)
        age_worker(client_of_server, seconds=600)
        assert state() == State.STALLED
        Bucket("orders").drain()
        Bucket("orders").append(1)
        make_old(client_of_server, "orders", seconds=5)
        assert state() == State.FLOWING
        age_sample(client_of_server, "orders", seconds=100)
        assert state() == State.FLOWING

    def test_that_was_killed_with_a_batch_is_missed_as_early(self, client_of_server: Redis) -> None:
        store_of("orders").claim("worker", lease=MINUTE, linger=timedelta(0), beats=True)
        age_worker(client_of_server, seconds=29)
        assert state() == State.FLOWING
        age_worker(client_of_server, seconds=31)
        assert state() == State.STALLED

    def test_that_was_killed_in_any_shard_is_missed(self, client_of_server: Redis) -> None:
        Bucket("orders", shards=3).append(2)
        name = shard_name("orders", 2)
        store_of(name).beat("worker", lease=MINUTE)
        assert state(shards=3) == State.FLOWING
        age_worker(client_of_server, name, seconds=40)
        assert state(shards=3) == State.STALLED


class TestCron:
    """Runs without ``--watch``."""

    @pytest.mark.parametrize("skip_busy", [False, True])
    def test_attends_a_bucket_that_it_found_empty(
        self, client_of_server: Redis, skip_busy: bool
    ) -> None:
        orders = Bucket("orders")
        orders.processor(print)
        orders.append(0)
        orders.drain()
        client_of_server.delete(keys_of("orders").history)
        with orders.drain_steps(skip_busy=skip_busy) as drain:
            assert not drain.step()
        assert orders.status().workers == 0
        orders.append(1)
        make_old(client_of_server, "orders", seconds=50)
        assert state() == State.FLOWING
        age_sample(client_of_server, "orders", seconds=135)
        assert state() == State.STALLED

    def test_leaves_nothing_in_a_bucket_that_was_never_used(self, client_of_server: Redis) -> None:
        """Otherwise, each declared bucket would have keys after a run."""
        Bucket("orders").processor(print)
        Bucket("orders").drain()
        assert client_of_server.keys(f"{keys_of('orders').open}*") == []


class TestRegistry:
    def test_is_read_only_if_a_bucket_may_be_deserted(
        self, monkeypatch: pytest.MonkeyPatch, client_of_server: Redis
    ) -> None:
        monkeypatch.delattr(attendance, "read_last_heard")
        Bucket("orders").append(1)
        assert state(linger=MINUTE) == State.FLOWING
        make_old(client_of_server, "orders")
        Bucket("orders").pause()
        assert state() == State.PAUSED
        Bucket("orders").resume()
        watch()
        assert state() == State.BEHIND

    @pytest.mark.usefixtures("orders")
    def test_that_cannot_be_read_lets_nobody_be_missed_early(self, client_of_server: Redis) -> None:
        client_of_server.set(registry_key(configuration().prefix), "of another type")
        assert state() == State.FLOWING
        make_old(client_of_server, "orders", seconds=122)
        assert state() == State.STALLED

    @pytest.mark.usefixtures("orders")
    @pytest.mark.parametrize("rubbish", ["rubbish", "", "9" * 30, "-1", "1 2"])
    def test_of_rubbish_is_no_worker(self, client_of_server: Redis, rubbish: str) -> None:
        Bucket("orders").drain()
        Bucket("orders").append(1)
        make_old(client_of_server, "orders", seconds=5)
        client_of_server.hset(keys_of("orders").workers, "theirs", rubbish)
        client_of_server.hset(registry_key(configuration().prefix), "theirs", rubbish)
        assert state() == State.FLOWING


@pytest.fixture
def in_cluster(
    nodes: list[EmbeddedRedis], nodes_come_back: None, use_cache: Callable[..., str]
) -> list[EmbeddedRedis]:
    options = {"CONNECTION_FACTORY": FACTORY, "SOCKET_TIMEOUT": 0.5}
    use_cache([url_of(node) for node in nodes], OPTIONS=options)
    return nodes


class TestCluster:
    def test_misses_a_worker_that_was_killed(self, in_cluster: list[EmbeddedRedis]) -> None:
        Bucket("orders").append(1)
        store_of("orders").beat("worker", lease=MINUTE)
        with client_of(node_with(Bucket("orders").key, in_cluster)) as plain:
            make_old(plain, "orders", seconds=5)
            age_worker(plain, seconds=29)
            assert state() == State.FLOWING
            age_worker(plain, seconds=31)
            assert state() == State.STALLED

    def test_misses_nobody_early_if_the_node_with_the_registry_hangs(
        self, in_cluster: list[EmbeddedRedis]
    ) -> None:
        node = node_with(registry_key(configuration().prefix), in_cluster)
        names = (f"b{number}" for number in range(100))
        name = next(name for name in names if node_with(Bucket(name).key, in_cluster) is not node)
        Bucket(name).append(1)
        bucket = Bucket(name, linger=timedelta(0))
        wait_until(lambda: read_states([bucket])[0].state == State.STALLED)
        with hung(node):
            assert read_states([bucket])[0].state == State.FLOWING
