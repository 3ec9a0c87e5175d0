import asyncio
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import call_command
from pytest_django import Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.contrib.cluster import ClusterConnectionFactory
from django_jsonbuffer.exceptions import BufferMisconfigured, BufferUnavailable
from django_jsonbuffer.store.clients import clients
from django_jsonbuffer.store.redis_lazy_cluster import LazyCluster
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import FACTORY, names_on, url_of
from tests.test_embedded_redis import client_of
from tests.threads import at_once

OPTIONS = {"CONNECTION_FACTORY": FACTORY, "SOCKET_TIMEOUT": 5, "SOCKET_CONNECT_TIMEOUT": 5}
NOBODY = "redis://127.0.0.1:1"

UseCache = Callable[..., str]


@pytest.fixture(scope="module")
def nodes(nodes: list[EmbeddedRedis]) -> list[EmbeddedRedis]:
    for node in nodes:
        with client_of(node) as plain:
            plain.execute_command("ACL", "SETUSER", "site", "on", ">s3cret", "~*", "+@all")
    return nodes


@pytest.fixture
def names(nodes: list[EmbeddedRedis]) -> list[str]:
    """The name of a bucket on each node."""
    return [name for [name] in names_on(nodes)]


@pytest.fixture
def closing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made: dict[object, LazyCluster] = {}
    monkeypatch.setattr(ClusterConnectionFactory, "_clients", made)
    yield
    for client in made.values():
        client.close()


pytestmark = pytest.mark.usefixtures("closing")


def round_trip(names: list[str]) -> None:
    """Append to each bucket in each way, and take the events."""
    for name in names:
        Bucket(name).append("sync")

    async def main() -> None:
        await asyncio.gather(*(Bucket(name).aappend("async") for name in names))

    asyncio.run(main())
    assert [Bucket(name).take() for name in names] == [["sync", "async"]] * len(names)


def test_appends_and_drains(
    nodes: list[EmbeddedRedis], names: list[str], use_cache: UseCache
) -> None:
    use_cache(url_of(nodes[0]), OPTIONS=OPTIONS)
    round_trip(names)
    drained: list[Any] = []
    for name in names:
        bucket = Bucket(name)
        bucket.processor(drained.extend)
        bucket.extend([1, 2])
        assert bucket.status().pending == 2
        bucket.drain()
    assert drained == [1, 2] * 3


def test_methods_of_the_cache(nodes: list[EmbeddedRedis], use_cache: UseCache) -> None:
    cache: Any = caches[use_cache(url_of(nodes[0]), OPTIONS=OPTIONS)]
    for number in range(20):
        cache.set(f"key-{number}", {"number": number}, timeout=100)
    assert [cache.get(f"key-{number}") for number in range(20)] == [
        {"number": number} for number in range(20)
    ]
    cache.set("count", 1)
    assert cache.incr("count") == 2
    assert not cache.add("count", 5)
    assert 0 < cache.ttl("key-1") <= 100
    assert cache.delete("key-1")
    assert cache.get("key-1") is None
    with cache.lock("lock", timeout=5):
        assert cache.has_key("lock")
    cache.clear()
    assert cache.get("key-2") is None


def test_all_aliases_and_threads_have_one_client(
    nodes: list[EmbeddedRedis], use_cache: UseCache
) -> None:
    url = url_of(nodes[0])
    found: set[int] = set()
    one, other = (use_cache(url, OPTIONS=OPTIONS) for _ in range(2))

    def use() -> None:
        found.update(id(clients[alias]) for alias in (one, other))

    at_once([use] * 4)
    assert len(found) == 1
    third = use_cache(url, OPTIONS={**OPTIONS, "SOCKET_TIMEOUT": 6})
    assert id(clients[third]) not in found


@pytest.mark.parametrize("as_list", [True, False])
def test_location_may_list_several_nodes(
    nodes: list[EmbeddedRedis], names: list[str], use_cache: UseCache, as_list: bool
) -> None:
    urls = [NOBODY, url_of(nodes[1])]
    alias = use_cache(urls if as_list else ",".join(urls), OPTIONS=OPTIONS)
    round_trip(names)
    caches[alias].set("key", 1)
    assert caches[alias].get("key") == 1
    assert len(ClusterConnectionFactory._clients) == 1


@pytest.mark.parametrize("in_url", [True, False])
def test_user_and_password(
    nodes: list[EmbeddedRedis], names: list[str], use_cache: UseCache, in_url: bool
) -> None:
    login = {"USERNAME": "site", "PASSWORD": "s3cret"}
    url = url_of(nodes[0]).replace("//", "//site:s3cret@" if in_url else "//")
    alias = use_cache(url, OPTIONS=OPTIONS if in_url else OPTIONS | login)
    round_trip(names)
    client: Any = clients[alias]
    assert client.acl_whoami(target_nodes="random") in ("site", b"site")


def test_options_of_the_client_and_of_its_pools(
    nodes: list[EmbeddedRedis], names: list[str], use_cache: UseCache
) -> None:
    more = {
        "CONNECTION_POOL_CLASS": "redis.BlockingConnectionPool",
        "CONNECTION_POOL_KWARGS": {"max_connections": 3, "timeout": 1},
        "REDIS_CLIENT_KWARGS": {"require_full_coverage": False},
    }
    alias = use_cache(url_of(nodes[0]), OPTIONS=OPTIONS | more)
    round_trip(names)
    client: Any = clients[alias]
    pools = [node.redis_connection.connection_pool for node in client.get_nodes()]
    assert {type(pool).__name__ for pool in pools} == {"BlockingConnectionPool"}
    assert {pool.max_connections for pool in pools} == {3}
    assert not client.nodes_manager._require_full_coverage


def test_setting_for_all_caches(
    nodes: list[EmbeddedRedis], names: list[str], use_cache: UseCache, settings: Settings
) -> None:
    settings.DJANGO_REDIS_CONNECTION_FACTORY = FACTORY
    use_cache(url_of(nodes[0]), OPTIONS={})
    round_trip(names)


def test_forked_child_has_its_own_connections(
    nodes: list[EmbeddedRedis], names: list[str], use_cache: UseCache
) -> None:
    use_cache(url_of(nodes[0]), OPTIONS=OPTIONS)
    bucket = Bucket(names[0])
    bucket.append("parent")
    if (child := os.fork()) == 0:
        try:
            for number in range(50):
                bucket.append(number)
        finally:
            os._exit(0)
    for number in range(50):
        bucket.append(number)
    os.waitpid(child, 0)
    found = bucket.take()
    assert found[0] == "parent"
    assert sorted(found[1:]) == sorted([*range(50)] * 2)


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("location", [NOBODY, [NOBODY, f"{NOBODY}1"]])
def test_plain_check_does_not_connect(use_cache: UseCache, location: Any) -> None:
    alias = use_cache(location, OPTIONS=OPTIONS)
    call_command("check", stdout=StringIO())
    assert not vars(clients[alias])["_is_connected"]


def test_cluster_that_is_away(use_cache: UseCache) -> None:
    use_cache([NOBODY, "redis://127.0.0.1:2"], OPTIONS=OPTIONS)
    bucket = Bucket("orders", append_timeout=timedelta(seconds=0.1))
    with pytest.raises(BufferUnavailable, match=r"cannot be reached.*Connection refused") as caught:
        bucket.append(1)
    assert caught.value.is_unreachable
    assert not caught.value.may_be_done
    with pytest.raises(BufferUnavailable, match="a moment ago"):
        bucket.append(1)
    with pytest.raises(BufferUnavailable, match="cannot be reached"):
        bucket.status()


@pytest.mark.parametrize(
    ("location", "message"),
    [
        (f"{NOBODY}/1", "has only database 0"),
        ([NOBODY, f"{NOBODY}/1"], "has only database 0"),
        ("unix:///tmp/redis.sock", "no unix socket"),
        ("redis://:pass/word@127.0.0.1:1", "not the URL"),
        (f"{NOBODY}?sokcet_timeout=1", "does not know: 'sokcet_timeout'"),
    ],
)
def test_mistake_in_the_location(use_cache: UseCache, location: Any, message: str) -> None:
    use_cache(location, OPTIONS=OPTIONS)
    with pytest.raises(BufferMisconfigured, match=message) as caught:
        Bucket("orders").append(1)
    assert "pass/word" not in str(caught.value)


def test_node_without_the_factory_is_an_error_that_names_it(
    nodes: list[EmbeddedRedis], names: list[str], use_cache: UseCache
) -> None:
    use_cache(url_of(nodes[0]))
    bucket = Bucket(names[1])
    for call in (lambda: bucket.append(1), bucket.status, bucket.take):
        with pytest.raises(BufferUnavailable, match=FACTORY):
            call()
