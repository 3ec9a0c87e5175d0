"""Single steps of a worker, with defaults, and what they leave in Redis."""

import json
import struct
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django_jsonbuffer.json_arrays import spans
from django_jsonbuffer.limits import Limits
from django_jsonbuffer.store.appends import size_of
from django_jsonbuffer.store.claims import Burial, Claim, Outage, Reason
from django_jsonbuffer.store.coroutines import finish
from django_jsonbuffer.store.links import BLOCKING
from django_jsonbuffer.store.status import BucketStatus
from django_jsonbuffer.store.store import Store
from django_jsonbuffer.store.traces import Run, Traces
from tests.server import Redis
from tests.stamps import next_stamp

MINUTE = timedelta(minutes=1)
NOW = timedelta(0)
LAST_ID = f"{2**64 - 1}-{2**64 - 1}"


def append(
    store: Store, *values: Any, batch_size: int | None = 1000, batch_bytes: int = 1_000_000
) -> None:
    events = [json.dumps(value).encode() for value in values]
    store.append(events, next_stamp(), Limits(batch_size=batch_size, batch_bytes=batch_bytes))


def context(number: int) -> str:
    """A context with this number as its trace and its span."""
    return f"{number:032x}-{number:016x}"


def traces(*runs: tuple[str, int, int]) -> Traces:
    return Traces(tuple(Run(*run) for run in runs))


def append_traced(store: Store, traces: Traces | str, *values: int, **limits: Any) -> None:
    """Append in these contexts. One context is that of all events."""
    events = [json.dumps(value).encode() for value in values]
    if isinstance(traces, str):
        traces = Traces((Run(traces, 0, len(events)),))
    bounds = Limits(**{"batch_size": 1000, "batch_bytes": 100_000} | limits)
    size = size_of(events)
    finish(store.append_by(BLOCKING, events, next_stamp(), bounds, size=size, traces=traces))


def noted(count: int, array: bytes, *, size: int | None = None) -> bytes:
    """What a script notes about an open batch, with any count and size."""
    return struct.pack("<II", count, len(array) if size is None else size) + array[-64:]


def claim(
    store: Store,
    worker: str = "worker",
    *,
    lease: timedelta = MINUTE,
    linger: timedelta | None = NOW,
    after: str | None = None,
) -> Claim | None:
    return store.claim(worker, lease=lease, linger=linger, after=after).claim


def claimed(store: Store, worker: str = "worker", **options: Any) -> Claim:
    found = claim(store, worker, **options)
    assert found is not None
    return found


def a_claim() -> Claim:
    """A claim of a batch that does not exist."""
    return Claim(id="1-1-a", stream_id="1-1", worker="w", attempt=1, count=1, array=b"[1]")


def fail(store: Store, claim: Claim, **options: Any) -> Outage | None:
    """Release a batch that the processor has failed with."""
    default: dict[str, Any] = {"backoff": NOW, "reason": Reason.FAILURE, "error": "KeyError"}
    return store.release(claim, lease=MINUTE, **(default | options))


def split(store: Store, claim: Claim, **options: Any) -> None:
    """Split a batch into halves."""
    default = {"at": claim.count // 2}
    store.split(claim, spans(claim.array), **(default | options))


def now_ms(plain: Redis) -> int:
    """The time of the server."""
    seconds, microseconds = plain.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def let_clock_be_known(store: Store, plain: Redis) -> None:
    """Let leases that run out be believed, as after some time of regular heartbeats."""
    plain.hset(store.keys.stats, "clock", now_ms(plain))


def bury(store: Store, claim: Claim, *, attempts: int = 0) -> None:
    """Bury the whole batch as one dead letter."""
    burial = Burial(0, len(claim.array), "no")
    store.bury(claim, [burial], processed=0, failures=attempts)


def dump(plain: Redis, prefix: str) -> dict[bytes, bytes | None]:
    """The values of all keys of the test, to check that nothing was written."""
    return {key: plain.dump(key) for key in sorted(plain.scan_iter(match=f"{prefix}:*"))}


def commands_of(plain: Redis, call: Callable[[], object]) -> dict[str, int]:
    """How often the server ran each command during the call, also within scripts."""
    plain.config_resetstat()
    call()
    return {
        name.removeprefix("cmdstat_"): stats["calls"]
        for name, stats in plain.info("commandstats").items()
    }


def facts(status: BucketStatus) -> tuple[int, int, int, int]:
    return status.pending, status.in_flight, status.batches, status.bytes
