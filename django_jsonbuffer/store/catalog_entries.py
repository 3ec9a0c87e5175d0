"""The catalog: the names of all buckets that were ever appended to."""

import logging
from datetime import timedelta
from typing import Any, Final

from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.exceptions import JSONBufferError

from .errors import PATIENCE, ask, not_redis
from .keys import Identity, catalog_key
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
