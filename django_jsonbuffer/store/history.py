"""The history of a bucket: samples that its workers take once a minute."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from django_jsonbuffer.conf import Configuration

from . import nodes
from .keys import Keys
from .replies import are_texts
from .shards import ONE_EACH, ask_all, asking

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


def histories(
    names: Sequence[str], configuration: Configuration, counts: Mapping[str, int] = ONE_EACH
) -> list[list[Sample]]:
    """The samples of each bucket, oldest first, in one round trip for 500 shards.

    `counts` are the numbers of shards that are known, by name.
    """

    found, _ = ask_all(names, configuration, counts, asking(configuration, _call))
    return [_total([_samples(each.reply) for each in shards]) for shards in found]


def _call(keys: Keys) -> nodes.Call:
    return nodes.Call(keys.history, ("LRANGE", keys.history, 0, -1))


def _total(shards: Sequence[Sequence[Sample]]) -> list[Sample]:
    """The samples of a bucket with these shards: one for each minute in which there is any.

    A worker takes the samples of the shards at different moments. So each has the last known
    figures of all shards. Those of a shard before its first sample are those of this sample.
    """
    taken = [samples for samples in shards if samples]
    if len(taken) < 2:
        return [*taken[0]] if taken else []
    latest = [samples[0] for samples in taken]
    of_minutes: dict[int, Sample] = {}
    merged = sorted((sample, place) for place, its in enumerate(taken) for sample in its)
    for sample, place in merged:
        latest[place] = sample
        figures = map(sum, zip(*(each[1:] for each in latest), strict=True))
        of_minutes[int(sample.at.timestamp() // 60)] = Sample(sample.at, *figures)
    return [*of_minutes.values()]


def _samples(texts: Any) -> list[Sample]:
    """The valid samples. Another client may have overwritten some of them, or the whole key."""
    if not are_texts(texts):
        return []
    rows = [text.split(b" ") for text in texts if _SAMPLE.fullmatch(text)]
    return [
        Sample(datetime.fromtimestamp(int(ms) / 1000, UTC), *map(int, figures))
        for ms, *figures in rows
    ]
