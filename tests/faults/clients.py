"""The kinds of redis-py client that a project may use: the one of django-redis, and two others."""

import threading
from collections.abc import Callable
from typing import Any, ClassVar, Final

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.connection import parse_url
from redis.retry import Retry

from tests.server import Redis


def retrying(url: str) -> Redis:
    """A client that repeats commands as often as redis-py does by default, but waits less."""
    by_default: Redis = redis.Redis()
    backoff = ExponentialWithJitterBackoff(base=0.001, cap=0.01)
    retry = Retry(backoff, by_default.get_retry().get_retries())
    return redis.Redis(**parse_url(url), retry=retry)


def clustered(url: str) -> Redis:
    return redis.RedisCluster.from_url(url)


class ConnectionFactory:
    """Makes one client for all threads of the process. The caches never close it."""

    clients: ClassVar[dict[str, Redis]] = {}
    lock: Final = threading.Lock()

    def __init__(self, options: dict[str, Any]) -> None:
        self.make: Callable[[str], Redis] = options["MAKE"]

    def connect(self, url: str) -> Redis:
        with self.lock:
            if url not in self.clients:
                self.clients[url] = self.make(url)
            return self.clients[url]


OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "django-redis": {},
    "Redis": {"CONNECTION_FACTORY": f"{__name__}.ConnectionFactory", "MAKE": retrying},
    "RedisCluster": {"CONNECTION_FACTORY": f"{__name__}.ConnectionFactory", "MAKE": clustered},
}
"""OPTIONS of a cache, by the kind of client that the cache then has."""
