"""Calls of the scripts: each is one command to Redis, and its reply."""

import random
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from redis.exceptions import NoScriptError

from .clients import clients
from .errors import call, not_redis, pauses_of, wait_or_raise
from .keys import Identity
from .redis_internals import AS_BYTES, Packed, execute_once, packed
from .scripts import Script


def new_token() -> bytes:
    """A text for the field ``token`` of the batches that one call seals.

    It tells two batches with the same id apart. An id comes again if Redis loses its last writes,
    and its clock is set back.
    """
    return b"%08x" % random.getrandbits(32)


def run(
    bucket: Identity, script: Script, keys: Sequence[str], args: Sequence[bytes | str | int]
) -> Any:
    """The reply of a script, as bytes even if the client decodes replies."""
    client = clients[bucket.cache]
    execute: Any = client.execute_command
    rest = (len(keys), *keys, *args)

    def question() -> Any:
        try:
            return execute("EVALSHA", script.sha, *rest, **AS_BYTES)
        except NoScriptError:
            return execute("EVAL", script.source, *rest, **AS_BYTES)

    reply = call(question, client, bucket.cache, bucket.name)
    shape = tuple(map(type, reply)) if type(reply) is list else type(reply)
    if shape not in script.replies and not (script.check and script.check(reply)):
        raise not_redis(bucket.name)
    return reply


def run_once(
    bucket: Identity,
    script: Script,
    keys: Sequence[str],
    args: Sequence[bytes | Packed],
    *,
    patience: timedelta,
) -> Any:
    """The reply of a script without the retries of the client. The caller must check the reply.

    The error of a retry would not say whether the first command was carried out. `patience` is how
    long to wait for a connection.
    """
    client, around, pauses = clients[bucket.cache], sys.exception(), None
    *same, last = keys
    head = packed(len(keys), *same)
    while True:
        # Not by call(), because its function calls are measurable in an append.
        try:
            try:
                evaluate = packed("EVALSHA", script.sha)
                return execute_once(client, evaluate, head, last.encode(), *args, key=last)
            except NoScriptError:
                evaluate, source = packed("EVAL"), script.source.encode()
                return execute_once(client, evaluate, source, head, last.encode(), *args, key=last)
        except BaseException as error:  # noqa: BLE001  (raised again as an error of this app)
            pauses = pauses or pauses_of(patience)
            wait_or_raise(error, pauses, client, bucket.cache, bucket.name, around=around)
