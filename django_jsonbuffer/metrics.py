"""The figures of buckets as metrics of Prometheus, without its text format and its client."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from .appending.spill_size import SpillSize
from .states import BucketState, State
from .store.status import BucketStatus

Labels = tuple[str, ...]


class Metric(NamedTuple):
    """What one metric is about. All its samples have the label ``bucket``, and `labels`."""

    name: str
    kind: str
    """``gauge`` or ``counter``. The name of a counter ends with ``_total``."""

    help: str
    labels: Labels = ()


class Family(NamedTuple):
    """A metric with its samples."""

    metric: Metric
    samples: list[tuple[Labels, float]]
    """The values of the labels, the bucket first, and the value of the sample."""


_Values = Callable[[BucketStatus], dict[Labels, float]]


def _gauge(name: str, text: str, figure: Callable[[BucketStatus], float]) -> tuple[Metric, _Values]:
    return Metric(f"jsonbuffer_{name}", "gauge", text), lambda status: {(): figure(status)}


def _counter(name: str, text: str) -> tuple[Metric, _Values]:
    metric = Metric(f"jsonbuffer_{name}_events_total", "counter", text)
    return metric, lambda status: {(): getattr(status, name)}


def _batches(status: BucketStatus) -> dict[Labels, float]:
    return {
        ("open",): status.batches_open,
        ("sealed",): status.batches_sealed,
        ("in_flight",): status.batches_in_flight,
    }


def _drops(status: BucketStatus) -> dict[Labels, float]:
    return {(reason,): number for reason, number in status.dropped._asdict().items()}


_OF_STATUS: Final[Sequence[tuple[Metric, _Values]]] = (
    _gauge("pending_events", "Pending events.", lambda s: s.pending),
    _gauge("in_flight_events", "Events that workers hold.", lambda s: s.in_flight),
    _gauge("dead_events", "Dead letters.", lambda s: s.dead),
    (Metric("jsonbuffer_batches", "gauge", "Batches, by state.", ("state",)), _batches),
    _gauge("bytes", "Bytes of JSON in the batches.", lambda s: s.bytes),
    _gauge(
        "oldest_event_age_seconds",
        "How long the oldest pending event has waited, 0 if nothing is pending.",
        lambda s: s.oldest.total_seconds() if s.oldest else 0,
    ),
    _gauge("workers", "Active workers.", lambda s: s.workers),
    _gauge("paused", "1 if the bucket is paused.", lambda s: int(s.paused is not None)),
    _gauge(
        "failing_batches", "Batches that failed and have not succeeded since.", lambda s: s.failing
    ),
    _gauge(
        "outage_seconds",
        "How long the processor has only failed, 0 if it succeeds.",
        lambda s: s.outage.total_seconds() if s.outage else 0,
    ),
    _counter("appended", "Events appended."),
    _counter("processed", "Events processed."),
    _counter("buried", "Events that became dead letters."),
    _counter("replayed", "Dead letters replayed."),
    _counter("lost", "Events that could not be handed to Redis."),
    (
        Metric(
            "jsonbuffer_dropped_events_total",
            "counter",
            "Events given up on purpose, by reason.",
            ("reason",),
        ),
        _drops,
    ),
)

_SPILLED: Final = tuple(
    Metric(
        f"jsonbuffer_spilled_{figure}",
        "gauge",
        f"{figure.capitalize()} that are spilled on this machine.",
    )
    for figure in SpillSize._fields
)

_STATE: Final = Metric(
    "jsonbuffer_state",
    "gauge",
    "1 for the present state of the bucket, 0 for all others.",
    ("state",),
)

METRICS: Final = (*(metric for metric, _ in _OF_STATUS), *_SPILLED, _STATE)


def families(bucket_states: Sequence[BucketState]) -> Iterator[Family]:
    """All metrics of the buckets. An unreadable bucket has its state and its spill only."""
    for metric, values in _OF_STATUS:
        samples = [
            ((each.bucket.name, *labels), value)
            for each in bucket_states
            if each.status is not None
            for labels, value in values(each.status).items()
        ]
        yield Family(metric, samples)
    yield from spill_families({each.bucket.name: each.spilled for each in bucket_states})
    samples = [
        ((each.bucket.name, state.value), int(state == each.state))
        for each in bucket_states
        for state in State
    ]
    yield Family(_STATE, samples)


def spill_families(spilled: dict[str, SpillSize | None]) -> Iterator[Family]:
    """The metrics of the buckets whose spill can be read. Nothing if there is none."""
    sizes = {bucket: size for bucket, size in spilled.items() if size is not None}
    for place, metric in enumerate(_SPILLED if sizes else ()):
        yield Family(metric, [((bucket,), size[place]) for bucket, size in sizes.items()])
