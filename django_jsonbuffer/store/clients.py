"""The redis-py client of a cache alias. The only module that knows django-redis."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings
from django.core.cache import InvalidCacheBackendError
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from redis.exceptions import RedisClusterException, RedisError

from django_jsonbuffer import isolation
from django_jsonbuffer.exceptions import BufferMisconfigured, BufferUnavailable

from . import redis_internals

if TYPE_CHECKING:
    from redis import Redis


class _Clients(dict[str, "Redis"]):
    """The client of each alias, made at its first use.

    All threads share a client. It notices by itself that its process was forked. With replicas, it
    is the client of the primary. ``KEY_PREFIX``, ``VERSION`` and ``IGNORE_EXCEPTIONS`` of the alias
    have no effect on the client.

    Raises :class:`BufferMisconfigured` if the alias is missing, or its backend has no such client.
    """

    def __missing__(self, alias: str) -> "Redis":
        # If several threads come at once, all use the client of the first.
        return self.setdefault(alias, _new_client(alias))


clients = _Clients()

stand_ins: dict[str, "Redis"] = {}
"""Clients that tests use in place of those of the settings, by their alias."""


@receiver(setting_changed)
def _forget_clients(**kwargs: object) -> None:
    clients.clear()


@isolation.at_end
def _forget_client(of: isolation.Isolation) -> None:
    for alias, _ in of.places:
        if isolation.server_of(alias) is not None:
            clients.pop(alias, None)


def _new_client(alias: str) -> "Redis":
    from django_redis import get_redis_connection
    from django_redis.exceptions import ConnectionInterrupted

    if (of_tests := _client_of_tests(alias)) is not None:
        return of_tests
    if alias not in settings.CACHES:
        raise BufferMisconfigured(
            f"CACHES has no alias {alias!r}. Add one with the backend "
            "'django_redis.cache.RedisCache', or name another in JSONBUFFER['CACHE']."
        )
    try:
        client: Redis = get_redis_connection(alias, write=True)
    except NotImplementedError as error:
        raise BufferMisconfigured(
            f"The cache {alias!r} does not give a raw Redis client. Use the backend "
            "'django_redis.cache.RedisCache' with its default client."
        ) from error
    except ValueError:
        # Its message may quote the URL, and the password in it.
        raise BufferMisconfigured(
            f"The LOCATION of the cache {alias!r} is not the URL of a Redis server. Quote special "
            "characters in a password: / is %2F, # is %23, ? is %3F, @ is %40."
        ) from None
    except TypeError as error:
        raise misconfigured_option(alias, redis_internals.wrong_option(error)) from error
    except (ImportError, ImproperlyConfigured, InvalidCacheBackendError) as error:
        raise BufferMisconfigured(f"The cache {alias!r} cannot be used: {error}") from error
    except (ConnectionInterrupted, RedisError, RedisClusterException) as error:
        raise BufferUnavailable(f"The cache {alias!r} cannot connect to Redis: {error}") from error
    _require_known_options(alias, client)
    return client


def _client_of_tests(alias: str) -> "Redis | None":
    """The client of an alias whose events tests keep elsewhere. None for an alias of the site."""
    if alias in stand_ins:
        return stand_ins[alias]
    if (server := isolation.server_of(alias)) is None:
        return None
    from django_jsonbuffer.memory_redis.connection import client_of

    return client_of(server)


def _require_known_options(alias: str, client: "Redis") -> None:
    """Raises :class:`BufferMisconfigured` before the pool makes a connection.

    It would count each one that it could not make, and soon say that all are in use.
    """
    try:
        redis_internals.has_timeout(client)
    except TypeError as error:
        raise misconfigured_option(alias, redis_internals.wrong_option(error)) from error


def has_timeout(alias: str) -> bool:
    """Whether the client stops waiting for a reply after some time."""
    return redis_internals.has_timeout(clients[alias])


def misconfigured_option(alias: str, option: str) -> BufferMisconfigured:
    return BufferMisconfigured(
        f"The cache {alias!r} has an option that redis-py does not know: {option}. Remove the "
        "option from LOCATION or OPTIONS."
    )


def pool_size(alias: str) -> int:
    """How many connections the client may have at a time, in this process and to one server."""
    return redis_internals.pool_size(clients[alias])


def pool_option(alias: str) -> str:
    """Where the settings of the cache say how many connections its client may have."""
    urls = _parts_of_location(settings.CACHES[alias])
    is_in_url = any("max_connections" in parts for parts in urls)
    where = "['LOCATION']" if is_in_url else "['OPTIONS']['CONNECTION_POOL_KWARGS']"
    return f"max_connections in CACHES[{alias!r}]{where}"


def decodes(alias: str) -> bool:
    """Whether the client turns replies into text."""
    return redis_internals.decodes(clients[alias])


class Database(NamedTuple):
    """One numbered database of one server."""

    server: str
    """Host and port, or the path of the socket."""

    number: int


def databases(alias: str) -> set[Database]:
    """The Redis databases that the LOCATION of a cache names. The cache may have any backend."""
    config: Mapping[str, Any] = settings.CACHES[alias]
    return {_database(parts, config) for parts in _parts_of_location(config)}


def _parts_of_location(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The parts of each URL in the LOCATION of a cache, if its backend is Redis."""
    location = config.get("LOCATION", "")
    urls = location if isinstance(location, list | tuple) else str(location).split(",")
    for url in urls:
        if (parts := redis_internals.parts_of_url(str(url).strip())) is not None:
            yield parts


def _database(parts: Mapping[str, Any], config: Mapping[str, Any]) -> Database:
    options = config.get("OPTIONS", {})
    number = parts.get("db", options.get("db", _pool_options(options).get("db", 0)))
    if "path" in parts:
        return Database(parts["path"], int(number))
    host = parts.get("host", "localhost")
    return Database(
        f"{'localhost' if host == '127.0.0.1' else host}:{parts.get('port', 6379)}", int(number)
    )


def _pool_options(options: Mapping[str, Any]) -> Mapping[str, Any]:
    return options.get("CONNECTION_POOL_KWARGS", {})  # type: ignore[no-any-return]
