"""The one module that knows django-redis."""

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.conf import settings
from django.core.cache import InvalidCacheBackendError
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from redis.connection import parse_url
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MaxConnectionsError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from .exceptions import BufferMisconfigured, BufferUnavailable

if TYPE_CHECKING:
    from redis import Redis


_clients: "Final[dict[str, Redis]]" = {}
"""By alias. Each is for all threads, and finds out by itself that its process was forked."""


def client(alias: str) -> "Redis":
    """The raw client of a django-redis cache: of the primary, where there are replicas.

    ``KEY_PREFIX``, ``VERSION`` and ``IGNORE_EXCEPTIONS`` of the alias do not touch it.

    Raises :class:`BufferMisconfigured` when the alias is missing or has no raw client.
    """
    if alias not in _clients:
        _clients[alias] = _new_client(alias)
    return _clients[alias]


@receiver(setting_changed)
def _forget_clients(**kwargs: object) -> None:
    _clients.clear()


def _new_client(alias: str) -> "Redis":
    from django_redis import get_redis_connection
    from django_redis.exceptions import ConnectionInterrupted

    if alias not in settings.CACHES:
        raise BufferMisconfigured(
            f"CACHES has no alias {alias!r}. Add one with the backend "
            "'django_redis.cache.RedisCache', or name another in JSONBUFFER['CACHE']."
        )
    try:
        raw: Redis = get_redis_connection(alias, write=True)
    except NotImplementedError as error:
        raise BufferMisconfigured(
            f"The cache {alias!r} gives no raw Redis client. Use the backend "
            "'django_redis.cache.RedisCache' with its default client."
        ) from error
    except ValueError:
        # Whose message may quote the URL, and the password in it.
        raise BufferMisconfigured(
            f"The LOCATION of the cache {alias!r} is no URL of a Redis server. Quote what is "
            "special in a password: / is %2F, # is %23, ? is %3F, @ is %40."
        ) from None
    except (ImportError, ImproperlyConfigured, InvalidCacheBackendError) as error:
        raise BufferMisconfigured(f"The cache {alias!r} cannot be used: {error}") from error
    except (ConnectionInterrupted, RedisError, RedisClusterException) as error:
        raise BufferUnavailable(f"The cache {alias!r} gives no connection: {error}") from error
    return raw


def close_idle(raw: "Redis") -> None:
    """Close the connections of the client that nobody uses at this moment."""
    pool = getattr(raw, "connection_pool", None)  # which a cluster's client has not
    if pool is not None:
        pool.disconnect(inuse_connections=False)


def wrong_option(error: BaseException) -> str:
    """The option of a connection that redis-py does not know, or nothing for any other error."""
    _, _, option = str(error).partition("unexpected keyword argument ")
    return option if isinstance(error, TypeError) else ""


_REFUSALS: Final = (
    AuthenticationError,
    BusyLoadingError,
    ResponseError,
)
# What redis-py says when all connections of its pool are in use: a BlockingConnectionPool at any
# version, and other pools before 6.3, which have no error of its own for it.
_ALL_IN_USE: Final = ("Too many connections", "No connection available.")


_PIECE_BYTES: Final = 1024 * 1024


class Packed(NamedTuple):
    """Arguments that many commands have in common, made ready for the wire once."""

    args: tuple[str | int, ...]
    wire: bytes


@lru_cache(1000)
def packed(*args: str | int) -> Packed:
    encoded = [str(arg).encode() for arg in args]
    return Packed(args, b"".join([b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in encoded]))


def execute_once(raw: "Redis", *args: bytes | Packed, key: str) -> Any:
    """Run a command without the client's own repeating, so that its error tells of all attempts.

    Its reply comes as bytes even where the client decodes replies.
    """
    pool = getattr(raw, "connection_pool", None)
    if pool is None:
        # A cluster's client repeats nothing for nodes that it is told.
        owner: Callable[[str], Any] = raw.get_node_from_key  # type: ignore[attr-defined]
        return _executed(raw, args, target_nodes=owner(key))
    if raw.connection is not None and not _repeats(raw):
        return _executed(raw, args)  # on the one connection that it has
    connection = pool.get_connection()
    try:
        if getattr(pool, "cache", None) is None:
            connection.send_packed_command(_on_the_wire(args))
        else:
            # Before 8.1, a client that caches would take the reply to a packed command for that to
            # the last one that it has cached.
            connection.send_command(*_unpacked(args))
        return connection.read_response(disable_decoding=True)
    except ResponseError:
        raise
    except BaseException:
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def _executed(raw: "Redis", args: Iterable[bytes | Packed], **options: Any) -> Any:
    execute: Callable[..., Any] = raw.execute_command
    return execute(*_unpacked(args), NEVER_DECODE=True, **options)


def _unpacked(args: Iterable[bytes | Packed]) -> Iterator[bytes | str | int]:
    return chain.from_iterable(arg.args if isinstance(arg, Packed) else (arg,) for arg in args)


def _on_the_wire(args: Iterable[bytes | Packed]) -> Sequence[bytes | memoryview]:
    """A command as the Redis protocol has it: an array of bulk strings.

    It comes in pieces, for each of which the socket has its timeout.
    """
    count, parts = 0, [b""]
    for arg in args:
        if isinstance(arg, Packed):
            count += len(arg.args)
            parts.append(arg.wire)
        else:
            count += 1
            parts += (b"$%d\r\n" % len(arg), arg, b"\r\n")
    parts[0] = b"*%d\r\n" % count
    command = b"".join(parts)
    if len(command) <= _PIECE_BYTES:
        return [command]
    view = memoryview(command)
    return [view[at : at + _PIECE_BYTES] for at in range(0, len(command), _PIECE_BYTES)]


def was_not_sent(error: BaseException, *, around: BaseException | None) -> bool:
    """Whether the error of a command that was executed once says that it was refused, or that it
    never reached the server: no connection could be made.

    `around` is the error that the caller was handling already.
    """
    if isinstance(error, _REFUSALS) or is_pool_exhausted(error):
        return True
    reason = error.__context__
    return reason is not around and isinstance(
        reason, socket.gaierror | ConnectionRefusedError | FileNotFoundError
    )


def is_pool_exhausted(error: BaseException) -> bool:
    """Whether all connections of the client's pool are in use, which says nothing of the server."""
    return isinstance(error, MaxConnectionsError) or (
        isinstance(error, RedisConnectionError) and str(error) in _ALL_IN_USE
    )


def _repeats(raw: "Redis") -> bool:
    """Whether the client repeats commands by itself after a lost connection or a timeout."""
    options: Mapping[str, Any] = raw.get_connection_kwargs()
    policy = options.get("retry") or getattr(raw, "retry", None)
    return bool(
        options.get("retry_on_timeout")
        or options.get("retry_on_error")
        or (policy is not None and policy.get_retries() > 0)
    )


def has_timeout(alias: str) -> bool:
    """Whether the client gives up waiting for a reply."""
    pool = getattr(client(alias), "connection_pool", None)  # which a cluster's client has not
    if pool is None:
        return client(alias).get_connection_kwargs().get("socket_timeout") is not None
    # Asked of a connection, which knows the default of this version of redis-py.
    try:
        connection = pool.connection_class(**pool.connection_kwargs)
    except TypeError as error:
        raise misconfigured_option(alias, wrong_option(error)) from error
    return connection.socket_timeout is not None


def misconfigured_option(alias: str, option: str) -> BufferMisconfigured:
    return BufferMisconfigured(
        f"The cache {alias!r} has an option that redis-py does not know: {option}. Take it out of "
        "its LOCATION or OPTIONS."
    )


def decodes(alias: str) -> bool:
    """Whether the client turns replies into text."""
    return bool(client(alias).get_connection_kwargs().get("decode_responses"))


class Database(NamedTuple):
    """One numbered database of one server."""

    server: str
    """Host and port, or the path of the socket."""

    number: int


def databases(alias: str) -> set[Database]:
    """The Redis databases behind a cache of any backend, as far as its LOCATION tells."""
    config: Mapping[str, Any] = settings.CACHES[alias]
    location = config.get("LOCATION", "")
    urls = location if isinstance(location, list | tuple) else str(location).split(",")
    return {database for url in urls if (database := _database(str(url).strip(), config))}


def _database(url: str, config: Mapping[str, Any]) -> Database | None:
    try:
        parts: Mapping[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        return None  # of a backend that is no Redis
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
