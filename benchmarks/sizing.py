"""Measure what one event and one bucket need: CPU, network, disk and memory.

Redis writes its append-only file, as it should in production.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import process_time
from typing import Any, Final, cast

import redis
from django.conf import settings
from django.test import override_settings
from django_redis import get_redis_connection

from benchmarks.events import page_view
from benchmarks.rounds import Comparison, Scale
from benchmarks.servers import append_only_file
from django_jsonbuffer import Bucket

NAME: Final = "ignored"
THREADS: Final = 16
PORTION: Final = 100

Total = Callable[[], float]
"""Reads a total that only grows."""

Work = Callable[[], object]


def comparisons(scale: Scale) -> Iterator[Comparison]:
    client = get_redis_connection("jsonbuffer")
    events = scale.count(20_000)
    with append_only_file(client):
        for (title, unit), total in _totals(client).items():
            yield Comparison(
                title=f"{title} for an event of 200 bytes",
                unit=f"{unit} per event",
                cases={
                    name: partial(_spent, total, prepare, work, events)
                    for name, (prepare, work) in _ways(events).items()
                },
                rounds=scale.rounds(5),
                clean_up=Bucket(NAME).purge,
            )
    yield _memory_of_a_bucket(client, count=scale.count(10_000))


def _totals(client: redis.Redis) -> Mapping[tuple[str, str], Total]:
    read = partial(_read, client)
    seconds = partial(read, "cpu", "used_cpu_user_main_thread", "used_cpu_sys_main_thread")
    return {
        ("CPU of Redis", "µs"): lambda: seconds() * 1e6,
        ("CPU of the Python process", "µs"): lambda: process_time() * 1e6,
        ("Network to Redis", "bytes"): partial(read, "stats", "total_net_input_bytes"),
        ("Network from Redis", "bytes"): partial(read, "stats", "total_net_output_bytes"),
        ("Append-only file", "bytes"): partial(read, "persistence", "aof_current_size"),
    }


def _read(client: redis.Redis, section: str, *fields: str) -> float:
    facts = cast(dict[str, float], client.info(section))
    return sum(facts[field] for field in fields)


def _ways(events: int) -> Mapping[str, tuple[Work, Work]]:
    """What comes before, and what is measured."""
    bucket, event = Bucket(NAME), page_view()
    portion = [event] * PORTION

    def append(count: int = events) -> None:
        for _ in range(count):
            bucket.append(event)

    def append_in_threads() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            for done in [pool.submit(append, events // THREADS) for _ in range(THREADS)]:
                done.result()

    def extend() -> None:
        for _ in range(events // PORTION):
            bucket.extend(portion)

    return {
        "append": (_nothing, append),
        f"append of {THREADS} threads": (_nothing, append_in_threads),
        f"extend of {PORTION}": (_nothing, extend),
        "drain, json": (extend, bucket.drain),
        "drain, orjson": (extend, partial(_with_orjson, bucket.drain)),
    }


def _spent(total: Total, prepare: Work, work: Work, events: int) -> float:
    prepare()
    before = total()
    work()
    return (total() - before) / events


def _with_orjson(work: Work) -> None:
    with override_settings(JSONBUFFER={**settings.JSONBUFFER, "ENCODER": "orjson"}):
        work()


def _nothing() -> None:
    pass


def _memory_of_a_bucket(client: redis.Redis, *, count: int) -> Comparison:
    buckets = [Bucket(f"{NAME}-{number}") for number in range(count)]
    event: Any = page_view()
    used = partial(_read, client, "memory", "used_memory")
    before = used()

    def memory(work: Callable[[Bucket], object]) -> float:
        for bucket in buckets:
            work(bucket)
        return (used() - before) / count

    return Comparison(
        title="Memory of a bucket in Redis",
        unit="bytes",
        cases={
            "with one event of 200 bytes": partial(memory, lambda bucket: bucket.append(event)),
            "empty again": partial(memory, lambda bucket: bucket.drain()),
        },
        rounds=1,  # every round gives the same
    )
