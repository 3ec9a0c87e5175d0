"""Compare an append with commands written by hand, and measure its cost for any backlog."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import redis
from django.conf import settings
from django.db import transaction
from django.test import override_settings
from django_redis import get_redis_connection

from benchmarks import by_hand
from benchmarks.events import USUAL, kinds, page_view
from benchmarks.rounds import Comparison, Measure, Ratio, Scale, microseconds
from benchmarks.settings import REDIS_SOCKET
from django_jsonbuffer import Bucket

BACKLOGS: Final = (0, 10, 100, 1_000, 10_000, 100_000, 1_000_000)

MOST_MERGED: Final = 100_000
"""The largest backlog for a merge by cjson: one merge then takes a quarter of a second."""

PORTION: Final = 1000

SCRIPT: Final = "return 1"


def comparisons(scale: Scale) -> Iterator[Comparison]:
    client = get_redis_connection("jsonbuffer")
    bucket = Bucket("appending")

    def clean_up() -> None:
        bucket.purge()
        by_hand.delete_all(client)

    for kind, (event, *_) in kinds(1).items():
        yield _one(client, bucket, kind, event, scale, clean_up)
    yield _many(client, bucket, scale, clean_up)
    yield _server_time(client, bucket, scale, clean_up)
    yield from _by_backlog(client, scale)


def _one(
    client: redis.Redis,
    bucket: Bucket,
    kind: str,
    event: Any,
    scale: Scale,
    clean_up: Callable[[], object],
) -> Comparison:
    encoded = bucket._definition.parts.encoder.encode(event)
    sha = client.script_load(SCRIPT)
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
                at_most=1.2,
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


def _server_time(
    client: redis.Redis, bucket: Bucket, scale: Scale, clean_up: Callable[[], object]
) -> Comparison:
    event = page_view()
    encoded = bucket._definition.parts.encoder.encode(event)
    sha = client.script_load(SCRIPT)
    capped = Bucket("appending-capped", max_pending=1_000_000)
    measure = partial(_server_microseconds, client, calls=scale.count(1000))

    def clean_up_all() -> None:
        capped.purge()
        clean_up()

    return Comparison(
        title="Time of the server for an event of 200 bytes (INFO commandstats)",
        unit="µs per call",
        cases={
            "EVALSHA of a script that does nothing": partial(
                measure, "evalsha", lambda: client.evalsha(sha, 0, encoded)
            ),
            "RPUSH": partial(measure, "rpush", lambda: by_hand.push(client, encoded)),
            "XADD": partial(measure, "xadd", lambda: by_hand.add(client, encoded)),
            "append": partial(measure, "evalsha", lambda: bucket.append(event)),
            "append, max_pending": partial(measure, "evalsha", lambda: capped.append(event)),
        },
        rounds=scale.rounds(31),
        ratios=[
            Ratio(what="server time, append / RPUSH", of="append", to="RPUSH", at_most=6),
            Ratio(
                what="server time, a script that does nothing / RPUSH",
                of="EVALSHA of a script that does nothing",
                to="RPUSH",
            ),
        ],
        clean_up=clean_up_all,
    )


def _server_microseconds(
    client: redis.Redis, command: str, call: Callable[[], object], *, calls: int
) -> float:
    client.config_resetstat()
    for _ in range(calls):
        call()
    stats = client.info("commandstats")[f"cmdstat_{command}"]
    return float(stats["usec"]) / float(stats["calls"])


def _by_backlog(client: redis.Redis, scale: Scale) -> Iterator[Comparison]:
    event = page_view()
    encoded = Bucket("backlog")._definition.parts.encoder.encode(event)
    most = scale.count(BACKLOGS[-1])
    cases: dict[str, Measure] = {}
    backlogs = [_Backlog(client, event, encoded, n) for n in BACKLOGS if n <= most]
    for backlog in backlogs:
        calls: dict[str, Callable[[], object]] = {
            "append": partial(backlog.bucket.append, event),
            "RPUSH": partial(client.rpush, backlog.list_key, encoded),
            "XADD": partial(client.xadd, backlog.stream_key, {"event": encoded}),
        }
        for series, call in calls.items():
            cases[f"{series}, {backlog.waiting:,} waiting"] = partial(
                backlog.measured, call, calls=scale.count(1000)
            )
        if backlog.waiting <= MOST_MERGED:
            cases[f"merge by cjson, {backlog.waiting:,} waiting"] = partial(
                _merged, client, encoded, backlog.waiting
            )
    yield Comparison(
        title="Cost of an append by backlog",
        unit="µs per call",
        cases=cases,
        rounds=scale.rounds(11),
        ratios=[_flatness("time of an append", most)],
    )
    yield Comparison(
        title="Time of the server for an append by backlog (INFO commandstats)",
        unit="µs per call",
        cases={
            f"append, {backlog.waiting:,} waiting": partial(
                _server_microseconds,
                client,
                "evalsha",
                partial(backlog.bucket.append, event),
                calls=scale.count(1000),
            )
            for backlog in backlogs
            if backlog.waiting in (0, most)
        },
        rounds=scale.rounds(31),
        ratios=[_flatness("time of the server for an append", most)],
        clean_up=backlogs[0].clear,
    )
    for backlog in backlogs:
        backlog.clear()


def _flatness(what: str, most: int) -> Ratio:
    return Ratio(
        what=f"{what}, {most:,} events pending / an empty bucket",
        of=f"append, {most:,} waiting",
        to="append, 0 waiting",
        at_most=1.05,
    )


class _Backlog:
    """A backlog of that many events in a bucket, a list and a stream."""

    def __init__(self, client: redis.Redis, event: Any, encoded: bytes, waiting: int) -> None:
        self.waiting = waiting
        self.bucket = Bucket(f"backlog-{waiting}")
        self.list_key, self.stream_key = (
            f"backlog:{waiting}:{kind}" for kind in ("list", "stream")
        )
        self._client = client
        self._event = event
        self._encoded = encoded
        self._fill()

    def measured(self, call: Callable[[], object], *, calls: int) -> float:
        figure = microseconds(call, calls=calls)
        if self.waiting < 100 * calls:  # a larger backlog hardly grows by one turn
            self.clear()
            self._fill()
        return figure

    def clear(self) -> None:
        self.bucket.purge()
        self._client.delete(self.list_key, self.stream_key)

    def _fill(self) -> None:
        for begin in range(0, self.waiting, PORTION):
            count = min(PORTION, self.waiting - begin)
            self.bucket.extend([self._event] * count)
            self._client.rpush(self.list_key, *[self._encoded] * count)
            with self._client.pipeline(transaction=False) as pipeline:
                for _ in range(count):
                    pipeline.xadd(self.stream_key, {"event": self._encoded})
                pipeline.execute()


def _merged(client: redis.Redis, encoded: bytes, waiting: int) -> float:
    """Measure few calls, because each one makes the next one slower."""
    merge = client.register_script(by_hand.MERGE)
    client.set(by_hand.ARRAY, b"[%b]" % b",".join([encoded] * waiting))
    figure = microseconds(lambda: merge([by_hand.ARRAY], [b"[%b]" % encoded]), calls=3)
    client.delete(by_hand.ARRAY)
    # The scripts of the next case would have to clear away the Lua tables of this one.
    client.script_flush("SYNC")
    return figure


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
