"""Each part of redis-py that this app uses beyond its documented commands, and why.

``tests/store/test_redis_internals.py`` has a test for each, which fails when that part is gone.
"""

import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from redis.connection import BlockingConnectionPool, ConnectionPool, parse_url
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MaxConnectionsError,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

if TYPE_CHECKING:
    from redis import Redis

_PIECE_BYTES: Final = 1024 * 1024
"""A command is sent in pieces of this size, because the socket timeout holds for each piece."""

_KEPT: Final = "_jsonbuffer_connection"
"""Attribute of a pool: the connection that is kept for the next append, and when it was taken."""

_KEPT_SECONDS: Final = 1.0
_SMALLEST_THAT_KEEPS: Final = 10
"""Fewest connections of a pool of which one is kept."""

_REFUSALS: Final = (AuthenticationError, BusyLoadingError, ResponseError)

_WAITED_IN_VAIN: Final = "No connection available."
_ALL_IN_USE: Final = ("Too many connections", _WAITED_IN_VAIN)
"""Messages of redis-py when all connections of a pool are in use. A BlockingConnectionPool has one
in every version, other pools only before redis-py 6.3, which has an exception class for this."""

_STOPPED: Final = ("ACL failure in script", "The user executing the script can't")
"""Messages of Redis when the user may not run a command of a script: since 7.2, and before."""

_NO_ADDRESS: Final = "Multiple exceptions: "
"""How the message of asyncio begins when it could connect to none of a host's addresses."""

AS_BYTES: Final = {"NEVER_DECODE": True}
"""Options of a command whose reply comes as bytes, even if the client decodes replies.

Relies on the option ``NEVER_DECODE`` of ``execute_command()``, which redis-py uses for DUMP."""


class Packed(NamedTuple):
    """Arguments that many commands share, encoded for the wire once."""

    args: tuple[bytes | str | int, ...]
    wire: bytes


@lru_cache(1000)
def packed(*args: bytes | str | int) -> Packed:
    encoded = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
    return Packed(args, b"".join([b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in encoded]))


def execute_once(client: "Redis", *args: bytes | Packed, key: str) -> Any:
    """Run a command on the node of `key`, without the retries of the client.

    The client must not retry, because the error of a retry does not say whether the first command
    was carried out. The reply comes as bytes even if the client decodes replies.

    Relies on ``connection_pool``, on ``get_connection()`` and ``release()`` of a pool, on
    ``send_packed_command()``, ``read_response(disable_decoding=)`` and ``disconnect()`` of a
    connection, on ``connection`` of a client that has only one, and on ``get_node_from_key()`` and
    ``target_nodes=`` of a cluster client, which does not retry on nodes that its caller names.
    """
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        owner: Callable[[str], Any] = client.get_node_from_key  # type: ignore[attr-defined]
        return _execute(client, args, target_nodes=owner(key))
    if client.connection is not None and not _retries(client):
        return _execute(client, args)
    connection, taken_at = _take_connection(pool)
    try:
        if getattr(pool, "cache", None) is None:
            connection.send_packed_command(on_the_wire(args))
        else:
            # Before redis-py 8.1, a client with client-side caching takes the reply to a packed
            # command for the reply to the last command that it cached.
            connection.send_command(*unpacked(args))
        reply = connection.read_response(disable_decoding=True)
    except BaseException as error:
        if not isinstance(error, ResponseError):
            connection.disconnect()
        pool.release(connection)
        raise
    _give_back(pool, connection, taken_at)
    return reply


def _take_connection(pool: Any) -> tuple[Any, float]:
    """A connection, and when it was taken out of the pool.

    One connection is kept for a second after it was taken, because a pool needs a quarter of the
    time of an RPUSH to take a connection back and to hand out the next one. Small pools, and pools
    of other classes, get it back at once.

    Relies on ``max_connections`` of a pool, on ``can_read()`` of a connection, which is true if the
    server has closed it, and on its ``pid``: a forked child must not use its parent's connection.
    """
    now = time.monotonic()
    connection, taken_at = vars(pool).pop(_KEPT, (None, now))
    if connection is None:
        return pool.get_connection(), now
    if now - taken_at < _KEPT_SECONDS and connection.pid == os.getpid():
        with suppress(RedisError, OSError):
            if not connection.can_read():
                return connection, taken_at
    pool.release(connection)
    return pool.get_connection(), now


def _give_back(pool: Any, connection: Any, taken_at: float) -> None:
    may_keep = type(pool) is ConnectionPool and pool.max_connections >= _SMALLEST_THAT_KEEPS
    kept = vars(pool).setdefault(_KEPT, (connection, taken_at)) if may_keep else (None,)
    if kept[0] is not connection:
        pool.release(connection)


def _execute(client: "Redis", args: Iterable[bytes | Packed], **options: Any) -> Any:
    execute: Callable[..., Any] = client.execute_command
    return execute(*unpacked(args), **AS_BYTES, **options)


def unpacked(args: Iterable[bytes | Packed]) -> Iterator[bytes | str | int]:
    return chain.from_iterable(arg.args if isinstance(arg, Packed) else (arg,) for arg in args)


def on_the_wire(args: Iterable[bytes | Packed]) -> Sequence[bytes | memoryview]:
    """A command in the Redis protocol, as an array of bulk strings, in pieces."""
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
    """Whether the error of :func:`execute_once` shows that the command had no effect.

    Redis refused it, or no connection could be made. `around` is the exception that the caller was
    handling before.

    Relies on the ``__context__`` of a ConnectionError: it is the error of the socket.
    """
    if isinstance(error, _REFUSALS) or is_pool_exhausted(error):
        return True
    reason = error.__context__
    return reason is not around and (
        isinstance(reason, socket.gaierror | ConnectionRefusedError | FileNotFoundError)
        or (isinstance(reason, OSError) and str(reason).startswith(_NO_ADDRESS))
    )


def is_about_permissions(error: BaseException) -> bool:
    """Whether the Redis user may not run a command, or may not use a key."""
    return isinstance(error, NoPermissionError) or was_stopped(error)


def was_stopped(error: BaseException) -> bool:
    """Whether Redis refused a command of a script, and so stopped the script in the middle.

    Relies on the messages in ``_STOPPED``.
    """
    return isinstance(error, ResponseError) and any(text in str(error) for text in _STOPPED)


def is_pool_exhausted(error: BaseException) -> bool:
    """Whether all connections of the pool are in use. That says nothing about the server.

    Relies on the messages in ``_ALL_IN_USE``.
    """
    return isinstance(error, MaxConnectionsError) or (
        isinstance(error, RedisConnectionError) and str(error) in _ALL_IN_USE
    )


def may_wait(error: BaseException) -> bool:
    """Whether all connections of a pool are in use that does not wait itself for one."""
    return is_pool_exhausted(error) and str(error) != _WAITED_IN_VAIN


def close_idle(client: "Redis") -> None:
    """Close the connections of the client that are not in use at this moment.

    Relies on ``disconnect(inuse_connections=False)`` of a pool. A ``BlockingConnectionPool`` takes
    this argument only since redis-py 7.0. So we close its idle connections ourselves. They are in
    its queue ``pool``. A cluster client has no pool.
    """
    pool = getattr(client, "connection_pool", None)
    if isinstance(pool, BlockingConnectionPool):
        with pool.pool.mutex:
            for connection in filter(None, pool.pool.queue):
                connection.disconnect()
    elif pool is not None:
        if (kept := vars(pool).pop(_KEPT, None)) is not None:
            pool.release(kept[0])
        pool.disconnect(inuse_connections=False)


def wrong_option(error: BaseException) -> str:
    """The option of a connection that redis-py does not know; empty for any other error.

    Relies on redis-py passing options on as keyword arguments, and on the message of the TypeError.
    Since Python 3.13 the message may also suggest another name.
    """
    option = re.search(r"unexpected keyword argument ('[^']*')", str(error))
    return option[1] if option and isinstance(error, TypeError) else ""


def has_timeout(client: "Redis") -> bool:
    """Whether the client stops waiting for a reply after some time.

    Relies on ``connection_class``, ``connection_kwargs`` and ``socket_timeout``. Only a connection
    knows the default timeout of redis-py. Raises ``TypeError`` for an unknown option.
    """
    pool = getattr(client, "connection_pool", None)
    if pool is None:  # a cluster client
        return client.get_connection_kwargs().get("socket_timeout") is not None
    return pool.connection_class(**pool.connection_kwargs).socket_timeout is not None


def pool_size(client: "Redis") -> int:
    """How many connections the client may have at a time, to each server.

    Relies on ``max_connections`` of a pool, and of the ``nodes_manager`` of a cluster client, which
    makes a pool for each server.
    """
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        options: Mapping[str, Any] = client.get_connection_kwargs()
        return int(options.get("max_connections") or ConnectionPool().max_connections)
    return int(pool.max_connections)


def decodes(client: "Redis") -> bool:
    """Whether the client turns replies into text. Relies on ``get_connection_kwargs()``."""
    return bool(client.get_connection_kwargs().get("decode_responses"))


def parts_of_url(url: str) -> Mapping[str, Any] | None:
    """Host, port, path and database of a Redis URL; None for any other text.

    Relies on ``redis.connection.parse_url``, because django-redis reads URLs with it.
    """
    try:
        return parse_url(url)  # type: ignore[no-any-return, no-untyped-call]
    except ValueError:
        return None


def _retries(client: "Redis") -> bool:
    """Whether the client repeats commands after a lost connection or a timeout.

    Relies on the options ``retry``, ``retry_on_timeout`` and ``retry_on_error``, on the attribute
    ``retry`` of a client, and on ``get_retries()``.
    """
    options: Mapping[str, Any] = client.get_connection_kwargs()
    policy = options.get("retry") or getattr(client, "retry", None)
    return bool(
        options.get("retry_on_timeout")
        or options.get("retry_on_error")
        or (policy is not None and policy.get_retries() > 0)
    )
