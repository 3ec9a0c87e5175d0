"""Which of many buckets hold events."""

from collections.abc import Sequence
from typing import Final

from django_jsonbuffer.conf import Configuration

from . import calls
from .keys import Identity, bucket_keys
from .scripts import WAITING

MOST_ASKED: Final = 1000
"""Of so many buckets one call asks. It takes Redis about 0.3 ms."""


def waiting(names: Sequence[str], configuration: Configuration) -> list[str]:
    """Those of the buckets that hold events: open, sealed or in flight.

    Takes a round trip for each thousand buckets. Raises :class:`BufferUnavailable`.
    """
    anybody = Identity(configuration.cache, configuration.prefix, "")
    found: list[str] = []
    for start in range(0, len(names), MOST_ASKED):
        asked = names[start : start + MOST_ASKED]
        keys: list[str] = []
        for name in asked:
            its = bucket_keys(configuration.prefix, name)
            keys += (its.open, its.batches)
        places = calls.run(anybody, WAITING, keys, ())
        found += [asked[place - 1] for place in places]
    return found
