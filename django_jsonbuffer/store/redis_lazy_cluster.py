"""A cluster client that connects when it is needed.

``tests/store/test_redis_lazy_cluster.py`` has a test for each part of redis-py that this relies on.
"""

import inspect
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Never

from redis.cluster import ClusterNode, RedisCluster
from redis.connection import Connection
from redis.exceptions import AuthenticationError, RedisClusterException, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .redis_internals import NoStartNode, parts_of_url


class LazyCluster(RedisCluster):
    """A cluster client that connects at its first command, and again after a failure.

    Relies on ``RedisCluster`` connecting in ``__init__``, which sets the attributes that all its
    methods use. Raises ``TypeError`` for an option that redis-py does not know, which it would
    ignore.
    """

    connection_pool: Final = None

    def __init__(self, *, url: str, **options: Any) -> None:
        self._own_options = {"url": url, **options}
        self._own_lock = threading.RLock()
        self._is_connecting = self._is_connected = False
        self.user_on_connect_func = options.get("redis_connect_func")
        kwargs = self.get_connection_kwargs()
        kwargs.get("connection_class", Connection)(
            **{name: kwargs[name] for name in kwargs.keys() - _OF_POOLS}
        )

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            self.connect()
            with suppress(KeyError):
                return vars(self)[name]
        raise AttributeError(name)

    def connect(self) -> None:
        """Connect, if the client is not connected."""
        with self._own_lock:
            if self._is_connected or self._is_connecting:
                return
            self._is_connecting = True
            try:
                super().__init__(**self._options_of_start())
                self._is_connected = True
            except RedisClusterException as error:
                _raise_reason(error)
            finally:
                self._is_connecting = False

    def _options_of_start(self) -> dict[str, Any]:
        options = dict(self._own_options)
        new_node: Callable[..., ClusterNode] = ClusterNode
        nodes = [parts_of_url(url) or {} for url in options.pop("start_urls", ())]
        starts = [new_node(parts.get("host"), parts.get("port", 6379)) for parts in nodes]
        return {**options, "startup_nodes": starts}

    def get_connection_kwargs(self) -> dict[str, Any]:
        if self._is_connected:
            connected: dict[str, Any] = self.nodes_manager.connection_kwargs
            return connected
        url, options = self._own_options["url"], self._own_options
        of_client = {*inspect.signature(RedisCluster).parameters, "start_urls"}
        kwargs = {name: options[name] for name in options.keys() - of_client}
        kwargs |= parts_of_url(url) or {}
        return {name: kwargs[name] for name in kwargs.keys() - {"host", "port", "db"}}

    def close(self) -> None:
        if self._is_connected:
            super().close()


_OF_POOLS: Final = {"connection_class", "connection_pool_class", "max_connections", "timeout"}


def _raise_reason(error: RedisClusterException) -> Never:
    """Raise an error that says why the client could not connect. Relies on its ``__cause__``."""
    reason = error.__cause__
    if isinstance(reason, RedisConnectionError | RedisTimeoutError) and not isinstance(
        reason, AuthenticationError
    ):
        raise NoStartNode(str(reason)) from error
    raise reason if isinstance(reason, RedisError) else error
