"""Appends, and the groups in which they leave."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from django_jsonbuffer.limits import MAX_APPEND_BATCHES, MAX_APPEND_BYTES
from django_jsonbuffer.options import Options
from django_jsonbuffer.store.appends import pieces_of
from django_jsonbuffer.store.store import Store
from django_jsonbuffer.store.traces import NO_TRACES, Run, Traces

from .sharding import TURN, next_shard


@dataclass(slots=True, eq=False)
class Append:
    """The encoded events of one append, and where they go."""

    store: Store
    options: Options
    events: Sequence[bytes]

    size: int
    """Bytes of the events, with a comma for each."""

    is_late: bool = False
    """Whether no caller waits for an error of the append: ``append()`` has returned, or the events
    report a change that has happened."""

    shard: int | None = None
    """The shard that its ordering key has chosen. None if it has no key."""

    context: str = ""
    """The span of the append, as it is kept beside the events. Empty if the append is not traced.
    See :class:`~django_jsonbuffer.tracing.Tracer`."""

    def check_size(self) -> None:
        """Raises :class:`EventTooLarge` if the events do not fit one call to Redis.

        Check this before the append is held back, because later no caller would get the error.
        """
        # Fewer events cannot fill too many batches, because each batch has at least one.
        if self.size > MAX_APPEND_BYTES or len(self.events) > MAX_APPEND_BATCHES:
            pieces_of(self.events, self.size, self.options.limits)


Group = Sequence[Append]
"""Appends to one bucket, with the same options, that leave in one call to Redis."""


def events_of(group: Group) -> Sequence[bytes]:
    if len(group) == 1:
        return group[0].events
    return [event for append in group for event in append.events]


def size_of(group: Group) -> int:
    return group[0].size if len(group) == 1 else sum(append.size for append in group)


def traces_of(group: Group) -> Traces:
    """Which events were appended in which context."""
    if not any(append.context for append in group):
        return NO_TRACES
    runs, place = [], 0
    for append in group:
        if append.context:
            runs.append(Run(append.context, place, len(append.events)))
        place += len(append.events)
    return Traces(tuple(runs))


def groups_of(appends: Sequence[Append]) -> list[Group]:
    """The appends in groups, bucket by bucket, each in its order.

    This is also where each append gets its shard.
    """
    _choose_shards(appends)
    if len(appends) == 1:
        return [appends]
    by_bucket: dict[object, list[Append]] = {}
    for append in appends:
        by_bucket.setdefault(append.store.identity, []).append(append)
    return [
        group
        for bucket in by_bucket.values()
        # Two handles of one bucket may have different options.
        for _, alike in groupby(bucket, key=attrgetter("options"))
        for group in _groups([*alike])
    ]


def _choose_shards(appends: Sequence[Append]) -> None:
    """Let those without an ordering key go to one shard together, in one round trip."""
    chosen: dict[object, int] = {}
    for append in appends:
        if (count := append.options.shards) > 1:
            bucket = append.store.identity
            if (shard := append.shard) is None:
                if (shard := chosen.get(bucket)) is None:
                    shard = chosen[bucket] = next_shard(append.store, count)
                TURN.note(len(append.events))
            append.store = append.store.of_shard(shard)


def _groups(appends: Group) -> Iterator[Group]:
    """Split appends, in order, into groups that fit one call."""
    count = sum(len(append.events) for append in appends)
    if count <= MAX_APPEND_BATCHES and size_of(appends) <= MAX_APPEND_BYTES:
        yield appends
        return
    group: list[Append] = []
    size = batches = 0
    for append in appends:
        its_batches = len(pieces_of(append.events, append.size, append.options.limits))
        size += append.size
        batches += its_batches
        if group and (size > MAX_APPEND_BYTES or batches > MAX_APPEND_BATCHES):
            yield group
            group, size, batches = [], append.size, its_batches
        group.append(append)
    yield group
