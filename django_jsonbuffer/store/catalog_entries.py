"""The catalog: the names of all buckets that were ever appended to."""

import logging
from contextlib import suppress
from dataclasses import astuple
from datetime import timedelta
from operator import methodcaller
from typing import Final

from django_jsonbuffer import isolation
from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.exceptions import JSONBufferError

from . import nodes
from .errors import PATIENCE, ask, not_redis, translated
from .keys import Identity, bucket_keys, catalog_key, shards_key
from .links import Link

logger = logging.getLogger("django_jsonbuffer")

written: Final[set[Identity]] = set()
"""The buckets that this process has written into the catalog."""

_MOST_WRITTEN: Final = 10_000


def entries(bucket: Identity) -> list[tuple[str, str]]:
    """The keys of sets, and the name that each should have. A shard above 0 has one of its own.

    It is the first, because the bucket may be found in the catalog already.
    """
    own = [(catalog_key(bucket.prefix), bucket.bucket)]
    return own if bucket.name == bucket.bucket else [(shards_key(bucket.prefix), bucket.name), *own]


async def add(bucket: Identity, entry: tuple[str, str], link: Link, patience: timedelta) -> None:
    key, member = entry
    await link.execute(bucket, "SADD", key, member, key=key, patience=patience)


async def write(bucket: Identity, link: Link, *, patience: timedelta = PATIENCE) -> None:
    """Write the bucket into the catalog, before the first append of this process to it.

    So the bucket can be found before it has events. The append script cannot do this, because in a
    cluster the catalog is on another node: see :mod:`.late_entries`.
    """
    for entry in entries(bucket):
        await add(bucket, entry, link, patience)
    note_written(bucket)


def note_written(bucket: Identity) -> None:
    if len(written) >= _MOST_WRITTEN:
        written.clear()
    written.add(bucket)


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
