"""Which shards buckets have, and questions that go to all shards of many buckets at once."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.exceptions import JSONBufferError

from . import nodes
from .errors import not_redis, translated
from .keys import Keys, bucket_keys, shard_name, shards_key, split_shard
from .redis_internals import is_about_permissions
from .scripts import Script

logger = logging.getLogger("django_jsonbuffer")

ONE_EACH: Final[Mapping[str, int]] = {}
"""The numbers of shards, by name, if no bucket has more than one."""


UNKNOWN_SHARDS: Final = (
    "If a bucket had more shards than its option `shards` says, they are not known at this moment. "
    "They are not drained, and figures may be too low."
)

_LONGEST_WAIT_SECONDS: Final = 0.5
"""How long to wait for the node of a cluster that has the names."""

_GAP_SECONDS: Final = 5.0
"""How long that node is not asked again after it did not answer."""


class _Gap(NamedTuple):
    """The names could not be read."""

    until: float
    """Until when they are not asked for again."""

    error: JSONBufferError | None
    """None if the user of Redis may not read them, because its site has no bucket with shards."""


_gaps: Final[dict[tuple[str, str], _Gap]] = {}
"""By the alias and the prefix. A gap stays until the names can be read, so that a warning is logged
once."""


def gap_in(configuration: Configuration) -> JSONBufferError | None:
    """Why the last question for the names of the shards had no answer. None if it had one."""
    gap = _gaps.get((configuration.cache, configuration.prefix))
    return gap.error if gap else None


class UsedShards:
    """The shards that were ever appended to, as far as their names are known."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._counts: dict[str, int] = {}
        for bucket, shard in map(split_shard, names):
            if shard > 0:  # otherwise another client has made the name up
                self._counts[bucket] = max(self.count(bucket), shard + 1)

    def count(self, bucket: str) -> int:
        """How many shards the bucket has at least: one more than the highest number."""
        return self._counts.get(bucket, 1)

    @property
    def names(self) -> list[str]:
        """The names of these shards."""
        counts = self._counts.items()
        return [shard_name(bucket, shard) for bucket, count in counts for shard in range(count)]

    @staticmethod
    def call(configuration: Configuration) -> nodes.Call:
        key = shards_key(configuration.prefix)
        return nodes.Call(key, ("SMEMBERS", key))

    @classmethod
    def of_reply(cls, members: Any, configuration: Configuration) -> Self:
        """From the reply to the call.

        If it is an error, no name is known, and a warning is logged once: the node of a cluster
        that has the names does not answer, or the user of Redis has older permissions. Raises
        :class:`BufferUnavailable` if it is not Redis that has answered.
        """
        place = configuration.cache, configuration.prefix
        if isinstance(members, Exception):
            error = translated(members, key=shards_key(configuration.prefix))
            if place not in _gaps:
                logger.warning("%s %s", UNKNOWN_SHARDS, error)
            until = time.monotonic() + _GAP_SECONDS
            _gaps[place] = _Gap(until, None if is_about_permissions(members) else error)
            return cls()
        _gaps.pop(place, None)
        try:
            return cls(member.decode(errors="replace") for member in members)
        except (AttributeError, TypeError) as error:
            raise not_redis() from error

    @classmethod
    def read(cls, configuration: Configuration) -> Self:
        """Raises :class:`BufferUnavailable` if Redis is unavailable as a whole."""
        gap = _gaps.get((configuration.cache, configuration.prefix))
        if gap is not None and time.monotonic() < gap.until:
            return cls()
        calls, cache = [cls.call(configuration)], configuration.cache
        [members] = nodes.replies(cache, calls, within_seconds=_LONGEST_WAIT_SECONDS)
        return cls.of_reply(members, configuration)


class Reply(NamedTuple):
    name: str
    """Name of the shard."""

    reply: Any
    """As of :func:`.nodes.replies`."""


Ask = Callable[[Sequence[str], Sequence[nodes.Call]], list[Any]]
"""Asks for each shard, by its name. Returns its replies, and then those to further commands."""


def asking(
    configuration: Configuration,
    call: Callable[[Keys], nodes.Call],
    *,
    script: Script | None = None,
) -> Ask:
    """Asks for each shard with the command of its keys, in one round trip for 500."""

    def ask(shards: Sequence[str], also: Sequence[nodes.Call]) -> list[Any]:
        calls = [call(bucket_keys(configuration.prefix, shard)) for shard in shards]
        return nodes.replies(configuration.cache, [*calls, *also], script=script)

    return ask


def ask_all(
    names: Sequence[str],
    configuration: Configuration,
    counts: Mapping[str, int],
    ask: Ask,
    *,
    also: Sequence[nodes.Call] = (),
) -> tuple[list[list[Reply]], list[Any]]:
    """The replies of the shards of each bucket, and those to the commands `also`.

    `counts` are the numbers of shards that are known, by the name of the bucket. This asks once
    more only if a bucket has more shards than that.
    """
    shards = [shard_name(name, shard) for name in names for shard in range(counts.get(name, 1))]
    *found, members = ask(shards, [*also, UsedShards.call(configuration)])
    replies, rest = found[: len(shards)], found[len(shards) :]
    used = UsedShards.of_reply(members, configuration)
    more = [
        shard_name(name, shard)
        for name in names
        for shard in range(counts.get(name, 1), used.count(name))
    ]
    if more:
        replies += ask(more, ())
    by_name: dict[str, list[Reply]] = {name: [] for name in names}
    for shard, reply in zip([*shards, *more], replies, strict=True):
        by_name[split_shard(shard)[0]].append(Reply(shard, reply))
    return [by_name[name] for name in names], rest
