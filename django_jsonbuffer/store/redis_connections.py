"""The connections of redis-py's pools: each part that this app uses, and why.

``tests/store/test_redis_internals.py`` has a test for each, which fails when that part is gone.
"""

import os
import select
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from threading import Thread
from typing import Any, Final, NamedTuple

from redis import Redis
from redis.connection import BlockingConnectionPool, ConnectionPool
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .redis_cluster import is_cluster, node_clients

_KEPT: Final = "_jsonbuffer_connection"
"""Attribute of a pool: the connection that is kept for the next append."""

_KEPT_SECONDS: Final = 1.0
_SMALLEST_THAT_KEEPS: Final = 10
"""Fewest connections of a pool of which one is kept."""


class Taken(NamedTuple):
    """A connection that is out of its pool."""

    connection: Any
    since: float
    """When it was taken out, on the monotonic clock."""

    is_stale: Callable[[], object]
    """Whether it cannot be used for another command, because the server has closed it, or has sent
    something."""


def take_connection(pool: Any) -> Taken:
    """One connection is kept for a second after it was taken, because a pool needs a quarter of the
    time of an RPUSH to take a connection back and to hand out the next one. Small pools, and pools
    of other classes, get it back at once.

    Relies on ``get_connection()`` of a pool, and on ``pid`` of a connection: a forked child must
    not use its parent's connection.
    """
    now = time.monotonic()
    taken: Taken | None = vars(pool).pop(_KEPT, None)
    if taken is not None:
        is_usable = False
        try:
            if now - taken.since < _KEPT_SECONDS and taken.connection.pid == os.getpid():
                with suppress(RedisError, OSError):
                    is_usable = not taken.is_stale()
        finally:  # gevent may kill the greenlet while it polls
            if not is_usable:
                pool.release(taken.connection)
        if is_usable:
            return taken
    connection = pool.get_connection()
    return Taken(connection, now, _staleness_of(connection))


def take_connection_within(pool: Any, seconds: float | None) -> Taken:
    """Take a connection. If it has to be made, this takes so long at most.

    A server that hangs lets clients connect, and does not answer them. So a thread connects.

    Relies on ``_available_connections`` of a pool, and on ``_sock`` of a connection.
    """
    idle = getattr(pool, "_available_connections", None)
    if seconds is None or _KEPT in vars(pool) or (idle and idle[-1]._sock is not None):
        return take_connection(pool)
    made = Future[Taken]()

    def connect() -> None:
        try:
            taken = take_connection(pool)
        except BaseException as error:  # noqa: BLE001  (raised in the other thread)
            if made.set_running_or_notify_cancel():
                made.set_exception(error)
            return
        if made.set_running_or_notify_cancel():
            made.set_result(taken)
        else:
            pool.release(taken.connection)

    Thread(target=connect, name="connects to Redis", daemon=True).start()
    try:
        return made.result(timeout=seconds)
    except FutureTimeoutError:
        if made.cancel():
            raise RedisTimeoutError(f"No connection within {seconds:g} s.") from None
        return made.result()


def _staleness_of(connection: Any) -> Callable[[], object]:
    """See ``is_stale``. Looks whether the socket has something to read.

    Relies on ``can_read()`` of a connection, or on its ``_sock``, because ``can_read()`` takes
    three times as long as ``poll()``, a tenth of the time of an append.
    """
    socket = getattr(connection, "_sock", None)
    if socket is None or not hasattr(select, "poll"):
        return connection.can_read  # type: ignore[no-any-return]
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return lambda: connection._sock is not socket or poll.poll(0)


def give_back(pool: Any, taken: Taken) -> None:
    """Relies on ``max_connections`` of a pool."""
    may_keep = type(pool) is ConnectionPool and pool.max_connections >= _SMALLEST_THAT_KEEPS
    if not may_keep or vars(pool).setdefault(_KEPT, taken) is not taken:
        pool.release(taken.connection)


def give_back_kept(client: Redis) -> None:
    """Give the kept connection back to the pool, because somebody needs a connection."""
    for pool in _pools(client):
        if (kept := vars(pool).pop(_KEPT, None)) is not None:
            pool.release(kept.connection)


def _pools(client: Any) -> list[Any]:
    """The pools of the client: one for each node of a cluster."""
    clients = node_clients(client) if is_cluster(client) else [client]
    return [each.connection_pool for each in clients]


def close_idle(client: Redis) -> None:
    """Close the connections of the client that are not in use at this moment.

    Relies on ``disconnect(inuse_connections=False)`` of a pool. A ``BlockingConnectionPool`` takes
    this argument only since redis-py 7.0. So we close its idle connections ourselves. They are in
    its queue ``pool``.
    """
    give_back_kept(client)
    for pool in _pools(client):
        if isinstance(pool, BlockingConnectionPool):
            with pool.pool.mutex:
                for connection in filter(None, pool.pool.queue):
                    connection.disconnect()
        else:
            pool.disconnect(inuse_connections=False)
