"""Each part of redis-py's blocking side that this app uses beyond its documented commands, and why.

``tests/store/test_redis_internals.py`` has a test for each, which fails when that part is gone.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .redis_cluster import Route, is_cluster
from .redis_connections import give_back, take_connection_within
from .redis_internals import AS_BYTES, retries
from .wire import Packed, on_the_wire, packed, unpacked


def execute_once(
    client: Redis, *args: bytes | Packed, key: str, within_seconds: float | None = None
) -> Any:
    """Run a command on the node of `key`, without the retries of the client.

    The client must not retry, because the error of a retry does not say whether the first command
    was carried out. The reply comes as bytes even if the client decodes replies. `within_seconds`
    is how long to wait until the reply begins, if that is less than the timeout of the client.

    Relies on ``connection_pool``, on ``release()`` of a pool, on ``send_packed_command()``,
    ``read_response(disable_decoding=)``, ``can_read()`` and ``disconnect()`` of a connection, on
    ``connection`` of a client that has only one.
    """
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        return _execute_in_cluster(client, args, key, within_seconds)
    if client.connection is not None and not retries(client):
        return _execute(client, args)
    taken = take_connection_within(pool, within_seconds)
    connection = taken.connection
    try:
        if getattr(pool, "cache", None) is None:
            connection.send_packed_command(on_the_wire(args))
        else:
            # Before redis-py 8.1, a client with client-side caching takes the reply to a packed
            # command for the reply to the last command that it cached.
            connection.send_command(*unpacked(args))
        if within_seconds is not None and not connection.can_read(timeout=within_seconds):
            raise RedisTimeoutError(f"No reply within {within_seconds:g} s.")
        reply = connection.read_response(disable_decoding=True)
    except BaseException as error:
        if not isinstance(error, ResponseError):
            connection.disconnect()
        pool.release(connection)
        raise
    give_back(pool, taken)
    return reply


def execute_all_once(
    client: Redis, commands: Sequence[Packed], *, within_seconds: float
) -> list[Any]:
    """The replies to commands for one server as bytes, or their errors, in one round trip.

    Raises ``TimeoutError`` of redis-py if the first reply does not begin within this time.
    """
    pool = client.connection_pool
    taken = take_connection_within(pool, within_seconds)
    connection, replies = taken.connection, list[Any]()
    try:
        connection.send_packed_command([b for each in commands for b in on_the_wire([each])])
        if not connection.can_read(timeout=within_seconds):
            raise RedisTimeoutError(f"No reply within {within_seconds:g} s.")
        for _ in commands:
            try:
                replies.append(connection.read_response(disable_decoding=True))
            except ResponseError as error:
                replies.append(error)
    except BaseException:
        connection.disconnect()
        pool.release(connection)
        raise
    give_back(pool, taken)
    return replies


def execute(
    client: Redis,
    *command: bytes | str | int,
    key: str,
    within_seconds: float | None = None,
) -> Any:
    """Run a command that may be repeated. The reply comes as bytes.

    The client repeats it as its options say. A cluster client would ask a node that hangs again and
    again. So there the command is repeated once, if a connection is lost, and `within_seconds` is
    how long to wait until the reply begins.
    """
    if not is_cluster(client):
        return client.execute_command(*command, **AS_BYTES)  # type: ignore[no-untyped-call]
    whole = packed(*command)
    try:
        return execute_once(client, whole, key=key, within_seconds=within_seconds)
    except RedisConnectionError:
        return execute_once(client, whole, key=key, within_seconds=within_seconds)


def _execute_in_cluster(
    client: Any, args: Iterable[bytes | Packed], key: str, within_seconds: float | None
) -> Any:
    route = Route(client, key)
    while True:
        try:
            if route.is_asking:
                return _execute_asking(route.client, args, key)
            return execute_once(route.client, *args, key=key, within_seconds=within_seconds)
        except BaseException as error:  # noqa: BLE001  (raised again)
            time.sleep(route.follow(error))


def _execute_asking(client: Redis, args: Iterable[bytes | Packed], key: str) -> Any:
    """Run a command on the node to which its slot moves. ``ASKING`` is for one connection."""
    with Redis(connection_pool=client.connection_pool, single_connection_client=True) as one:
        one.execute_command("ASKING")
        return execute_once(one, *args, key=key)


def _execute(client: Redis, args: Iterable[bytes | Packed]) -> Any:
    execute: Callable[..., Any] = client.execute_command
    return execute(*unpacked(args), **AS_BYTES)
