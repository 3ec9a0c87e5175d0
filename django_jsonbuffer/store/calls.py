"""Calls of the scripts: each is one command to Redis, and its reply."""

import asyncio
import random
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache, partial
from typing import Any

from redis.exceptions import NoScriptError

from . import redis_asyncio, redis_blocking, redis_pairs
from .async_clients import client_of_loop
from .clients import clients
from .coroutines import finish
from .durability import confirmed, wait_of
from .errors import PATIENCE, call, not_redis, pause_or_raise, pauses_of
from .keys import Identity
from .redis_blocking import execute_once
from .scripts import Script
from .wire import Packed, packed


def new_token() -> bytes:
    """A text for the field ``token`` of the batches that one call seals.

    It tells two batches with the same id apart. An id comes again if Redis loses its last writes,
    and its clock is set back.
    """
    return b"%08x" % random.getrandbits(32)


async def execute(bucket: Identity, *command: str, key: str, patience: timedelta = PATIENCE) -> Any:
    """The reply to a command. `key` is its key, for the messages of the errors."""
    client: Any = clients[bucket.cache]
    question = partial(redis_blocking.execute, client, *command, key=key)
    return call(question, client, bucket.cache, bucket.name, key=key, patience=patience)


def run(
    bucket: Identity,
    script: Script,
    keys: Sequence[str],
    args: Sequence[bytes | str | int],
    *,
    within_seconds: float | None = None,
) -> Any:
    """The reply of a script, as bytes even if the client decodes replies.

    In a cluster, `within_seconds` is how long to wait until the reply begins.
    """
    client = clients[bucket.cache]
    execute = partial(redis_blocking.execute, client, key=keys[0], within_seconds=within_seconds)
    rest = (len(keys), *keys, *args)

    def question() -> Any:
        try:
            return execute("EVALSHA", script.sha, *rest)
        except NoScriptError:
            return execute("EVAL", script.source, *rest)

    reply = call(question, client, bucket.cache, bucket.name)
    shape = tuple(map(type, reply)) if type(reply) is list else type(reply)
    if shape not in script.replies and not (script.check and script.check(reply)):
        raise not_redis(bucket.name)
    return reply


async def run_once(
    bucket: Identity,
    script: Script,
    keys: tuple[str, ...],
    args: Sequence[bytes | Packed],
    *,
    patience: timedelta = PATIENCE,
    durability: str | None = None,
) -> Any:
    """The reply of a script without the retries of the client. The caller must check the reply.

    The error of a retry would not say whether the first command was carried out. `patience` is how
    long to wait for a connection. With `durability`, the script is the append, and `patience` is
    also how long to wait for the confirmation. Without one, raises the errors of
    :func:`.durability.confirmed`.
    """
    client, around, pauses = clients[bucket.cache], sys.exception(), None
    execute: Any = execute_once
    if durability is not None:
        execute = partial(redis_pairs.execute_both, wait=wait_of(durability, patience))
    while True:
        # Not by call(), because its function calls are measurable in an append.
        try:
            try:
                reply = execute(client, *_by_sha(script, keys, args), key=keys[0])
            except NoScriptError:
                reply = execute(client, *_by_source(script, keys, args), key=keys[0])
        except BaseException as error:  # noqa: BLE001  (raised again as an error of this app)
            pauses = pauses or pauses_of(patience)
            pause = pause_or_raise(error, pauses, client, bucket.cache, bucket.name, around=around)
            time.sleep(pause)
        else:
            return reply if durability is None else confirmed(reply, durability, bucket.name)


async def arun_once(
    bucket: Identity,
    script: Script,
    keys: tuple[str, ...],
    args: Sequence[bytes | Packed],
    *,
    patience: timedelta = PATIENCE,
    durability: str | None = None,
) -> Any:
    """Like :func:`run_once`, for a task of the running event loop.

    If the client of the cache has no asyncio counterpart, a thread runs the script.
    """
    if (client := client_of_loop(bucket.cache)) is None:
        call = run_once(bucket, script, keys, args, patience=patience, durability=durability)
        return await asyncio.to_thread(finish, call)
    around, pauses = sys.exception(), None
    execute: Any = redis_asyncio.execute_once
    if durability is not None:
        execute = partial(redis_pairs.aexecute_both, wait=wait_of(durability, patience))
    while True:
        try:
            try:
                reply = await execute(client, *_by_sha(script, keys, args), key=keys[0])
            except NoScriptError:
                reply = await execute(client, *_by_source(script, keys, args), key=keys[0])
        except BaseException as error:  # noqa: BLE001  (raised again as an error of this app)
            pauses = pauses or pauses_of(patience)
            pause = pause_or_raise(error, pauses, None, bucket.cache, bucket.name, around=around)
            await asyncio.sleep(pause)
        else:
            return reply if durability is None else confirmed(reply, durability, bucket.name)


async def aexecute(
    bucket: Identity, *command: str, key: str, patience: timedelta = PATIENCE
) -> Any:
    """Like :func:`execute`, for a task of the running event loop."""
    if (client := client_of_loop(bucket.cache)) is None:
        reply = execute(bucket, *command, key=key, patience=patience)
        return await asyncio.to_thread(finish, reply)
    around, pauses = sys.exception(), pauses_of(patience)
    while True:
        try:
            return await redis_asyncio.execute(client, *command, key=key)
        except BaseException as error:  # noqa: BLE001  (raised again as an error of this app)
            pause = pause_or_raise(
                error, pauses, None, bucket.cache, bucket.name, key=key, around=around
            )
            await asyncio.sleep(pause)


Parts = tuple[bytes | Packed, ...]


def _by_sha(script: Script, keys: tuple[str, ...], args: Sequence[bytes | Packed]) -> Parts:
    return _start(script, keys), *args


def _by_source(script: Script, keys: tuple[str, ...], args: Sequence[bytes | Packed]) -> Parts:
    return packed("EVAL", script.source, len(keys), *keys), *args


@lru_cache(1000)
def _start(script: Script, keys: tuple[str, ...]) -> Packed:
    return packed("EVALSHA", script.sha, len(keys), *keys)
