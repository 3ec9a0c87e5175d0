"""Compare an append with commands written by hand."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import redis
from django.conf import settings
from django.db import transaction
from django.test import override_settings
from django_redis import get_redis_connection

from benchmarks import by_hand
from benchmarks.events import USUAL, kinds, page_view
from benchmarks.rounds import Comparison, Measure, Ratio, Scale, microseconds
from benchmarks.server_time import NOTHING
from benchmarks.settings import REDIS_SOCKET
from django_jsonbuffer import Bucket


def comparisons(scale: Scale) -> Iterator[Comparison]:
    client = get_redis_connection("jsonbuffer")
    bucket = Bucket("appending")

    def clean_up() -> None:
        bucket.purge()
        by_hand.delete_all(client)

    for kind, (event, *_) in kinds(1).items():
        yield _one(client, bucket, kind, event, scale, clean_up)
    yield _many(client, bucket, scale, clean_up)


def _one(
    client: redis.Redis,
    bucket: Bucket,
    kind: str,
    event: Any,
    scale: Scale,
    clean_up: Callable[[], object],
) -> Comparison:
    encoded = bucket._definition.parts.encoder.encode(event)
    sha = client.script_load(NOTHING)
    calls: dict[str, Callable[[], object]] = {
        "PING": client.ping,
        "EVALSHA of a script that does nothing": lambda: client.evalsha(sha, 0, encoded),
        "RPUSH": lambda: by_hand.push(client, encoded),
        "XADD": lambda: by_hand.add(client, encoded),
        "append": lambda: bucket.append(event),
    }
    cases: dict[str, Measure] = {
        name: partial(microseconds, call, calls=scale.count(1000)) for name, call in calls.items()
    }
    cases["append, orjson"] = _with_orjson(cases["append"])
    if floor := _redis_benchmark(len(encoded), requests=scale.count(20_000)):
        cases["redis-benchmark RPUSH"] = floor
    return Comparison(
        title=f"One event: {kind}",
        unit="µs per call",
        cases=cases,
        rounds=scale.rounds(31),
        ratios=[
            Ratio(
                what=f"one append / RPUSH of the same encoded event, {kind}",
                of="append",
                to="RPUSH",
                at_most=1.25 if kind == USUAL else None,
            )
        ],
        clean_up=clean_up,
    )


def _many(
    client: redis.Redis, bucket: Bucket, scale: Scale, clean_up: Callable[[], object]
) -> Comparison:
    event = page_view()
    encode = bucket._definition.parts.encoder.encode
    hundred = [event] * 100

    def push_twenty() -> None:
        for _ in range(20):
            by_hand.push(client, encode(event))

    def append_twenty() -> None:
        with transaction.atomic():
            for _ in range(20):
                bucket.append(event)

    calls = scale.count(100)
    return Comparison(
        title="Many events of 200 bytes, encoded too",
        unit="µs per event",
        cases={
            "100 by one RPUSH": partial(
                microseconds,
                lambda: by_hand.push(client, *[encode(event) for event in hundred]),
                calls=calls,
                events_a_call=100,
            ),
            "extend of 100": partial(
                microseconds, lambda: bucket.extend(hundred), calls=calls, events_a_call=100
            ),
            "20 by 20 RPUSH": partial(microseconds, push_twenty, calls=calls, events_a_call=20),
            "20 appends in a transaction": partial(
                microseconds, append_twenty, calls=calls, events_a_call=20
            ),
        },
        rounds=scale.rounds(31),
        ratios=[
            Ratio(
                what="extend of 100 / one RPUSH of the same 100, encoding included",
                of="extend of 100",
                to="100 by one RPUSH",
                at_most=1.15,
            ),
            Ratio(
                what="20 appends in a transaction / 20 RPUSH",
                of="20 appends in a transaction",
                to="20 by 20 RPUSH",
                at_most=0.15,
            ),
        ],
        clean_up=clean_up,
    )


def _with_orjson(measure: Measure) -> Measure:
    def measured() -> float:
        with override_settings(JSONBUFFER={**settings.JSONBUFFER, "ENCODER": "orjson"}):
            return measure()

    return measured


def _redis_benchmark(size: int, *, requests: int) -> Measure | None:
    """Measure RPUSH with a client in C, one call after the other. None if it is not installed."""
    program = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
    if program is None:
        return None
    command = [program, "-s", REDIS_SOCKET, "-c", "1", "-n", str(requests), "--csv"]
    command += ["RPUSH", by_hand.LIST, "x" * size]

    def measure() -> float:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        requests_a_second = done.stdout.splitlines()[-1].split('","')[1]
        return 1e6 / float(requests_a_second)

    return measure
