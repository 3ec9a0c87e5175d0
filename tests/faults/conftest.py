from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from django_jsonbuffer.store import redis_cluster
from django_jsonbuffer.store.clients import clients
from django_jsonbuffer.store.redis_connections import close_idle
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import cluster
from tests.faults.clients import OPTIONS
from tests.faults.proxy import Proxy
from tests.faults.scale import IS_FULL
from tests.faults.sites import Start, site
from tests.server import Redis
from tests.test_embedded_redis import client_of, wait_until

_FULL_ONLY = [
    *("test_clock.py", "test_database.py", "test_failing.py", "test_posting.py"),
    *("test_cluster_failover.py", "test_power_cuts.py"),
]

collect_ignore = [] if IS_FULL else _FULL_ONLY


class Proxied(NamedTuple):
    """A server that the buffer uses through a proxy."""

    client: str
    """Kind of the buffer's client: a key of OPTIONS."""
    proxy: Proxy
    plain: Redis
    """A client that connects to the server directly."""


@pytest.fixture
def timeout_seconds() -> float:
    """Timeout of the buffer's client. Test classes that lose replies have a shorter one."""
    return 5


@pytest.fixture(params=OPTIONS)
def proxied(
    request: pytest.FixtureRequest,
    use_cache: Callable[..., str],
    timeout_seconds: float,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Proxied]:
    """One for each kind of client."""
    # A thread would look for another owner for six seconds, and the only node remains the owner.
    monkeypatch.setattr(redis_cluster, "_PAUSES_SECONDS", (0, 0.1))
    is_cluster = request.param == "RedisCluster"
    embedded = request.getfixturevalue("cluster_node" if is_cluster else "embedded")
    with Proxy(embedded.url) as proxy, client_of(embedded) as plain:
        if is_cluster:
            plain.config_set("cluster-announce-port", proxy.port)
        alias = use_cache(
            f"redis://127.0.0.1:{proxy.port}?socket_timeout={timeout_seconds}",
            OPTIONS=OPTIONS[request.param],
        )
        yield Proxied(request.param, proxy, plain)
        client = clients[alias]
        wait_until(lambda: not redis_cluster._lost)  # a thread may connect to the proxy
        close_idle(client)
        client.close()


@pytest.fixture
def start(tmp_path: Path, use_cache: Callable[..., str]) -> Start:
    """Starts the server of a site in a faked time."""
    return partial(site, tmp_path, use_cache)


@pytest.fixture
def embedded() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as embedded:
        yield embedded


@pytest.fixture(scope="session")
def cluster_node() -> Iterator[EmbeddedRedis]:
    """A cluster of one node. One for all tests, since it takes two seconds to start."""
    with cluster() as [node]:
        yield node
