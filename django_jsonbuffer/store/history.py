"""The history of a bucket: samples that its workers take once a minute."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from django_jsonbuffer.conf import Configuration

from . import nodes
from .keys import bucket_keys
from .replies import are_texts

_SAMPLE: Final = re.compile(rb"[0-9]{1,14}( [0-9]{1,15}){4}")
"""Five numbers. Milliseconds of 14 digits reach to the year 5138, which datetime can hold."""


class Sample(NamedTuple):
    """The counters of a bucket at the time when a worker noted them."""

    at: datetime
    pending: int
    dead: int
    appended: int
    """All events that were appended so far."""

    processed: int
    """All events that were processed so far."""


def histories(names: Sequence[str], configuration: Configuration) -> list[list[Sample]]:
    """The samples of each bucket, oldest first, in one round trip for 500 buckets."""
    keys = [bucket_keys(configuration.prefix, name).history for name in names]
    calls = [nodes.Call(key, ("LRANGE", key, 0, -1)) for key in keys]
    return [_samples(reply) for reply in nodes.replies(configuration.cache, calls)]


def _samples(texts: Any) -> list[Sample]:
    """The valid samples. Another client may have overwritten some of them, or the whole key."""
    if not are_texts(texts):
        return []
    rows = [text.split(b" ") for text in texts if _SAMPLE.fullmatch(text)]
    return [
        Sample(datetime.fromtimestamp(int(ms) / 1000, UTC), *map(int, figures))
        for ms, *figures in rows
    ]
