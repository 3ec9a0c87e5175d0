"""Measure the cost of an append for any number of events that wait."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import redis
from django_redis import get_redis_connection

from benchmarks import by_hand
from benchmarks.charts import BACKLOG
from benchmarks.events import page_view
from benchmarks.rounds import Comparison, Measure, Ratio, Scale, microseconds
from benchmarks.server_time import server_microseconds
from django_jsonbuffer import Bucket

BACKLOGS: Final = (0, 10, 100, 1_000, 10_000, 100_000, 1_000_000)

MOST_MERGED: Final = 100_000
"""The largest backlog for a merge by cjson: one merge then takes a quarter of a second."""

PORTION: Final = 1000


def comparisons(scale: Scale) -> Iterator[Comparison]:
    client = get_redis_connection("jsonbuffer")
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
        title=BACKLOG,
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
                server_microseconds,
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
    """A bucket, a list and a stream, in each of which `waiting` events wait."""

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
