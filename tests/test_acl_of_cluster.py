"""The user that `redis_acl --cluster` prints, on a real cluster."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import StringIO

import pytest
import redis
from django.core.management import call_command
from redis.exceptions import RedisError

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.acl import OF_CLUSTER
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.contrib.cluster import ClusterConnectionFactory
from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.store.clients import clients
from django_jsonbuffer.store.keys import catalog_key, registry_key
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import FACTORY, cluster, migrating, names_on, node_with, owner_first, url_of
from tests.prepared import keys_of
from tests.server import Redis
from tests.test_acl import WORK, printed
from tests.test_embedded_redis import client_of

OPTIONS = {"CONNECTION_FACTORY": FACTORY, "USERNAME": "app", "PASSWORD": "s3cret"}


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[EmbeddedRedis]]:
    with cluster(nodes=2) as nodes:
        yield nodes


@pytest.fixture
def plain(nodes: list[EmbeddedRedis]) -> Iterator[Redis]:
    with redis.RedisCluster.from_url(url_of(nodes[0])) as plain:
        yield plain
        plain.flushall()


Become = Callable[..., None]


@pytest.fixture
def become(
    nodes: list[EmbeddedRedis], use_cache: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Become]:
    """Creates the user of the printed command, and lets the buffer connect as that user."""
    monkeypatch.setattr(ClusterConnectionFactory, "_clients", {})

    def become(*args: str, without: str = "") -> None:
        command = printed(*args, "--cluster", "--user", "app").replace("PASSWORD", "s3cret")
        for node in nodes:
            with client_of(node) as plain:
                plain.execute_command(*command.split(), *([f"-{without}"] if without else []))
        use_cache(url_of(nodes[0]), OPTIONS=OPTIONS)

    yield become
    with suppress(JSONBufferError):
        clients[configuration().cache].close()


def follow_the_catalog(nodes: list[EmbeddedRedis], become: Become, **options: str) -> None:
    """Append while the slot of the catalog moves to another node, and afterwards."""
    become("producer", **options)
    key = catalog_key(configuration().prefix)
    Bucket("one").append(1)
    with migrating(key, *owner_first(key, nodes)) as move_key:
        move_key(key)
        Bucket("two").append(1)
    Bucket("three").append(1)
    with redis.RedisCluster.from_url(url_of(nodes[0])) as plain:
        assert plain.scard(key) == 3


@pytest.fixture
def catalog_on_first(nodes: list[EmbeddedRedis], configure: Callable[..., None]) -> None:
    """Slots move in one direction only. Otherwise the nodes do not agree who has them."""
    prefix = configuration().prefix
    number = 0
    while node_with(catalog_key(f"{prefix}-{number}"), nodes) is not nodes[0]:
        number += 1
    configure(PREFIX=f"{prefix}-{number}")


@pytest.mark.parametrize("role", WORK)
def test_may_do_its_work(
    nodes: list[EmbeddedRedis], plain: Redis, become: Become, role: str
) -> None:
    become(role)
    WORK[role](plain)


@pytest.mark.usefixtures("catalog_on_first")
class TestProducer:
    def test_follows_a_slot(self, nodes: list[EmbeddedRedis], become: Become) -> None:
        follow_the_catalog(nodes, become)

    @pytest.mark.parametrize("rule", OF_CLUSTER)
    def test_needs_each_rule(self, nodes: list[EmbeddedRedis], become: Become, rule: str) -> None:
        with pytest.raises((JSONBufferError, RedisError)):
            follow_the_catalog(nodes, become, without=rule[1:])


@pytest.mark.django_db(transaction=True)  # the worker closes old connections
@pytest.mark.usefixtures("nothing_declared")
def test_drainer_may_watch_buckets_of_all_nodes(
    nodes: list[EmbeddedRedis],
    plain: Redis,
    become: Become,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is woken long before it looks by itself, and shows that it lives."""
    become("drainer")
    names = [name for [name] in names_on(nodes)]
    processed: list[tuple[str, int, int]] = []
    appended_at: list[float] = []
    waits_seconds: list[float] = []

    def process(batch: Batch) -> None:
        waits_seconds.append(time.monotonic() - appended_at[-1])
        beats = plain.hgetall(keys_of(batch.bucket).workers)
        living = plain.hgetall(registry_key(configuration().prefix))
        processed.append((batch.bucket, len(beats), len(living)))
        if len(processed) < 2 * len(names):
            threading.Timer(1, append).start()

    def append() -> None:
        appended_at.append(time.monotonic())
        Bucket(names[len(processed) % len(names)]).append(1)

    for name in names:
        Bucket(name).processor(process)
    threading.Timer(1, append).start()
    err = StringIO()
    options = {"interval": 60.0, "max_batches": 2 * len(names), "max_seconds": 30.0}
    call_command("drain_buckets", *names, watch=True, verbosity=0, stderr=err, **options)
    assert processed == [(name, 1, 1) for name in names] * 2
    assert max(waits_seconds) < 4  # of which an open batch lingers for one
    assert not any(plain.exists(keys_of(name).workers) for name in names)
    assert err.getvalue() == ""
    assert caplog.records == []
