"""Measure the memory of pending events in Redis, and of a worker that drains many events."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, cast

import redis
from django_redis import get_redis_connection

from benchmarks import by_hand
from benchmarks.events import USUAL, kinds, page_view
from benchmarks.rounds import Comparison, Ratio, Scale
from benchmarks.starting import command, output_of, project
from django_jsonbuffer import Bucket

OURS: Final = "django_jsonbuffer"
ENCODED: Final = "the encoded bytes"
PORTION: Final = 1000

_DECLARE: Final = """
from django_jsonbuffer import Bucket
Bucket("memory").processor(lambda batch: None)
"""

_TELL_PEAK: Final = """
print(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
"""
"""Prints the peak memory in kB. The process reads it itself: on Linux, wait4() also counts the
memory of the process that the child was forked from."""


def comparisons(scale: Scale) -> Iterator[Comparison]:
    for kind, (event, *_) in kinds(1).items():
        yield _at_rest(kind, event, count=scale.count(100_000))
    yield _draining(fewer=10_000, more=scale.count(1_000_000), rounds=scale.rounds(3))


def _at_rest(kind: str, event: Any, *, count: int) -> Comparison:
    client: redis.Redis = get_redis_connection("jsonbuffer")
    bucket = Bucket("memory")
    encoded = bucket._definition.parts.encoder.encode(event)

    def added(store_portion: Callable[[], object]) -> float:
        before = _used(client)
        for _ in range(count // PORTION):
            store_portion()
        return (_used(client) - before) / count

    extend = partial(bucket.extend, [event] * PORTION)
    push = partial(by_hand.push, client, *[encoded] * PORTION)
    add = partial(by_hand.add_many, client, [encoded] * PORTION)

    def clean_up() -> None:
        bucket.purge()
        by_hand.delete_all(client)

    # Redis keeps some memory after the first call of a command or script. It must not count.
    for store_portion in (extend, push, add):
        store_portion()
    clean_up()
    return Comparison(
        title=f"Memory of an event at rest: {kind}",
        unit="bytes an event",
        cases={
            OURS: partial(added, extend),
            "LIST": partial(added, push),
            "STREAM": partial(added, add),
            ENCODED: lambda: len(encoded),
        },
        rounds=1,  # every round gives the same
        ratios=[
            Ratio(
                what=f"memory of an event at rest / its JSON, {kind}",
                of=OURS,
                to=ENCODED,
                at_most=1.2 if kind == USUAL else None,
            )
        ],
        clean_up=clean_up,
    )


def _used(client: redis.Redis) -> int:
    """The memory that counts towards maxmemory. The allocator rounds up each piece.

    MEMORY USAGE would be wrong, because it only estimates the size of a stream.
    """
    client.connection_pool.disconnect()  # its buffers would count too
    while True:
        memory = cast(dict[str, int], client.info("memory"))
        if not memory["lazyfree_pending_objects"]:
            return memory["used_memory"]


def _draining(*, fewer: int, more: int, rounds: int) -> Comparison:
    bucket = Bucket("memory")

    def peak(count: int) -> float:
        for first in range(0, count, PORTION):
            bucket.extend(page_view() for _ in range(first, first + PORTION))
        before = bucket.status().processed
        output = output_of(
            project("django_jsonbuffer"), _DECLARE, command("drain_buckets"), _TELL_PEAK
        )
        if (processed := bucket.status().processed - before) != count:
            raise RuntimeError(f"The worker has processed {processed:,} of {count:,} events.")
        return int(output.split()[-1]) / 1000

    peak(0)  # a worker that compiles its imports takes more memory
    cases = {count: f"{count:,} events" for count in (fewer, more)}
    return Comparison(
        title="Peak memory of a worker that drains",
        unit="MB",
        cases={case: partial(peak, count) for count, case in cases.items()},
        rounds=rounds,
        ratios=[
            Ratio(
                what=f"peak of a worker, {cases[more]} / {cases[fewer]}",
                of=cases[more],
                to=cases[fewer],
                at_most=1.1,
            )
        ],
    )
