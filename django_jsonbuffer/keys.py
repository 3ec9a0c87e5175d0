"""The names of a bucket's keys. They are spelled here and nowhere else."""

import re
from dataclasses import dataclass
from typing import Final

from .exceptions import InvalidBucketName

_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")


def is_valid_name(name: object) -> bool:
    return isinstance(name, str) and _SAFE_NAME.fullmatch(name) is not None


def validated_name(name: str) -> str:
    """The name as plain text, or :class:`InvalidBucketName`.

    The alphabet leaves out braces, since a name is the hash tag of its keys: with a brace in it,
    the keys would land in several cluster slots or even be those of another bucket.
    """
    if is_valid_name(name):
        # A member of a str Enum has another text in an f-string, and so in a key.
        return str.__str__(name)
    shown = repr(name) if len(repr(name)) <= 60 else f"{repr(name)[:60]}…"
    raise InvalidBucketName(
        f"{shown} cannot be the name of a bucket: use 1 to 100 letters, digits and _ . : - "
        "of ASCII, beginning with a letter or a digit."
    )


@dataclass(frozen=True, slots=True)
class Keys:
    """Where one bucket lies in Redis. All keys share the hash tag, so one script may use them."""

    open: str
    """STRING: the open batch, a JSON array of events; absent when empty."""

    batches: str
    """STREAM of sealed batches, with the consumer group whose idle times are the leases."""

    dead: str
    """STREAM of dead letters."""

    stats: str
    """HASH of counters."""

    attempts: str
    """HASH of what became of each sealed batch so far."""

    workers: str
    """HASH of the workers, and when each was last heard of."""

    history: str
    """LIST of samples of how the bucket stood."""

    paused: str
    """STRING, since when the bucket is paused; absent when it is not."""

    def producer(self, id: str) -> str:
        """STRING, expires: the sequence number of what this producer appended last."""
        return f"{self.open}:producer:{id}"


def bucket_keys(prefix: str, name: str) -> Keys:
    tagged = f"{prefix}:{{{name}}}"
    _, *parts = Keys.__dataclass_fields__
    return Keys(tagged, *(f"{tagged}:{part}" for part in parts))


def register_key(prefix: str) -> str:
    """SET of the name of every bucket that was ever appended to."""
    return f"{prefix}:buckets"
