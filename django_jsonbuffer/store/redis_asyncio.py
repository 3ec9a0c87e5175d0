"""Each part of redis-py's asyncio side that this app uses beyond its documented commands, and why.

``tests/store/test_redis_asyncio.py`` has a test for each, which fails when that part is gone.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, Never, TypeAlias

import redis.asyncio as aio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .redis_internals import AS_BYTES
from .wire import Packed, on_the_wire, unpacked

AsyncClient: TypeAlias = aio.Redis | aio.RedisCluster

_MAY_CONTAIN_ANOTHER: Final = (RedisConnectionError, RedisClusterException)
"""Errors into which redis-py may put another one."""


async def execute_once(client: AsyncClient, *args: bytes | Packed, key: str) -> Any:
    """Run a command on the node of `key`, without the retries of the client.

    As :func:`.redis_blocking.execute_once`. If the task is cancelled, the connection is closed, so
    that no other command reads the reply.
    """
    try:
        if isinstance(client, aio.RedisCluster):
            return await _execute_in_cluster(client, args, key)
        return await _execute(client.connection_pool, args)
    except _MAY_CONTAIN_ANOTHER as error:
        _raise_innermost(error)


async def execute(client: AsyncClient, *command: str) -> Any:
    """Run a command with the retries of the client. Raises the errors of :func:`execute_once`."""
    execute: Any = client.execute_command
    try:
        if isinstance(client, aio.RedisCluster):
            return await _with_all_nodes(client, execute(*command))
        return await execute(*command)
    except _MAY_CONTAIN_ANOTHER as error:
        _raise_innermost(error)


def _raise_innermost(error: Exception) -> Never:
    """Raise the error that redis-py has put into this one, if there is one.

    Relies on its ``__cause__``. Redis-py puts the refusal of a login on a unix socket into another
    error, and the last error of a cluster that has no node left.
    """
    cause = error.__cause__
    if not isinstance(cause, RedisError):
        raise error
    reason = cause.__context__  # raising it puts another one there
    try:
        raise cause
    finally:
        cause.__context__ = reason


async def _execute(pool: Any, args: Sequence[bytes | Packed]) -> Any:
    """Relies on ``get_connection()`` and ``release()`` of a pool, and on ``check_health()``."""
    connection = await pool.get_connection()
    try:
        if _is_lost(connection):
            await connection.disconnect(nowait=True)
            await connection.connect()
        await connection.check_health()
        return await _reply(connection, on_the_wire(args))
    except ResponseError:
        raise
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    finally:
        await pool.release(connection)


def _is_lost(connection: Any) -> bool:
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
    client: aio.RedisCluster, args: Sequence[bytes | Packed], key: str
) -> Any:
    """Relies on ``get_node_from_key()``, and on ``target_nodes=``.

    A cluster client follows a node's redirection, but does not retry on nodes that its caller
    names.
    """
    await client.initialize()
    execute: Any = client.execute_command
    node: Any = client.get_node_from_key(key)
    call = execute(*unpacked(args), **AS_BYTES, target_nodes=node)
    return await _with_all_nodes(client, call)


async def _with_all_nodes(client: aio.RedisCluster, call: Awaitable[Any]) -> Any:
    """The result of a call of a cluster client, which still knows all its nodes after an error.

    That of redis-py 7.1 and older forgets a node that it cannot reach. Without any node it could
    never connect again. Relies on ``startup_nodes``.
    """
    nodes = dict(client.nodes_manager.startup_nodes)
    try:
        return await call
    except (RedisError, RedisClusterException):
        client.nodes_manager.startup_nodes = nodes | client.nodes_manager.startup_nodes
        raise


async def close(client: AsyncClient) -> None:
    """Close all connections of a client, in its event loop."""
    with suppress(RedisError, OSError):
        await client.aclose()
    disconnects = [each.disconnect() for each in _connections(client)]
    await asyncio.gather(*disconnects, return_exceptions=True)


def is_in_use(client: Any) -> bool:
    """Whether a task uses a connection of the client at this moment."""
    if isinstance(client, aio.RedisCluster):
        return any(len(node._connections) > len(node._free) for node in _nodes(client))
    return bool(client.connection_pool._in_use_connections)


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
    if isinstance(client, aio.RedisCluster):
        client._initialize = True  # or it warns of itself


def _connections(client: Any) -> Iterator[Any]:
    """All connections of a client, also those that are in use and those to its sentinels."""
    if isinstance(client, aio.RedisCluster):
        for node in _nodes(client):
            yield from node._connections
        return
    pool = client.connection_pool
    yield from [*pool._available_connections, *pool._in_use_connections]
    for sentinel_client in getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()):
        yield from _connections(sentinel_client)


def _nodes(client: Any) -> Iterable[Any]:
    """The nodes of a cluster client, each once. Those of redis-py 7.1 and older have no hash."""
    nodes = client.nodes_manager
    both = [*nodes.nodes_cache.values(), *nodes.startup_nodes.values()]
    return {id(node): node for node in both}.values()
