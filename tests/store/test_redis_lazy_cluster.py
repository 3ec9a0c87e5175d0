"""Real use of what a cluster client that connects later relies on. See redis_lazy_cluster."""

from typing import Any

import pytest
import redis

from django_jsonbuffer.store.redis_internals import NoStartNode, decodes, has_timeout, pool_size
from django_jsonbuffer.store.redis_lazy_cluster import LazyCluster
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import url_of
from tests.test_embedded_redis import client_of
from tests.threads import at_once

NOBODY = "redis://127.0.0.1:1"


def test_connects_at_its_first_command(nodes: list[EmbeddedRedis]) -> None:
    with client_of(nodes[0]) as plain:
        before = plain.info("stats")["total_connections_received"]
        client: Any = LazyCluster(url=url_of(nodes[0]), socket_timeout=5, max_connections=7)
        assert (has_timeout(client), decodes(client), pool_size(client)) == (True, False, 7)
        assert client.connection_pool is None
        assert plain.info("stats")["total_connections_received"] == before
        assert client.set("key", "value")
        assert plain.info("stats")["total_connections_received"] > before
    assert (has_timeout(client), decodes(client), pool_size(client)) == (True, False, 7)
    client.close()


def test_connects_once_for_all_threads(nodes: list[EmbeddedRedis]) -> None:
    client = LazyCluster(url=url_of(nodes[0]))
    managers: list[object] = []

    def use() -> None:
        assert client.set("key", "value")
        managers.append(client.nodes_manager)

    at_once([use] * 8)
    assert len({id(manager) for manager in managers}) == 1
    client.close()


def test_wrong_password_is_an_error(nodes: list[EmbeddedRedis]) -> None:
    client = LazyCluster(url=url_of(nodes[0]), username="nobody", password="wrong")
    with pytest.raises(redis.AuthenticationError):
        client.get("key")


def test_connects_after_a_failure(nodes: list[EmbeddedRedis]) -> None:
    client = LazyCluster(url=NOBODY)
    for _ in range(2):
        with pytest.raises(NoStartNode, match="Connection refused"):
            client.get("key")
    client._own_options["start_urls"] = [url_of(nodes[0])]
    client.set("key", "value")
    assert client.get("key") == b"value"
    client.close()


def test_server_that_is_no_cluster_is_an_error() -> None:
    with EmbeddedRedis("--port", "0") as plain:
        client = LazyCluster(url=plain.url)
        with pytest.raises(redis.exceptions.RedisClusterException):
            client.get("key")


def test_is_closed_without_a_connection() -> None:
    client = LazyCluster(url=NOBODY)
    client.close()
    del client


def test_attribute_that_does_not_exist(nodes: list[EmbeddedRedis]) -> None:
    client = LazyCluster(url=url_of(nodes[0]))
    for name in ("nonsense", "__nonsense__"):
        with pytest.raises(AttributeError, match=name):
            getattr(client, name)
    client.close()


@pytest.mark.parametrize("url", [NOBODY, f"{NOBODY}?sokcet_timeout=5"])
def test_unknown_option_is_an_error(url: str) -> None:
    options = {} if "?" in url else {"sokcet_timeout": 5}
    with pytest.raises(TypeError, match="sokcet_timeout"):
        LazyCluster(url=url, **options)


def test_options_of_a_url_come_first() -> None:
    client = LazyCluster(url=f"{NOBODY}?socket_timeout=7", socket_timeout=5, retry=None)
    assert client.get_connection_kwargs() == {"socket_timeout": 7}
