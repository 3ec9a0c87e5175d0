"""The settings of a synchronous client, for the asyncio side of redis-py.

``tests/store/test_asyncio_twins.py`` has a test for each part of redis-py that this relies on.
"""

import inspect
from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from itertools import chain
from typing import Any, Final

import redis._parsers as parsers
import redis.asyncio as aio
from redis import RedisCluster, connection, retry, sentinel
from redis.asyncio import retry as aio_retry
from redis.asyncio import sentinel as aio_sentinel

from .redis_asyncio import AsyncClient, AsyncCluster
from .redis_lazy_cluster import LazyCluster

_TWINS: Final[Mapping[Any, Any]] = {
    connection.ConnectionPool: aio.ConnectionPool,
    connection.BlockingConnectionPool: aio.BlockingConnectionPool,
    sentinel.SentinelConnectionPool: aio_sentinel.SentinelConnectionPool,
    connection.Connection: aio.Connection,
    connection.SSLConnection: aio.SSLConnection,
    connection.UnixDomainSocketConnection: aio.UnixDomainSocketConnection,
    sentinel.SentinelManagedConnection: aio_sentinel.SentinelManagedConnection,
    sentinel.SentinelManagedSSLConnection: aio_sentinel.SentinelManagedSSLConnection,
    parsers._HiredisParser: parsers._AsyncHiredisParser,
    parsers._RESP2Parser: parsers._AsyncRESP2Parser,
    parsers._RESP3Parser: parsers._AsyncRESP3Parser,
}
"""The class on the asyncio side for each class of redis-py. A class of a project has none."""

_SET_BY_REDIS_PY: Final = {
    *("connection_pool", "event_dispatcher", "himport_registry", "maintenance_state"),
    *("maint_notifications_pool_handler", "oss_cluster_maint_notifications_handler"),
    *("maintenance_notification_hash", "orig_host_address"),
    *("orig_socket_timeout", "orig_socket_connect_timeout"),
}
"""Options that a pool or a cluster client adds itself. The other side adds its own."""

_ONLY_HINTS: Final = {"maint_notifications_config"}
"""Options that change no command. Before redis-py 8.0, the asyncio side does not know them."""


_OF_CLUSTER: Final = "redis_connect_func"
"""The option by which a cluster client sets up a connection to a node. It sends ``READONLY`` if the
client reads from replicas, which no call of this app does."""


class _NoTwin(Exception):
    """The asyncio side of redis-py cannot do what a client does."""


def asyncio_twin(client: Any) -> AsyncClient | None:
    """A client for one event loop, with the settings of a synchronous client.

    None if the asyncio side of redis-py has no counterpart: for a class of the project's own, for
    ``redis_connect_func``, and for an option that the asyncio side does not know.

    Relies on the attributes of a pool, a ``Sentinel`` and a cluster client that hold the arguments
    with which each was made. Client-side caching is left out: we never read what it caches.
    """
    try:
        if (pool := getattr(client, "connection_pool", None)) is None:
            return _twin_of_cluster(client)
        return aio.Redis.from_pool(_twin_of_pool(pool))
    except _NoTwin:
        return None


def _twin_of_pool(pool: Any, *, without: str = "") -> aio.ConnectionPool:
    kind, connection_class = _twin(type(pool)), _twin(pool.connection_class)
    kwargs = {name: value for name, value in pool.connection_kwargs.items() if name != without}
    options = {
        "connection_class": connection_class,
        "max_connections": pool.max_connections,
        **_twin_options(kwargs, _options_of(connection_class)),
    }
    if kind is aio.BlockingConnectionPool:
        options["timeout"] = pool.timeout
    if kind is aio_sentinel.SentinelConnectionPool:
        options |= {"is_master": pool.is_master, "check_connection": pool.check_connection}
        options["service_name"] = pool.service_name
        options["sentinel_manager"] = _twin_of_sentinel(pool.sentinel_manager)
    return kind(**options)  # type: ignore[no-any-return]


def _twin_of_sentinel(manager: Any) -> Any:
    kind: Any = aio.Sentinel
    twin = kind(
        [],
        min_other_sentinels=manager.min_other_sentinels,
        force_master_ip=manager._force_master_ip,
    )
    twin.sentinels = [
        aio.Redis.from_pool(_twin_of_pool(s.connection_pool)) for s in manager.sentinels
    ]
    return twin


def _twin_of_cluster(client: Any) -> AsyncCluster:
    """Raises :class:`_NoTwin` at once, not at the first command."""
    if type(client) not in (RedisCluster, LazyCluster) or client.user_on_connect_func is not None:
        raise _NoTwin
    kwargs = client.get_connection_kwargs()
    kind = kwargs.get("connection_pool_class", connection.ConnectionPool)
    names = kwargs.keys() - {"connection_pool_class"}
    any_pool = kind(host="", **{name: kwargs[name] for name in names})
    _twin_of_pool(any_pool, without=_OF_CLUSTER)
    return AsyncCluster(client, _twin_of_node)


def _twin_of_node(client: Any) -> aio.Redis:
    return aio.Redis.from_pool(_twin_of_pool(client.connection_pool, without=_OF_CLUSTER))


def _twin(kind: type) -> Any:
    if kind not in _TWINS:
        raise _NoTwin
    return _TWINS[kind]


def _twin_options(options: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    twins = {}
    for name, value in options.items():
        if name in _SET_BY_REDIS_PY or (name not in known and (name in _ONLY_HINTS or not value)):
            continue
        if name not in known or (name == "redis_connect_func" and value):
            raise _NoTwin
        twins[name] = _twin_option(name, value)
    return twins


def _twin_option(name: str, value: Any) -> Any:
    if name == "parser_class":
        return _twin(value)
    if name == "retry_on_error" and value:
        return [*value]  # a connection adds to the list
    if name == "retry" and value is not None:
        if type(value) is not retry.Retry:
            raise _NoTwin
        errors: Any = value._supported_errors
        return aio_retry.Retry(deepcopy(value._backoff), value.get_retries(), errors)
    return value


@lru_cache
def _options_of(kind: type) -> frozenset[str]:
    """The arguments of a class and of the classes that it passes its arguments on to."""
    makers = [vars(each)["__init__"] for each in kind.__mro__ if "__init__" in vars(each)]
    return frozenset(chain.from_iterable(inspect.signature(maker).parameters for maker in makers))
