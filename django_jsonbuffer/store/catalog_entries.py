"""The catalog: the names of all buckets that were ever appended to."""

import logging
from contextlib import suppress
from dataclasses import astuple
from datetime import timedelta
from operator import methodcaller
from typing import Any, Final

from django_jsonbuffer import isolation
from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.exceptions import JSONBufferError

from .errors import PATIENCE, ask, not_redis
from .keys import Identity, bucket_keys, catalog_key
from .links import Link

logger = logging.getLogger("django_jsonbuffer")

written: Final[set[Identity]] = set()
"""The buckets that this process has written into the catalog."""

_MOST_WRITTEN: Final = 10_000


async def write(bucket: Identity, link: Link, *, patience: timedelta = PATIENCE) -> None:
    """Write the bucket into the catalog, before the first append of this process to it.

    So the bucket can be found before it has events. The append script cannot do this, because in a
    cluster the catalog is on another node.
    """
    key = catalog_key(bucket.prefix)
    await link.execute(bucket, "SADD", key, bucket.name, key=key, patience=patience)
    if len(written) >= _MOST_WRITTEN:
        written.clear()
    written.add(bucket)


async def write_again(bucket: Identity, link: Link) -> None:
    """Write the bucket again after an append that found no counters: the catalog may be lost too.

    An error is logged and not raised, because the append is done.
    """
    try:
        await write(bucket, link)
    except JSONBufferError as error:
        written.discard(bucket)
        logger.warning(
            "Bucket %s is not in the catalog of buckets yet: %s",
            bucket.name,
            error,
            extra={"bucket": bucket.name},
        )


@isolation.at_end
def _remove_keys(of: isolation.Isolation) -> None:
    """Remove the keys that tests have made in the Redis of the site."""
    ended = {bucket for bucket in written if bucket[:2] in of.places}
    written.difference_update(ended)
    for cache, prefix in {bucket[:2] for bucket in ended} if of.mode == "redis" else ():
        with suppress(JSONBufferError):
            current = Configuration(cache=cache, prefix=prefix)
            buckets = [bucket_keys(prefix, name) for name in names(current)]
            keys = [key for bucket in buckets for key in astuple(bucket)]
            for key in (*keys, catalog_key(prefix)):
                ask(cache, methodcaller("delete", key))


def names(configuration: Configuration) -> set[str]:
    """The name of every bucket that was ever appended to."""
    key = catalog_key(configuration.prefix)
    members: Any = ask(configuration.cache, lambda client: client.smembers(key), key=key)
    try:
        return {
            member.decode(errors="replace") if isinstance(member, bytes) else member
            for member in members
        }
    except TypeError as error:
        raise not_redis() from error
