"""Calls of the scripts: each is one command to Redis, and its reply."""

import random
import sys
from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoScriptError

from .clients import clients
from .errors import not_redis, raise_ours
from .keys import Identity
from .redis_internals import AS_BYTES, Packed, execute_once, packed
from .scripts import Script


def new_token() -> str:
    """A text for the field ``token`` of the batches that one call seals.

    It tells two batches with the same id apart. An id comes again if Redis loses its last writes,
    and its clock is set back.
    """
    return f"{random.getrandbits(32):08x}"


def run(
    bucket: Identity, script: Script, keys: Sequence[str], args: Sequence[bytes | str | int]
) -> Any:
    """The reply of a script, as bytes even if the client decodes replies."""
    client, around = clients[bucket.cache], sys.exception()
    execute: Any = client.execute_command
    rest = (len(keys), *keys, *args)
    try:
        try:
            reply = execute("EVALSHA", script.sha, *rest, **AS_BYTES)
        except NoScriptError:
            reply = execute("EVAL", script.source, *rest, **AS_BYTES)
    except BaseException as error:
        raise_ours(error, client, bucket.cache, bucket.name, around=around)
        raise
    shape = tuple(map(type, reply)) if type(reply) is list else type(reply)
    if shape not in script.replies and not (script.check and script.check(reply)):
        raise not_redis(bucket.name)
    return reply


def run_once(
    bucket: Identity, script: Script, keys: Sequence[str], args: Sequence[bytes | Packed]
) -> Any:
    """The reply of a script without the retries of the client. The caller must check the reply.

    The error of a retry would not say whether the first command was carried out.
    """
    client, around = clients[bucket.cache], sys.exception()
    *same, last = keys
    head = packed(len(keys), *same)
    try:
        try:
            evaluate = packed("EVALSHA", script.sha)
            return execute_once(client, evaluate, head, last.encode(), *args, key=last)
        except NoScriptError:
            evaluate, source = packed("EVAL"), script.source.encode()
            return execute_once(client, evaluate, source, head, last.encode(), *args, key=last)
    except BaseException as error:
        raise_ours(error, client, bucket.cache, bucket.name, around=around)
        raise
