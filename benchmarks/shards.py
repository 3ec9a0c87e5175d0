"""Measure one bucket with 1, 2, 4 and 8 shards, on one server and on a cluster of three nodes.

The time says what one process on this machine gets. The CPU of the busiest server says how
much more the servers could take than one, if each had a core of its own.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from time import perf_counter
from typing import Any, Final

import redis
from django.conf import settings
from django.test import override_settings
from django_redis import get_redis_connection

from benchmarks.clusters import cluster, port_of
from benchmarks.events import page_view
from benchmarks.rounds import Comparison, Ratio, Scale
from django_jsonbuffer import Batch, Bucket

FACTORY: Final = "django_jsonbuffer.contrib.cluster.ClusterConnectionFactory"
SHARDS: Final = (1, 2, 4, 8)
NODES: Final = 3
THREADS: Final = 16
BATCH: Final = 1000


def comparisons(scale: Scale) -> Iterator[Comparison]:
    appends, events = scale.count(6_400, quick=160), scale.count(200_000, quick=2_000)
    works: dict[str, tuple[int, Work]] = {
        f"Appends of {THREADS} threads": (appends, partial(_append, events=appends)),
        f"Append and drain in portions of {BATCH:,}": (events, partial(_drain, events=events)),
    }
    with _places() as places:
        for work_title, (count, work) in works.items():
            for measure, detail in ((_time, ""), (_cpu, ": CPU of the busiest server")):
                title = f"{work_title}{detail}"
                yield Comparison(
                    title=title,
                    unit="µs per event",
                    cases={
                        _case(name, shards): partial(measure, place, shards, work, count)
                        for name, place in places.items()
                        for shards in SHARDS
                    },
                    rounds=scale.rounds(5),
                    ratios=[*_ratios(title, places)],
                )


@contextmanager
def _places() -> Iterator[dict[str, "Place"]]:
    """One server and a cluster, by a name."""
    with ExitStack() as stack:
        nodes = stack.enter_context(cluster(NODES))
        cached = {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": [f"redis://127.0.0.1:{port_of(node)}" for node in nodes],
            "OPTIONS": {"CONNECTION_FACTORY": FACTORY},
        }
        stack.enter_context(override_settings(CACHES={**settings.CACHES, "cluster": cached}))
        of_nodes = [stack.enter_context(redis.Redis.from_url(node.url)) for node in nodes]
        yield {
            "1 server": ("jsonbuffer", [get_redis_connection("jsonbuffer")]),
            f"{NODES} nodes": ("cluster", of_nodes),
        }


def _case(place: str, shards: int) -> str:
    return f"{place}, {shards} shard{'s' * (shards > 1)}"


def _ratios(title: str, places: Iterable[str]) -> Iterator[Ratio]:
    """How much more is done with shards than with one."""
    for name in places:
        for shards in SHARDS[1:]:
            yield Ratio(
                what=f"{title}: {name}, 1 shard / {shards} shards",
                of=_case(name, 1),
                to=_case(name, shards),
            )


Place = tuple[str, Sequence["redis.Redis"]]
"""The alias of a cache, and a client of each of its servers."""

Work = Callable[[Bucket], float]
"""Returns how many seconds it took."""


def _time(place: Place, shards: int, work: Work, events: int) -> float:
    with _bucket_in(place, shards) as bucket:
        return work(bucket) / events * 1e6


def _cpu(place: Place, shards: int, work: Work, events: int) -> float:
    _, servers = place
    with _bucket_in(place, shards) as bucket:
        before = [*map(_cpu_seconds, servers)]
        work(bucket)
        after = [*map(_cpu_seconds, servers)]
    return max(b - a for a, b in zip(before, after, strict=True)) / events * 1e6


@contextmanager
def _bucket_in(place: Place, shards: int) -> Iterator[Bucket]:
    alias, _ = place
    with override_settings(JSONBUFFER={**settings.JSONBUFFER, "CACHE": alias}):
        bucket = Bucket("sharded", shards=shards, batch_size=BATCH)
        for key in range(20 * shards):
            bucket.append(1, ordering_key=key)  # which connects, and writes the catalog
        bucket.purge()
        yield bucket
        bucket.purge()


def _cpu_seconds(server: "redis.Redis") -> float:
    used: dict[str, Any] = server.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])


def _append(bucket: Bucket, *, events: int) -> float:
    """Returns how long it takes. Each thread makes one call before the clock starts."""
    event, began = page_view(), list[float]()
    ready = threading.Barrier(THREADS, action=lambda: began.append(perf_counter()))

    def call_often() -> None:
        bucket.append(event)
        ready.wait()
        for _ in range(events // THREADS):
            bucket.append(event)

    with ThreadPoolExecutor(THREADS) as pool:
        for each in [pool.submit(call_often) for _ in range(THREADS)]:
            each.result()
        return perf_counter() - began[0]


def _drain(bucket: Bucket, *, events: int) -> float:
    portion = [page_view()] * BATCH
    bucket.processor(_nothing)
    began = perf_counter()
    for number in range(events // BATCH):
        bucket.extend(portion, ordering_key=number)
    bucket.drain()
    return perf_counter() - began


def _nothing(batch: Batch) -> None:
    pass
