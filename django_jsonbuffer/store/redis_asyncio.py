"""Each part of redis-py's asyncio side that this app uses beyond its documented commands, and why.

``tests/store/test_redis_asyncio.py`` has a test for each, which fails when that part is gone.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, Never, TypeAlias

import redis.asyncio as aio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .redis_cluster import Route, owner_name
from .wire import Packed, on_the_wire, packed

ASKING: Final = packed("ASKING")


class AsyncCluster:
    """The clients of the nodes of a cluster, for one event loop.

    The synchronous client has the table of slots. So all threads and event loops of the process
    have one table.
    """

    def __init__(self, origin: Any, twin_of: Callable[[Any], aio.Redis]) -> None:
        self.origin = origin
        self.nodes: dict[str, aio.Redis] = {}
        self._twin_of = twin_of

    async def route(self, key: str) -> Route:
        """The way to the node of a key. The first connects, in a thread."""
        if not owner_name(self.origin, key):
            return await asyncio.to_thread(Route, self.origin, key)
        return Route(self.origin, key)

    def client_of(self, route: Route) -> aio.Redis:
        if (client := self.nodes.get(route.node.name)) is None:
            client = self.nodes[route.node.name] = self._twin_of(route.client)
        return client


AsyncClient: TypeAlias = aio.Redis | AsyncCluster


async def execute_once(client: AsyncClient, *args: bytes | Packed, key: str) -> Any:
    """Run a command on the node of `key`, without the retries of the client.

    As :func:`.redis_blocking.execute_once`. If the task is cancelled, the connection is closed, so
    that no other command reads the reply.
    """
    try:
        if isinstance(client, AsyncCluster):
            return await _execute_in_cluster(client, args, key)
        return await _execute(client.connection_pool, args)
    except RedisConnectionError as error:
        raise_innermost(error)


async def execute(client: AsyncClient, *command: str, key: str) -> Any:
    """Run a command with the retries of the client. In a cluster, run it on the node of `key`.

    Raises the errors of :func:`execute_once`.
    """
    if isinstance(client, AsyncCluster):
        return await execute_once(client, packed(*command), key=key)
    try:
        return await client.execute_command(*command)  # type: ignore[no-untyped-call]
    except RedisConnectionError as error:
        raise_innermost(error)


def raise_innermost(error: Exception) -> Never:
    """Raise the error that redis-py has put into this one, if there is one.

    Relies on its ``__cause__``. Redis-py puts the refusal of a login on a unix socket into another
    error.
    """
    cause = error.__cause__
    if not isinstance(cause, RedisError):
        raise error
    reason = cause.__context__  # raising it puts another one there
    try:
        raise cause
    finally:
        cause.__context__ = reason


async def _execute(pool: Any, args: Sequence[bytes | Packed], *, is_asking: bool = False) -> Any:
    """Relies on ``get_connection()`` and ``release()`` of a pool, and on ``check_health()``."""
    connection = await pool.get_connection()
    try:
        if is_lost(connection):
            await connection.disconnect(nowait=True)
            await connection.connect()
        await connection.check_health()
        if is_asking:
            await _reply(connection, on_the_wire([ASKING]))
        return await _reply(connection, on_the_wire(args))
    except ResponseError:
        raise
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    finally:
        await pool.release(connection)


def is_lost(connection: Any) -> bool:
    """Whether the server has closed the connection meanwhile.

    A pool checks this itself, but since redis-py 8.0 not if the connection may get notifications of
    maintenance, as all do by default. Relies on ``_reader`` of a connection.
    """
    reader = connection._reader
    return reader is not None and (reader.at_eof() or reader.exception() is not None)


async def _reply(connection: Any, pieces: Sequence[bytes | memoryview]) -> Any:
    """Send a command, and read the reply. The socket timeout holds for each piece.

    One timer takes the place of those of redis-py, which cost more than the rest of a command.

    Relies on ``send_packed_command()`` and ``read_response(disable_decoding=)``, and on redis-py
    reading ``socket_timeout`` of a connection at each of them.
    """
    seconds, connection.socket_timeout = connection.socket_timeout, None
    try:
        async with asyncio.timeout(seconds) as limit:
            for number, piece in enumerate(pieces):
                if number and seconds is not None:
                    limit.reschedule(asyncio.get_running_loop().time() + seconds)
                await connection.send_packed_command([piece], False)
            return await connection.read_response(disable_decoding=True)
    except TimeoutError:
        raise RedisTimeoutError("Timeout reading from socket") from None
    finally:
        if connection.socket_timeout is None:
            connection.socket_timeout = seconds


async def _execute_in_cluster(
    client: AsyncCluster, args: Sequence[bytes | Packed], key: str
) -> Any:
    route = await client.route(key)
    while True:
        try:
            pool = client.client_of(route).connection_pool
            return await _execute(pool, args, is_asking=route.is_asking)
        except BaseException as error:  # noqa: BLE001  (raised again)
            await asyncio.sleep(route.follow(error))


async def close(client: AsyncClient) -> None:
    """Close all connections of a client, in its event loop."""
    for each in _nodes(client):
        with suppress(RedisError, OSError):
            await each.aclose()
    disconnects = [each.disconnect() for each in _connections(client)]
    await asyncio.gather(*disconnects, return_exceptions=True)


def is_in_use(client: Any) -> bool:
    """Whether a task uses a connection of the client at this moment."""
    return any(each.connection_pool._in_use_connections for each in _nodes(client))


def abandon(client: AsyncClient) -> None:
    """Close the sockets of a client whose event loop no longer runs.

    asyncio cannot do so without its loop. It would warn of each when it is garbage. After a fork,
    only this process loses the socket: nothing is sent, and the selector is left alone, because
    both are shared with the parent process.

    Relies on attributes of a connection and of asyncio's own transports. Leaves those of other
    event loops, which close the sockets themselves.
    """
    for each in _connections(client):
        writer, each._writer, each._reader = each._writer, None, None
        transport: Any = writer and writer.transport
        transport = getattr(getattr(transport, "_ssl_protocol", None), "_transport", transport)
        if hasattr(transport, "_call_connection_lost") and transport._sock:
            transport._closing = True
            with suppress(RuntimeError):  # the loop takes no more calls
                transport._call_connection_lost(None)


def _connections(client: Any) -> Iterator[Any]:
    """All connections of a client, also those that are in use and those to its sentinels."""
    for each in _nodes(client):
        pool = each.connection_pool
        yield from [*pool._available_connections, *pool._in_use_connections]
        for sentinel_client in getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()):
            yield from _connections(sentinel_client)


def _nodes(client: Any) -> Sequence[Any]:
    """The clients that each have a pool."""
    return [*client.nodes.values()] if isinstance(client, AsyncCluster) else [client]
