from django_jsonbuffer import Bucket
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.store.keys import registry_key
from django_jsonbuffer.store.patterns import Names
from django_jsonbuffer.store.registry import Workers, register
from tests.server import Redis, both_servers

pytestmark = both_servers


def living(worker: str, *serves: str) -> list[str]:
    return sorted(register(worker, Names(serves) if serves else None, configuration()))


def age(plain: Redis, worker: str, *, seconds: int) -> None:
    """Let a worker have registered so long ago."""
    key = registry_key(configuration().prefix)
    ms, _, serves = plain.hget(key, worker).decode().partition(" ")
    plain.hset(key, worker, f"{int(ms) - 1000 * seconds} {serves}")


def test_each_worker_learns_of_the_others() -> None:
    assert living("a", "orders") == ["a"]
    assert living("b", "orders", "tenant-*") == ["a", "b"]
    assert living("a", "orders") == ["a", "b"]


def test_worker_that_ends_is_forgotten() -> None:
    living("a", "orders")
    living("b", "orders")
    assert living("a") == ["b"]
    assert living("a") == ["b"]


def test_worker_that_was_not_heard_of_for_30_seconds_has_died(client_of_server: Redis) -> None:
    living("a", "orders")
    living("b", "orders")
    age(client_of_server, "a", seconds=29)
    assert living("b", "orders") == ["a", "b"]
    age(client_of_server, "a", seconds=1)
    assert Workers.read(configuration()).count("orders") == 1
    assert living("b", "orders") == ["b"]
    assert client_of_server.hkeys(registry_key(configuration().prefix)) == [b"b"]


def test_what_another_client_has_written_is_no_worker(client_of_server: Redis) -> None:
    client_of_server.hset(registry_key(configuration().prefix), "x", "rubbish")
    assert living("a", "orders") == ["a"]


def test_status_counts_the_workers_that_serve_the_bucket() -> None:
    living("a", "orders", "tenant-*")
    living("b", "tenant-7")
    names = ("orders", "tenant-7", "tenant-8", "views")
    assert [Bucket(name).status().workers for name in names] == [1, 2, 1, 0]


def test_status_of_a_bucket_counts_no_worker_twice() -> None:
    living("a", "orders")
    bucket = Bucket("orders")
    bucket.processor(lambda batch: None)
    with bucket.drain_steps(watch=True) as drain:
        drain.step()
        assert bucket.status().workers == 1


def test_registry_that_cannot_be_read_hides_no_status(client_of_server: Redis) -> None:
    client_of_server.set(registry_key(configuration().prefix), "of another type")
    assert Bucket("orders").status().workers == 0
