"""Log lines and signals about what a script has found in a bucket."""

import logging

from django_jsonbuffer.signals import events_buried, events_dropped

from . import late_entries
from .appends import Outcome
from .keys import Identity
from .links import Link

logger = logging.getLogger("django_jsonbuffer")


async def of_append(bucket: Identity, append: Outcome, link: Link) -> None:
    """Report what an append has found, and write the catalog again if it may be lost."""
    name = bucket.bucket
    of_foreign(name, append.foreign)
    if append.dropped:
        text = "Bucket %s is full. Dropped: %d events."
        logger.warning(text, name, append.dropped, extra={"bucket": name})
        reason = "newest" if append.drops_newest else "oldest"
        events_dropped.announce(name, count=append.dropped, reason=reason, error=None)
    if append.is_new:
        await late_entries.write_again(bucket, link)


def of_foreign(name: str, count: int) -> None:
    """Report that foreign values of the bucket `name` became dead letters, if there were any."""
    if count:
        text = (
            "Bucket %s contained values from another client that are not JSON arrays of events. "
            "They are dead letters: %d."
        )
        logger.warning(text, name, count, extra={"bucket": name})
        errors = ["The value is not a JSON array of events."] * count
        events_buried.announce(
            name, count=count, reason="foreign", errors=errors, batch_id=None, attempt=None
        )
