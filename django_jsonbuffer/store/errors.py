"""Calls to the client. Their errors become errors of this app, here and nowhere else."""

import os
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

import redis.exceptions

from django_jsonbuffer.exceptions import (
    BufferOutOfMemory,
    BufferUnavailable,
    JSONBufferError,
    KeyOccupied,
)

from . import redis_connections, redis_internals
from .clients import clients, misconfigured_option, pool_option, pool_size
from .redis_cluster import node_of_error

if TYPE_CHECKING:
    from redis import Redis

Answer = TypeVar("Answer")

PATIENCE: Final = timedelta(seconds=5)
"""How long a call waits for a connection if all connections of the pool are in use."""

_PAUSE_PER_WAITER_SECONDS: Final = 0.0005
_waiters: Final[set[object]] = set()
"""Callers in this process that wait for a connection."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_waiters.clear)

DRIVER_ERRORS: Final = (redis.exceptions.RedisError, redis.exceptions.RedisClusterException)

_QUOTES: Final = re.compile(
    ", with args beginning with.*|(?<=Protocol Error): .*", re.DOTALL | re.IGNORECASE
)
"""The parts of an error that quote events or a password: the command, which servers quote if they
do not know it, and a reply that redis-py does not understand."""

_PERMISSIONS: Final = " `manage.py redis_acl` prints the permissions that the user needs."

_OF_CLUSTER: Final = (redis.exceptions.AskError, redis.exceptions.ClusterCrossSlotError)
"""Errors of a node of a cluster to a client for one server. MovedError is an AskError."""

_FACTORY: Final = (
    ". This server is a node of a Redis Cluster, and the cache has a client for a single server. "
    "Set in the OPTIONS of the cache: "
    "'CONNECTION_FACTORY': 'django_jsonbuffer.contrib.cluster.ClusterConnectionFactory'."
)
_COVERAGE: Final = (
    ". Some slots have no primary. To let the other nodes serve, set cluster-require-full-coverage "
    "to no in Redis."
)


def ask(
    cache: str, question: Callable[["Redis"], Answer], name: str | None = None, *, key: str = ""
) -> Answer:
    """The answer to a question that is put to the client of a cache.

    `name` is the name of the bucket. `key` is the key that the question uses if it is not a key of
    a bucket. Both are for the messages of the errors.
    """
    client = clients[cache]
    return call(lambda: question(client), client, cache, name, key=key)


def call(
    question: Callable[[], Answer],
    client: "Redis",
    cache: str,
    name: str | None = None,
    *,
    key: str = "",
    patience: timedelta = PATIENCE,
) -> Answer:
    """The answer to a question that uses the client. Each error becomes an error of this app.

    If all connections of the pool are in use, waits for one. `patience` is how long.
    """
    around, pauses = sys.exception(), None
    while True:
        try:
            return question()
        except BaseException as error:  # noqa: BLE001  (raised again as an error of this app)
            pauses = pauses or pauses_of(patience)
            time.sleep(pause_or_raise(error, pauses, client, cache, name, key=key, around=around))


def pause_or_raise(
    error: BaseException,
    pauses: Iterator[float],
    client: "Redis | None",
    cache: str,
    name: str | None = None,
    *,
    key: str = "",
    around: BaseException | None,
) -> float:
    """If all connections are in use: how many seconds to wait. Otherwise raise this app's error.

    `client` is the client whose idle connections are closed after an interrupt. It is None for an
    asyncio client, which closes the connection itself. `pauses` is the result of :func:`pauses_of`
    for this call. `around` is the exception, if any, that was already being handled when the call
    began.
    """
    if redis_internals.may_wait(error) and (pause_seconds := next(pauses, None)) is not None:
        if client is not None:
            redis_connections.give_back_kept(client)
        return pause_seconds
    if isinstance(error, Exception):
        ours = _ours(error, client, cache, name, key=key, around=around)
        raise ours from None if _QUOTES.search(str(error)) else error
    # The interrupt may have come before the reply to a command was read. The next user of the
    # connection would read this old reply.
    if client is not None:
        redis_connections.close_idle(client)
    raise error


def pauses_of(patience: timedelta) -> Iterator[float]:
    """Pauses in seconds, a little longer each time, until the patience is over.

    The more callers wait, the longer each pauses, so that they do not keep the process from those
    who have a connection.
    """
    ends_at, pause_seconds, waiter = time.monotonic() + patience.total_seconds(), 0.001, object()
    _waiters.add(waiter)
    try:
        while (left_seconds := ends_at - time.monotonic()) > 0:
            longest = max(pause_seconds, len(_waiters) * _PAUSE_PER_WAITER_SECONDS)
            yield min(longest * random.uniform(0.5, 1), left_seconds)
            pause_seconds = min(pause_seconds * 2, 0.02)
    finally:
        _waiters.discard(waiter)


def _ours(
    error: Exception,
    client: "Redis | None",
    cache: str,
    name: str | None,
    *,
    key: str,
    around: BaseException | None,
) -> JSONBufferError:
    """This app's error for an error of a call."""
    if redis_internals.is_pool_exhausted(error):
        return _no_free_connection(cache, name)
    if isinstance(error, DRIVER_ERRORS):
        ours = translated(error, name, key=key)
        if isinstance(ours, BufferUnavailable):
            ours.may_be_repeated = not redis_internals.was_stopped(error)
            ours.may_be_done = not (
                ours.may_be_repeated and redis_internals.was_not_sent(error, around=around)
            )
        return ours
    if option := redis_internals.wrong_option(error):
        return misconfigured_option(cache, option)
    # Another thread has closed the connection, or the reply has no known form. The next user of the
    # connection would read what is left of the reply.
    if client is not None:
        redis_connections.close_idle(client)
    return _unknown_failure(error, name)


def _unknown_failure(error: Exception, name: str | None) -> BufferUnavailable:
    bucket = f" for bucket {name!r}" if name else ""
    unavailable = BufferUnavailable(
        f"A call to Redis{bucket} failed with {type(error).__qualname__}. Perhaps another thread "
        "closed its connection, or the server is not Redis."
    )
    unavailable.may_be_done = True
    return unavailable


def _no_free_connection(cache: str, name: str | None) -> BufferUnavailable:
    """The error after waiting for a connection in vain. Redis was not asked."""
    bucket = f" for bucket {name!r}" if name else ""
    unavailable = BufferUnavailable(
        f"No connection to Redis was free{bucket}: all {pool_size(cache)} connections of the cache "
        f"{cache!r} are in use in this process. Nothing was written. Raise {pool_option(cache)}."
    )
    unavailable.was_asked = False
    return unavailable


def translated(error: Exception, name: str | None = None, *, key: str = "") -> JSONBufferError:
    """This app's error for an error of redis-py. What may quote events or a password is cut off."""
    ours = _translated(error, name, key)
    if isinstance(ours, BufferUnavailable):
        ours.node = node_of_error(error)
    return ours


def _translated(error: Exception, name: str | None, key: str) -> JSONBufferError:
    bucket = f" for bucket {name!r}" if name else ""
    where = f"{bucket} at {node}" if (node := node_of_error(error)) else bucket
    # The error of a command inside a script ends with its place in the script, which is cut off.
    # Before Redis 7.0, the code of such an error is only in the text.
    text = _QUOTES.sub("", str(error)).partition(" script: ")[0]
    if isinstance(error, redis.exceptions.OutOfMemoryError) or "OOM " in text:
        return BufferOutOfMemory(
            f"Redis has no memory left{where}. Nothing was written. Start more workers, or raise "
            "maxmemory of Redis."
        )
    if "WRONGTYPE" in text:
        which = f"The key {key!r}" if key else f"A key{bucket}"
        return KeyOccupied(
            f"{which} holds a value of another type, which this app did not put there. Nothing was "
            "changed. Find the key with the Redis command TYPE, and rename it. Or choose another "
            "bucket name or PREFIX."
        )
    if isinstance(error, redis.exceptions.AuthenticationError):
        return BufferUnavailable(f"Redis refuses the login of this site{where}: {text}")
    if isinstance(error, redis.exceptions.TimeoutError | redis.exceptions.ConnectionError):
        unavailable = BufferUnavailable(f"Redis cannot be reached{where}: {text.rstrip('.')}.")
        unavailable.is_unreachable = not isinstance(error, redis.exceptions.BusyLoadingError)
        return unavailable
    return BufferUnavailable(f"Redis refused a command{where}: {text}{_hint(error)}")


def _hint(error: Exception) -> str:
    if redis_internals.is_about_permissions(error):
        return _PERMISSIONS
    if not node_of_error(error) and isinstance(error, _OF_CLUSTER):
        return f" ({type(error).__name__}){_FACTORY}"
    return _COVERAGE if isinstance(error, redis.exceptions.ClusterDownError) else ""


def not_redis(name: str | None = None) -> BufferUnavailable:
    """The error for a reply that Redis never gives."""
    bucket = f" for bucket {name!r}" if name else ""
    unavailable = BufferUnavailable(
        f"The server that answered{bucket} is not Redis: its reply has no known form. Check CACHES."
    )
    unavailable.may_be_done = True
    return unavailable
