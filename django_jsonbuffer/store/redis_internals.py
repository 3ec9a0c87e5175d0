"""Each part of redis-py that this app uses beyond its documented commands, and why: its errors and
its options. The other modules ``redis_…`` have what sends commands.

``tests/store/test_redis_internals.py`` has a test for each, which fails when that part is gone.
"""

import re
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from redis.connection import ConnectionPool, parse_url
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MaxConnectionsError,
    NoPermissionError,
    ResponseError,
    SlotNotCoveredError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

if TYPE_CHECKING:
    from redis import Redis


class NoStartNode(RedisConnectionError):
    """A cluster client could not connect to any node, so it has sent no command."""


_REFUSALS: Final = (
    *(AuthenticationError, BusyLoadingError, ResponseError),
    *(NoStartNode, SlotNotCoveredError),
)

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


def was_not_sent(error: BaseException, *, around: BaseException | None) -> bool:
    """Whether the error of an ``execute_once()`` shows that the command had no effect.

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


def retries(client: "Redis") -> bool:
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
