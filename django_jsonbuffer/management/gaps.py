"""What a command could not know, because a node of a cluster does not answer."""

from collections.abc import Iterator

from django_jsonbuffer import catalog
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store.shards import UNKNOWN_SHARDS


def describe_gaps(gap: BufferUnavailable | None) -> Iterator[str]:
    """A line for each gap: the one in the list of buckets, and that in the list of their shards."""
    if gap is not None:
        yield f"Only declared buckets are known. {gap}"
    if (error := catalog.shards_gap()) is not None:
        yield f"{UNKNOWN_SHARDS} {error}"
