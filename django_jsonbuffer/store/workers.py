"""All workers: those that are registered, and those that hold batches."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final

from django_jsonbuffer.conf import Configuration

from .deliveries import Delivery, call_of_held, deliveries_in
from .errors import translated
from .registry import Workers
from .scripts import DELIVERIES, MILLISECOND
from .shards import ONE_EACH, ask_all, asking

_NAME: Final = re.compile(r"(.+):([0-9]{1,10}):[0-9a-f]+")
_MOST_HELD: Final = 10
"""Most batches of one worker in one shard. It holds one, except for a moment."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """A process that drains buckets. In Redis it has a name for each shard that it drains."""

    name: str
    """The machine and the process id. For a worker of another kind, its name in Redis."""

    machine: str
    """Empty for a worker of another kind."""

    process_id: int | None

    heard: timedelta | None
    """How long ago it was last heard of. A watching worker is heard of every 10 seconds. None if it
    was never heard of, or not for a day: then it died with the batches that it holds."""

    serves: int | None
    """How many names and patterns of buckets it serves. None if it does not watch, or has died."""

    serves_all: bool
    """Whether it serves all buckets."""

    holds: list[tuple[str, Delivery]]
    """The batches that it holds, each with the name of its bucket. The longest held come first."""


@dataclass(slots=True)
class _Process:
    heard: list[timedelta] = field(default_factory=list)
    serves: set[str] | None = None
    holds: list[tuple[str, Delivery]] = field(default_factory=list)


def workers(
    names: Sequence[str], configuration: Configuration, counts: Mapping[str, int] = ONE_EACH
) -> list[Worker]:
    """The registered workers, and those that hold batches of these buckets, sorted by name.

    `counts` are the numbers of shards that are known, by name. This takes one round trip for 500
    shards. Buckets that cannot be read are left out. Raises :class:`BufferUnavailable`.
    """
    call = partial(call_of_held, limit=_MOST_HELD)
    ask = asking(configuration, call, script=DELIVERIES)
    also = Workers.calls(configuration)
    found, (entries, time) = ask_all(names, configuration, counts, ask, also=also)
    processes: dict[str, _Process] = {}
    for name, heard, serves in _registered(entries, time):
        process = processes.setdefault(process_of(name), _Process())
        process.heard.append(heard)
        process.serves = (process.serves or set()) | {*serves}
    for bucket, shards in zip(names, found, strict=True):
        for shard, reply in shards:
            if (its := deliveries_in(shard, reply)) is None:
                continue
            for delivery in its.batches:
                process = processes.setdefault(process_of(delivery.worker), _Process())
                process.holds.append((bucket, delivery))
                if (last_beat := its.workers.get(delivery.worker)) is not None:
                    process.heard.append(last_beat)
    return [_worker(name, processes[name]) for name in sorted(processes)]


def _registered(entries: Any, time: Any) -> Iterator[tuple[str, timedelta, list[str]]]:
    """Each registered worker: its name, how long ago it was heard of, and what it serves.

    Raises the error if they cannot be read, because then nobody knows which workers there are.
    """
    if isinstance(entries, Exception):
        raise translated(entries)
    if not (isinstance(entries, dict) and isinstance(time, tuple | list)):
        return
    now_ms = int(time[0]) * 1000 + int(time[1]) // 1000
    for name, text in entries.items():
        ms, _, serves = text.partition(b" ")
        if ms.isdigit() and len(ms) <= 15:
            heard = abs(now_ms - int(ms)) * MILLISECOND
            yield name.decode(errors="replace"), heard, serves.decode(errors="replace").split()


def process_of(worker: str) -> str:
    """Machine and process id of a worker, from its name in Redis. Otherwise the whole name."""
    match = _NAME.fullmatch(worker)
    return f"{match[1]}:{match[2]}" if match else worker


def _worker(name: str, process: _Process) -> Worker:
    machine, _, number = name.rpartition(":")
    is_ours = bool(machine) and number.isascii() and number.isdigit()
    return Worker(
        name=name,
        machine=machine if is_ours else "",
        process_id=int(number) if is_ours else None,
        heard=min(process.heard, default=None),
        serves=None if process.serves is None else len(process.serves),
        serves_all="*" in (process.serves or ()),
        holds=sorted(process.holds, key=_age, reverse=True),
    )


def _age(held: tuple[str, Delivery]) -> timedelta:
    return held[1].claimed or timedelta(0)
