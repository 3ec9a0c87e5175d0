import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from django_jsonbuffer import Bucket, catalog
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.draining.presence import new_worker_name
from django_jsonbuffer.exceptions import KeyOccupied
from django_jsonbuffer.store.keys import registry_key
from django_jsonbuffer.store.patterns import Names
from django_jsonbuffer.store.registry import register
from django_jsonbuffer.store.store import Store
from django_jsonbuffer.store.workers import Worker, workers
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import FACTORY, url_of
from tests.server import Redis, both_servers
from tests.store.steps import MINUTE, NOW, append, claimed, commands_of, fail

pytestmark = both_servers


def watch(worker: str, *serves: str) -> None:
    register(worker, Names(serves), configuration())


def of(*names: str) -> list[Worker]:
    return workers(names, configuration())


def test_without_any_worker() -> None:
    assert of() == []
    assert of("orders", "views") == []


def test_registered_ones_say_what_they_serve() -> None:
    watch("web1:7:ab12", "*")
    watch("web2:8:cd34", "orders", "tenant-*")
    one, other = of()
    assert (one.name, one.machine, one.process_id) == ("web1:7", "web1", 7)
    assert (one.serves, one.serves_all, one.holds) == (1, True, [])
    assert (other.name, other.serves, other.serves_all) == ("web2:8", 2, False)
    assert one.heard is not None
    assert NOW <= one.heard < MINUTE


def test_one_process_with_several_names_is_one(store: Store) -> None:
    watch("web1:7:ab12", "orders")
    views = Store("views", configuration(), 3)
    append(store, 1, 2, batch_size=1)
    append(views, 3)
    first = claimed(store, "web1:7:0001")
    time.sleep(0.005)
    second = claimed(views, "web1:7:0002")
    third = claimed(store, "web1:70:0003")
    one, other = workers(["orders", "views"], configuration(), {"views": 4})
    assert [(bucket, batch.batch) for bucket, batch in one.holds] == [
        ("orders", first.id),
        ("views", second.id),
    ]
    assert (other.name, [batch.batch for _, batch in other.holds]) == ("web1:70", [third.id])
    assert (other.serves, other.heard) == (None, None)


def test_one_off_drain_is_there_while_it_holds_a_batch(store: Store) -> None:
    append(store, 1)
    store.beat("cron:9:ab", lease=MINUTE)
    assert of("orders") == []
    held = claimed(store, "cron:9:ab")
    [worker] = of("orders")
    assert worker.heard is not None
    assert of("views") == []
    store.ack(held)
    assert of("orders") == []


def test_released_batches_have_no_worker(store: Store) -> None:
    append(store, *range(150), batch_size=1)
    for _ in range(149):
        fail(store, claimed(store, "web1:7:ab"), backoff=MINUTE)
    last = claimed(store, "web1:7:ab")
    [worker] = of("orders")
    assert [batch.batch for _, batch in worker.holds] == [last.id]


def test_dead_one_was_not_heard_of_for_long(store: Store, client_of_server: Redis) -> None:
    append(store, 1)
    store.beat("web1:7:ab", lease=MINUTE)
    claimed(store, "web1:7:ab")
    hour_ago = int(time.time() * 1000) - 3_600_000
    client_of_server.hset(store.keys.workers, "web1:7:ab", hour_ago)
    [worker] = of("orders")
    assert worker.heard is not None
    assert worker.heard >= timedelta(minutes=59)


@pytest.mark.parametrize("name", ["x", "a:b", "web1:7", ":7:ab", "\ufffd"])
def test_worker_of_another_kind_has_its_name(store: Store, name: str) -> None:
    append(store, 1)
    claimed(store, name)
    [worker] = of("orders")
    assert worker.name == name


def test_own_names_are_understood() -> None:
    watch(new_worker_name(), "orders")
    [worker] = of()
    assert worker.machine
    assert worker.process_id


def test_what_another_client_has_written_is_left_out(store: Store, client_of_server: Redis) -> None:
    key = registry_key(configuration().prefix)
    client_of_server.hset(key, mapping={"x": "rubbish", "y": f"{'9' * 20} orders", b"\xff": "1 a"})
    append(store, 1)
    claimed(store, "web1:7:ab")
    client_of_server.set(Store("views", configuration()).keys.batches, "theirs")
    assert [worker.name for worker in of("views", "orders")] == ["web1:7", "\ufffd"]


def test_registry_that_cannot_be_read_is_an_error(store: Store, client_of_server: Redis) -> None:
    """Otherwise, the workers that nobody can see would count as gone."""
    client_of_server.set(registry_key(configuration().prefix), "theirs")
    with pytest.raises(KeyOccupied):
        of("orders")


def test_are_those_of_all_nodes_of_a_cluster(
    nodes: list[EmbeddedRedis], use_cache: Callable[..., str]
) -> None:
    use_cache([url_of(node) for node in nodes], OPTIONS={"CONNECTION_FACTORY": FACTORY})
    watch("web1:7:ab12", "tenant-*")
    buckets = [Bucket(f"tenant-{number}") for number in range(9)]
    for bucket in buckets:
        append(Store(bucket.name, configuration()), 1)
        claimed(Store(bucket.name, configuration()), "web1:7:0001")
    [worker] = catalog.workers(buckets)
    assert {name for name, _ in worker.holds} == {bucket.name for bucket in buckets}


def test_takes_one_round_trip(private_server: Redis) -> None:
    buckets = [Bucket(f"tenant-{number}") for number in range(20)]
    for bucket in buckets:
        append(Store(bucket.name, configuration()), 1)
        claimed(Store(bucket.name, configuration()), "web1:7:ab")
    assert [len(worker.holds) for worker in catalog.workers(buckets)] == [20]
    ran = commands_of(private_server, lambda: catalog.workers(buckets))
    assert {name: ran.get(name) for name in ("evalsha", "smembers", "time")} == {
        "evalsha": 20,
        "smembers": 1,
        "time": 21,
    }
    assert catalog.workers() == []
