"""Which of many buckets hold events."""

from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from django_jsonbuffer.conf import Configuration

from . import calls
from .clients import clients
from .errors import DRIVER_ERRORS
from .keys import Identity, bucket_keys
from .nodes import Call, replies
from .redis_cluster import is_cluster
from .scripts import WAITING

MOST_ASKED: Final = 1000
"""Of so many buckets one call asks. It takes Redis about 0.3 ms."""

_LONGEST_WAIT_SECONDS: Final = 0.5
"""How long to wait for a node of a cluster."""


def waiting(names: Sequence[str], configuration: Configuration) -> dict[str, bool]:
    """Those of the buckets that hold events, and whether they hold more than an open batch.

    Takes a round trip for each thousand buckets. In a cluster, the buckets of a node that does not
    answer are left out. Raises :class:`BufferUnavailable`.
    """
    if is_cluster(clients[configuration.cache]):
        return _waiting_in_cluster(names, configuration)
    anybody = Identity(configuration.cache, configuration.prefix, "")
    found: dict[str, bool] = {}
    for start in range(0, len(names), MOST_ASKED):
        asked = names[start : start + MOST_ASKED]
        keys: list[str] = []
        for name in asked:
            its = bucket_keys(configuration.prefix, name)
            keys += (its.open, its.batches)
        places = calls.run(anybody, WAITING, keys, ())
        found |= {asked[abs(place) - 1]: place < 0 for place in places}
    return found


def _waiting_in_cluster(names: Sequence[str], configuration: Configuration) -> dict[str, bool]:
    """Ask each node with two commands for each bucket, because a script has keys of one slot."""
    asked: list[Call] = []
    for name in names:
        its = bucket_keys(configuration.prefix, name)
        asked += [
            Call(its.open, ("GETRANGE", its.open, 0, 0)),
            Call(its.open, ("XLEN", its.batches)),
        ]
    found = replies(configuration.cache, asked, within_seconds=_LONGEST_WAIT_SECONDS)
    return {
        name: _is_something(entries)
        for name, first, entries in zip(names, found[::2], found[1::2], strict=True)
        if _is_something(first) or _is_something(entries)
    }


def _is_something(reply: Any) -> bool:
    """Also for a key of another type. Not for a node that does not answer."""
    is_error = isinstance(reply, DRIVER_ERRORS)
    return isinstance(reply, ResponseError) if is_error else bool(reply)
