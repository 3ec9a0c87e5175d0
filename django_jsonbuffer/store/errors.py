"""Errors of redis-py become errors of this app, here and nowhere else."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import redis.exceptions

from django_jsonbuffer.exceptions import (
    BufferOutOfMemory,
    BufferUnavailable,
    JSONBufferError,
    KeyOccupied,
)

from . import redis_internals
from .clients import clients, misconfigured_option

if TYPE_CHECKING:
    from redis import Redis

DRIVER_ERRORS: Final = (redis.exceptions.RedisError, redis.exceptions.RedisClusterException)

_ARGUMENTS: Final = ", with args beginning with"
"""The part of a server's error that begins with this text quotes the command, and so events or a
password. Servers send it for a command that they do not know."""

_PERMISSIONS: Final = " `manage.py redis_acl` prints the permissions that the user needs."


@contextmanager
def asking(cache: str, name: str | None = None, *, key: str = "") -> "Iterator[Redis]":
    """Yields the client of a cache. Errors of redis-py in the block become errors of this app.

    `name` is the name of the bucket. `key` is the key that the block uses if it is not a key of a
    bucket. Both are for the messages of the errors.
    """
    client, around = clients[cache], sys.exception()
    try:
        yield client
    except BaseException as error:
        raise_ours(error, client, cache, name, key=key, around=around)
        raise


def raise_ours(
    error: BaseException,
    client: "Redis",
    cache: str,
    name: str | None = None,
    *,
    key: str = "",
    around: BaseException | None,
) -> None:
    """Raise this app's error for an error of redis-py. Returns for any other error.

    `around` is the exception, if any, that was already being handled when the call to Redis began.
    """
    if isinstance(error, DRIVER_ERRORS):
        ours = translated(error, name, key=key)
        if isinstance(ours, BufferUnavailable):
            ours.may_be_repeated = not redis_internals.was_stopped(error)
            ours.may_be_done = not (
                ours.may_be_repeated and redis_internals.was_not_sent(error, around=around)
            )
        raise ours from None if _ARGUMENTS in str(error) else error
    if option := redis_internals.wrong_option(error):
        raise misconfigured_option(cache, option) from error
    # The error may have come before the reply to a command was read. The next user of the
    # connection would read this old reply.
    redis_internals.close_idle(client)


def translated(error: Exception, name: str | None = None, *, key: str = "") -> JSONBufferError:
    """This app's error for an error of redis-py. What may quote events or a password is cut off."""
    bucket = f" for bucket {name!r}" if name else ""
    # The error of a command inside a script ends with its place in the script, which is cut off.
    # Before Redis 7.0, the code of such an error is only in the text.
    text = str(error).partition(" script: ")[0].partition(_ARGUMENTS)[0]
    if isinstance(error, redis.exceptions.OutOfMemoryError) or "OOM " in text:
        return BufferOutOfMemory(
            f"Redis has no memory left{bucket}. Nothing was written. Start more workers, or raise "
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
        return BufferUnavailable(f"Redis refuses the login of this site{bucket}: {text}")
    if isinstance(error, redis.exceptions.TimeoutError | redis.exceptions.ConnectionError):
        unavailable = BufferUnavailable(f"Redis cannot be reached{bucket}: {text}")
        unavailable.is_unreachable = not (
            isinstance(error, redis.exceptions.BusyLoadingError)
            or redis_internals.is_pool_exhausted(error)
        )
        return unavailable
    hint = "" if not redis_internals.is_about_permissions(error) else _PERMISSIONS
    return BufferUnavailable(f"Redis refused a command{bucket}: {text}{hint}")


def not_redis(name: str | None = None) -> BufferUnavailable:
    """The error for a reply that Redis never gives."""
    bucket = f" for bucket {name!r}" if name else ""
    unavailable = BufferUnavailable(
        f"The server that answered{bucket} is not Redis: its reply has no known form. Check CACHES."
    )
    unavailable.may_be_done = True
    return unavailable
