"""The history of a bucket: samples that its workers take once a minute."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django_jsonbuffer.conf import Configuration

from .errors import ask
from .keys import bucket_keys
from .redis_internals import AS_BYTES
from .replies import are_texts

if TYPE_CHECKING:
    from redis import Redis

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
    """The samples of each bucket, oldest first, in one round trip."""
    keys = [bucket_keys(configuration.prefix, name).history for name in names]

    def question(client: "Redis") -> list[Any]:
        with client.pipeline(transaction=False) as pipeline:
            queue: Callable[..., Any] = pipeline.execute_command
            for key in keys:
                queue("LRANGE", key, 0, -1, **AS_BYTES)
            return pipeline.execute(raise_on_error=False)

    return [_samples(reply) for reply in ask(configuration.cache, question)]


def _samples(texts: Any) -> list[Sample]:
    """The valid samples. Another client may have overwritten some of them, or the whole key."""
    if not are_texts(texts):
        return []
    rows = [text.split(b" ") for text in texts if _SAMPLE.fullmatch(text)]
    return [
        Sample(datetime.fromtimestamp(int(ms) / 1000, UTC), *map(int, figures))
        for ms, *figures in rows
    ]
