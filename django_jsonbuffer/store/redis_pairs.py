"""Two commands in one write to one connection: an append, and a command that waits behind it.

Redis-py has no call for this that works in a cluster. ``tests/store/test_redis_pairs.py`` has a
test for each part of redis-py that this relies on.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from .redis_asyncio import ASKING, AsyncClient, AsyncCluster, is_lost, raise_innermost
from .redis_cluster import Route, is_cluster
from .redis_connections import give_back, take_connection
from .wire import Packed, on_the_wire, unpacked

if TYPE_CHECKING:
    from redis import Redis

Args = Sequence[bytes | Packed]

Wait = Callable[[float | None], Packed]
"""Returns the command that waits, for a connection with this socket timeout (seconds)."""


class Replies(NamedTuple):
    """The replies to both commands."""

    reply: Any
    confirmation: Any
    """May be an error."""


def execute_both(client: "Redis", *args: bytes | Packed, key: str, wait: Wait) -> Replies:
    """Like :func:`.redis_blocking.execute_once`, with a second command behind the first one.

    Raises the error of the first command. Relies on ``socket_timeout`` of a connection, and on the
    parts of a pool that ``execute_once()`` uses.
    """
    if not is_cluster(client):
        return _both_of_pool(client.connection_pool, args, wait)
    route = Route(client, key)
    while True:
        try:
            pool = route.client.connection_pool
            return _both_of_pool(pool, args, wait, is_asking=route.is_asking)
        except BaseException as error:  # noqa: BLE001  (raised again)
            time.sleep(route.follow(error))


async def aexecute_both(
    client: AsyncClient, *args: bytes | Packed, key: str, wait: Wait
) -> Replies:
    """Like :func:`execute_both`, for a task of the running event loop."""
    try:
        if not isinstance(client, AsyncCluster):
            return await _aboth_of_pool(client.connection_pool, args, wait)
        route = await client.route(key)
        while True:
            try:
                pool = client.client_of(route).connection_pool
                return await _aboth_of_pool(pool, args, wait, is_asking=route.is_asking)
            except BaseException as error:  # noqa: BLE001  (raised again)
                await asyncio.sleep(route.follow(error))
    except RedisConnectionError as error:
        raise_innermost(error)


def _both_of_pool(pool: Any, args: Args, wait: Wait, *, is_asking: bool = False) -> Replies:
    taken = take_connection(pool)
    connection = taken.connection
    # Before redis-py 8.0, a connection with client-side caching does not know its timeout.
    second = wait(
        getattr(connection, "socket_timeout", pool.connection_kwargs.get("socket_timeout"))
    )
    try:
        if is_asking:
            connection.send_packed_command(on_the_wire([ASKING]))
            _reply_or_error(connection)
        if getattr(pool, "cache", None) is None:
            connection.send_packed_command(on_the_wire(args, second))
            replies = Replies(_reply_or_error(connection), _reply_or_error(connection))
        else:  # see execute_once()
            connection.send_command(*unpacked(args))
            reply = _reply_or_error(connection)
            connection.send_command(*second.args)
            replies = Replies(reply, _reply_or_error(connection))
    except BaseException:
        connection.disconnect()
        pool.release(connection)
        raise
    give_back(pool, taken)
    return _checked(replies)


def _reply_or_error(connection: Any) -> Any:
    try:
        return connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error


def _checked(replies: Replies) -> Replies:
    if isinstance(replies.reply, ResponseError):
        raise replies.reply
    return replies


async def _aboth_of_pool(pool: Any, args: Args, wait: Wait, *, is_asking: bool = False) -> Replies:
    connection = await pool.get_connection()
    try:
        return await _aboth(connection, args, wait, is_asking=is_asking)
    finally:
        await pool.release(connection)


async def _aboth(connection: Any, args: Args, wait: Wait, *, is_asking: bool) -> Replies:
    try:
        if is_lost(connection):
            await connection.disconnect(nowait=True)
        await connection.connect()
        if is_asking:
            await connection.send_packed_command(on_the_wire([ASKING]))
            await _areply_or_error(connection)
        await connection.send_packed_command(on_the_wire(args, wait(connection.socket_timeout)))
        reply = await _areply_or_error(connection)
        replies = Replies(reply, await _areply_or_error(connection))
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return _checked(replies)


async def _areply_or_error(connection: Any) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error
