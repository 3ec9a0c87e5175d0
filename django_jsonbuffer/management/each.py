"""One bucket after the other: an error of one does not stop the others."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from django_jsonbuffer import catalog
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.exceptions import BufferUnavailable, JSONBufferError

T = TypeVar("T")


def each(
    buckets: Iterable[Bucket], function: Callable[[Bucket], T]
) -> Iterator[tuple[Bucket, T | JSONBufferError]]:
    """What the function returns for each bucket, or its error.

    A node of a cluster that does not answer is asked once for all its buckets, except for those
    with several shards, of which other nodes may have some. If Redis is unreachable as a whole, it
    is not asked again.
    """
    away: dict[str, BufferUnavailable] = {}
    for bucket in buckets:
        known = away.get(catalog.node_of(bucket)) if away else None
        if known is not None and (not known.node or catalog.shards_of(bucket) == 1):
            yield bucket, known
            continue
        found: T | JSONBufferError
        try:
            found = function(bucket)
        except JSONBufferError as error:
            found = error
            if isinstance(error, BufferUnavailable) and error.is_unreachable:
                away[error.node] = error
        yield bucket, found
