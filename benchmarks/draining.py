"""Compare a drain with an empty processor with a bare parse, and with loops written by hand."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any, Final

import orjson
from asgiref.sync import async_to_sync
from django.conf import settings
from django.test import override_settings
from django_redis import get_redis_connection

from benchmarks import by_hand
from benchmarks.events import USUAL, kinds
from benchmarks.rounds import Comparison, Measure, Ratio, Scale
from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.encoding import encoder

BATCH: Final = 1000
DECODERS: Final[Mapping[str, by_hand.Decode]] = {"json": json.loads, "orjson": orjson.loads}
"""The bare decoder for each encoder of this app."""


def comparisons(scale: Scale) -> Iterator[Comparison]:
    for kind, events in kinds(BATCH).items():
        batches = scale.count(100, quick=2)
        is_usual = kind == USUAL
        yield Comparison(
            title=f"Drain of {batches * BATCH:,} events of {kind}",
            unit="µs per event",
            cases={
                f"{decoder}: {case}": measure
                for decoder in DECODERS
                for case, measure in _cases(decoder, events, batches).items()
            },
            rounds=scale.rounds(9 if is_usual else 5),
            ratios=[ratio for decoder in DECODERS for ratio in _ratios(decoder, kind, is_usual)],
            clean_up=_clean_up,
        )
    yield _of_processors(scale)


def _of_processors(scale: Scale) -> Comparison:
    events, batches = kinds(BATCH)[USUAL], scale.count(100, quick=2)
    in_new_loop = async_to_sync(_nothing_async)

    def drained_by(processor: Callable[[Batch], object]) -> Measure:
        def measure() -> float:
            bucket = Bucket("draining", batch_size=BATCH)
            bucket.processor(processor)
            for _ in range(batches):
                bucket.extend(events)
            began = perf_counter()
            bucket.drain()
            return (perf_counter() - began) / batches * 1e6

        return measure

    return Comparison(
        title=f"Drain of {batches} batches of {BATCH:,} events by an empty processor",
        unit="µs per batch",
        cases={
            "function": drained_by(_nothing),
            "coroutine function": drained_by(_nothing_async),
            "function with async_to_sync": drained_by(lambda batch: in_new_loop(batch)),
        },
        rounds=scale.rounds(9),
        ratios=[
            Ratio(what=f"{of} / function", of=of, to="function", at_most=at_most)
            for of, at_most in (("coroutine function", 1.3), ("function with async_to_sync", None))
        ],
        clean_up=_clean_up,
    )


def _cases(decoder: str, events: Sequence[Any], batches: int) -> dict[str, Measure]:
    client = get_redis_connection("jsonbuffer")
    loads, decode = DECODERS[decoder], encoder(decoder).decode
    encoded = [encoder("json").encode(event) for event in events]
    array = b"[%b]" % b",".join(encoded)
    decoded_so = {**settings.JSONBUFFER, "ENCODER": decoder}

    def drain() -> int:
        bucket = Bucket("draining", batch_size=BATCH)
        bucket.processor(_nothing)
        with override_settings(JSONBUFFER=decoded_so):
            return bucket.drain().processed

    def timed(
        work: Callable[[], int],
        put_in: Callable[[int], object] = lambda batch: None,
        batches: int = batches,
    ) -> Measure:
        def measure() -> float:
            for batch in range(batches):
                put_in(batch)
            began = perf_counter()
            count = work()
            seconds = perf_counter() - began
            if count != batches * BATCH:
                raise RuntimeError(f"{count} events were handled instead of {batches * BATCH}.")
            return seconds / count * 1e6

        return measure

    return {
        "bare parse": timed(lambda: sum(len(loads(array)) for _ in range(batches))),
        "GET, parse, DEL": timed(
            lambda: by_hand.get_all(client, loads, batches),
            lambda batch: client.set(f"{by_hand.ARRAY}:{batch}", array),
        ),
        "GET, parse, DEL with our decoder": timed(
            lambda: by_hand.get_all(client, decode, batches),
            lambda batch: client.set(f"{by_hand.ARRAY}:{batch}", array),
        ),
        "drain": timed(drain, lambda batch: Bucket("draining", batch_size=BATCH).extend(events)),
        "LPOP, parse": timed(
            lambda: by_hand.pop_all(client, loads, count=BATCH),
            lambda batch: by_hand.push(client, *encoded),
        ),
        "XREADGROUP, parse, XACK": timed(
            lambda: by_hand.read_group_all(client, loads, count=BATCH),
            lambda batch: by_hand.add_many(client, encoded),
            batches=min(batches, 5),  # one call per event is slow
        ),
        "XREADGROUP, parse, XACK of 1,000": timed(
            lambda: by_hand.read_group_all(client, loads, count=BATCH, acks_each=False),
            lambda batch: by_hand.add_many(client, encoded),
        ),
    }


def _ratios(decoder: str, kind: str, is_usual: bool) -> Iterator[Ratio]:
    drain = f"{decoder}: drain"
    yield Ratio(
        what=f"{decoder}, {kind}: drain / GET, parse, DEL with the same decoder",
        of=drain,
        to=f"{decoder}: GET, parse, DEL with our decoder",
        at_most=1.3 if is_usual else None,
    )
    yield Ratio(
        what=f"{decoder}, {kind}: drain / GET, parse, DEL",
        of=drain,
        to=f"{decoder}: GET, parse, DEL",
    )
    for case in ("XREADGROUP, parse, XACK", "XREADGROUP, parse, XACK of 1,000"):
        yield Ratio(
            what=f"{decoder}, {kind}: {case} / drain",
            of=f"{decoder}: {case}",
            to=drain,
            at_least=6 if is_usual and case.endswith("XACK") else None,
        )


def _clean_up() -> None:
    Bucket("draining").purge()
    by_hand.delete_all(get_redis_connection("jsonbuffer"))


def _nothing(batch: Batch) -> None:
    pass


async def _nothing_async(batch: Batch) -> None:
    pass
