"""The catalog: the names of all buckets that were ever appended to."""

import logging
import os
import time
from contextlib import suppress
from dataclasses import astuple
from datetime import timedelta
from operator import methodcaller
from threading import Thread
from typing import Final, NamedTuple

from django_jsonbuffer import isolation
from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.exceptions import BufferMisconfigured, BufferUnavailable, JSONBufferError

from . import nodes
from .clients import clients
from .coroutines import finish
from .errors import PATIENCE, ask, not_redis, translated
from .keys import Identity, bucket_keys, catalog_key, shards_key
from .links import BLOCKING, Link
from .redis_cluster import is_cluster, owner_name
from .redis_internals import is_about_permissions

logger = logging.getLogger("django_jsonbuffer")

written: Final[set[Identity]] = set()
"""The buckets that this process has written into the catalog."""

_MOST_WRITTEN: Final = 10_000

_PAUSE_SECONDS: Final = 1.0


async def write(bucket: Identity, link: Link, *, patience: timedelta = PATIENCE) -> None:
    """Write the bucket into the catalog, before the first append of this process to it.

    So the bucket can be found before it has events. The append script cannot do this, because in a
    cluster the catalog is on another node. A shard above 0 is written as well.
    """
    entries = [(catalog_key(bucket.prefix), bucket.bucket)]
    if bucket.name != bucket.bucket:
        # First, because the bucket may be found in the catalog already.
        entries.insert(0, (shards_key(bucket.prefix), bucket.name))
    for key, member in entries:
        await link.execute(bucket, "SADD", key, member, key=key, patience=patience)
    if len(written) >= _MOST_WRITTEN:
        written.clear()
    written.add(bucket)


async def write_before_append(
    bucket: Identity, link: Link, *, patience: timedelta, is_needed: bool = False
) -> None:
    """Write the bucket. If another node has the catalog and is down, a thread writes it later.

    `is_needed` says that workers find the bucket only if it is in the catalog. Then raises
    :class:`BufferUnavailable` if it cannot be written and was never appended to: this process may
    end before the thread has written it.
    """
    if not (gap := _gap_in(bucket)):
        try:
            await write(bucket, link, patience=patience)
        except BufferUnavailable as error:
            if not _is_of_another_node(bucket, error):
                raise
            gap = str(error)
            _gaps[bucket[:2]] = _Gap(gap, time.monotonic() + _PAUSE_SECONDS)
            _warn(bucket, error)
        else:
            return
    if is_needed and not await _was_appended_to(bucket, link, patience=patience):
        raise BufferUnavailable(
            f"Bucket {bucket.bucket!r} is new, and its name could not be written into the catalog, "
            f"in which workers look for it. Nothing was appended. {gap}"
        )
    _write_later(bucket)


async def _was_appended_to(bucket: Identity, link: Link, *, patience: timedelta) -> bool:
    key = bucket_keys(bucket.prefix, bucket.name).appends
    found = await link.execute(bucket, "HGET", key, "since", key=key, patience=patience)
    return found is not None


class _Gap(NamedTuple):
    """A catalog that could not be written."""

    reason: str
    ends_at: float
    """Until when it is not tried again, on the monotonic clock."""


_gaps: Final[dict[tuple[str, str], _Gap]] = {}
"""By the alias and the prefix."""


def _gap_in(bucket: Identity) -> str:
    """Why the catalog is not tried at this moment. Empty if it is."""
    reason, ends_at = _gaps.get(bucket[:2], ("", 0.0))
    lasts = time.monotonic() < ends_at or any(other[:2] == bucket[:2] for other in [*unwritten])
    return reason if lasts else ""


def _is_of_another_node(bucket: Identity, error: BufferUnavailable) -> bool:
    client, key = clients[bucket.cache], bucket_keys(bucket.prefix, bucket.name).open
    if not is_cluster(client) or owner_name(client, key) in ("", error.node):
        return False
    cause = error.__cause__
    return cause is None or not is_about_permissions(cause)


async def write_again(bucket: Identity, link: Link) -> None:
    """Write the bucket again after an append that found no counters: the catalog may be lost too.

    An error is logged and not raised, because the append is done.
    """
    if bucket in unwritten:
        return
    try:
        await write(bucket, link)
    except JSONBufferError as error:
        written.discard(bucket)
        _warn(bucket, error)


def _warn(bucket: Identity, error: JSONBufferError) -> None:
    text = "Bucket %s could not be written into the catalog of buckets. It is tried again. %s"
    logger.warning(text, bucket.bucket, error, extra={"bucket": bucket.bucket})


unwritten: Final[set[Identity]] = set()
"""The buckets that a thread writes into the catalog as soon as its node answers."""


def _write_later(bucket: Identity) -> None:
    """Let a thread write the bucket, so that no other append waits for the node of the catalog."""
    is_first = not unwritten
    written.add(bucket)
    unwritten.add(bucket)
    if is_first:
        thread = Thread(target=_write_unwritten, name="jsonbuffer-catalog", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter ends
            _forget_unwritten()


def _write_unwritten() -> None:
    while unwritten:
        time.sleep(_PAUSE_SECONDS)
        for catalog in {bucket[:2] for bucket in [*unwritten]}:
            buckets = [bucket for bucket in [*unwritten] if bucket[:2] == catalog]
            with suppress(BufferUnavailable):
                for bucket in buckets:
                    try:
                        finish(write(bucket, BLOCKING))
                    except BufferMisconfigured:
                        logger.debug("The cache of bucket %s is gone.", bucket.name)
                    unwritten.discard(bucket)


def _forget_unwritten() -> None:
    """Let the next appends write the buckets, because no thread does. Also in a forked child."""
    written.difference_update(unwritten)
    unwritten.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_unwritten)


@isolation.at_end
def _remove_keys(of: isolation.Isolation) -> None:
    """Remove the keys that tests have made in the Redis of the site."""
    ended = {bucket for bucket in written if bucket[:2] in of.places}
    written.difference_update(ended)
    for cache, prefix in {bucket[:2] for bucket in ended} if of.mode == "redis" else ():
        with suppress(JSONBufferError):
            current = Configuration(cache=cache, prefix=prefix)
            shared = [catalog_key(prefix), shards_key(prefix)]
            found = [name for key in shared for name in _members(key, current)]
            keys = [key for name in found for key in astuple(bucket_keys(prefix, name))]
            for key in (*keys, *shared):
                ask(cache, methodcaller("delete", key))


def names(configuration: Configuration) -> set[str]:
    """The name of every bucket that was ever appended to."""
    return _members(catalog_key(configuration.prefix), configuration)


def _members(key: str, configuration: Configuration) -> set[str]:
    [members] = nodes.replies(configuration.cache, [nodes.Call(key, ("SMEMBERS", key))])
    if isinstance(members, Exception):
        raise translated(members, key=key) from members
    try:
        return {member.decode(errors="replace") for member in members}
    except (AttributeError, TypeError) as error:
        raise not_redis() from error
