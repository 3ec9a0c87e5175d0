"""The connection factory that lets django-redis use a Redis Cluster.

Name it in ``OPTIONS["CONNECTION_FACTORY"]`` of a cache.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django_redis.pool import ConnectionFactory

from django_jsonbuffer.store.redis_internals import parts_of_url
from django_jsonbuffer.store.redis_lazy_cluster import LazyCluster


class ClusterConnectionFactory(ConnectionFactory):  # type: ignore[misc]
    """Gives all threads of a process one ``RedisCluster`` for the same ``LOCATION`` and options.

    The client connects at its first command. It asks the nodes of ``LOCATION`` one after the other
    for all nodes of the cluster.
    """

    _clients: ClassVar[dict[object, LazyCluster]] = {}

    def connect(self, url: str) -> LazyCluster:
        urls = next(_locations_with(url, self.options), (url,))
        for each in urls:
            _require_no_database(each)
        options = {**self.make_connection_params(url), **self.redis_client_cls_kwargs}
        options |= {"url": urls[0], "start_urls": urls[1:], **self.pool_cls_kwargs}
        del options["parser_class"]  # each connection chooses its own
        if "CONNECTION_POOL_CLASS" in self.options:
            options["connection_pool_class"] = self.pool_cls
        key = (urls, repr(sorted(options.items())))
        if (client := self._clients.get(key)) is None:
            # If several threads come at once, all use the client of the first.
            client = self._clients.setdefault(key, LazyCluster(**options))
        return client

    def disconnect(self, connection: object) -> None:
        """Leave the connections open, because other threads use them."""


def _locations_with(url: str, options: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The URLs of each cache with these options that has this URL among others."""
    for config in settings.CACHES.values():
        location = config.get("LOCATION", "")
        urls = location.split(",") if isinstance(location, str) else location
        if url in urls and config.get("OPTIONS", {}) == options:
            yield tuple(urls)


def _require_no_database(url: str) -> None:
    if (parts := parts_of_url(url)) is None:
        raise ValueError("This is not the URL of a Redis server.")
    if parts.get("db") or "path" in parts:
        raise ImproperlyConfigured(
            "A Redis Cluster has only database 0, and no unix socket. Let LOCATION be "
            "'redis://HOST:PORT', or a list of such URLs."
        )
