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


_SHARD: Final = "#"
"""Stands between the name of a bucket and the number of a shard. No name has this character."""


def shard_name(bucket: str, shard: int) -> str:
    """The name of a shard, as its keys have it. Shard 0 has the name of the bucket."""
    return f"{bucket}{_SHARD}{shard}" if shard else bucket


def split_shard(name: str) -> tuple[str, int]:
    """The bucket and the number of a shard with this name.

    The number is -1 if no shard has the name, because another client has made it up.
    """
    bucket, mark, number = name.partition(_SHARD)
    if not mark:
        return bucket, 0
    is_number = _NUMBER.fullmatch(number) is not None
    return bucket, int(number) if is_number else -1


def split_key(key: str) -> tuple[str, str]:
    """What precedes the name of a shard in the key of its open batch, and the name."""
    start, _, rest = key.rpartition("{")
    return start, rest.removesuffix("}")


_NUMBER: Final = re.compile(r"[1-9][0-9]{0,2}")
"""The number of a shard above 0. A bucket has at most 1,000 shards."""


class Identity(NamedTuple):
    """Distinguishes a shard of a bucket from every other one of this process."""

    cache: str
    """Alias in ``CACHES``."""

    prefix: str
    """First part of every key."""

    name: str
    """Name of the shard. That of the bucket, if the bucket has only one."""

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return split_shard(self.name)[0]


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


def shards_key(prefix: str) -> str:
    """SET: the name of every shard that was ever appended to, except shard 0 of each bucket."""
    return f"{prefix}:shards"


def shard_patterns(prefix: str, bucket: str) -> list[str]:
    """Patterns that match all keys of all shards of a bucket, and no others."""
    # Two for shard 0, because `key*` would match too much: the other keys begin with `key:`.
    first = bucket_keys(prefix, bucket).open
    return [first, f"{first}:*", f"{start_of_other_shards(first)}*"]


def start_of_other_shards(key: str) -> str:
    """How the keys of all other shards begin, if this is the key of the open batch of shard 0."""
    return key.removesuffix("}") + _SHARD


def registry_key(prefix: str) -> str:
    """HASH: the workers, when each was last heard of, and which buckets it serves."""
    return f"{prefix}:workers"


def wake_channel(prefix: str) -> str:
    """The channel on which scripts tell waiting workers of batches."""
    return f"{prefix}:wake"
