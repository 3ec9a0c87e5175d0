"""The names of a bucket's keys. Each is spelled here and nowhere else."""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from django_jsonbuffer.exceptions import InvalidBucketName

_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")


def is_valid_name(name: object) -> bool:
    return isinstance(name, str) and _SAFE_NAME.fullmatch(name) is not None


def validated_name(name: str) -> str:
    """The name as plain text. Raises :class:`InvalidBucketName`.

    Braces are not allowed, because the name is the hash tag of the bucket's keys. If a name had a
    brace, the keys would be in several cluster slots, or be the keys of another bucket.
    """
    if is_valid_name(name):
        # A member of a str Enum has another text in an f-string, and so in a key.
        return str.__str__(name)
    shown = repr(name) if len(repr(name)) <= 60 else f"{repr(name)[:60]}…"
    raise InvalidBucketName(
        f"{shown} cannot be the name of a bucket: use 1 to 100 ASCII letters, digits and "
        "_ . : -, beginning with a letter or a digit."
    )


class Identity(NamedTuple):
    """Distinguishes a bucket from every other bucket of this process."""

    cache: str
    """Alias in ``CACHES``."""

    prefix: str
    """First part of every key."""

    name: str


PRODUCER: Final = ":producer:"
"""Follows the key of the open batch, before the id of a producer. STRING, expires: the last append
of this producer, if an older version of this app sent it."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one bucket. All share a hash tag, so one script may use them in a cluster."""

    open: str
    """STRING: the open batch, a JSON array of events. Absent when empty."""

    batches: str
    """STREAM: the sealed batches. The idle times of its consumer group are the leases."""

    dead: str
    """STREAM: the dead letters."""

    stats: str
    """HASH: the counters."""

    appends: str
    """HASH: the open batch as a script left it, and the last append of each producer."""

    old_appends: str
    """HASH: the appends until their producers were last forgotten."""

    attempts: str
    """HASH: for each sealed batch, its failures, deaths and outages so far."""

    workers: str
    """HASH: the workers, and when each wrote its last heartbeat."""

    history: str
    """LIST: samples of the bucket's counters."""

    paused: str
    """STRING: the time (ms) when the bucket was paused. Absent when it is not paused."""


def bucket_keys(prefix: str, name: str) -> Keys:
    bucket = f"{prefix}:{{{name}}}"
    return Keys(
        open=bucket,
        batches=f"{bucket}:batches",
        dead=f"{bucket}:dead",
        stats=f"{bucket}:stats",
        appends=f"{bucket}:appends",
        old_appends=f"{bucket}:appends:old",
        attempts=f"{bucket}:attempts",
        workers=f"{bucket}:workers",
        history=f"{bucket}:history",
        paused=f"{bucket}:paused",
    )


def catalog_key(prefix: str) -> str:
    """SET: the name of every bucket that was ever appended to."""
    return f"{prefix}:buckets"


def registry_key(prefix: str) -> str:
    """HASH: the workers, when each was last heard of, and which buckets it serves."""
    return f"{prefix}:workers"


def wake_channel(prefix: str) -> str:
    """The channel on which scripts tell waiting workers of batches."""
    return f"{prefix}:wake"
