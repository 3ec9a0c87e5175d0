"""The metrics of each bucket in the text format of Prometheus, version 0.0.4."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from django_jsonbuffer.appending.spill_size import SpillSize
from django_jsonbuffer.states import BucketState, State
from django_jsonbuffer.store.status import BucketStatus


class Metric(NamedTuple):
    """A metric family of Prometheus."""

    name: str
    kind: str
    help: str
    values: Callable[[BucketStatus], dict[str, float]]
    """The value of each sample, by the text of its labels without ``bucket``."""


def _plain(figure: Callable[[BucketStatus], float]) -> Callable[[BucketStatus], dict[str, float]]:
    return lambda status: {"": figure(status)}


def _batches(status: BucketStatus) -> dict[str, float]:
    return {
        ',state="open"': status.batches_open,
        ',state="sealed"': status.batches_sealed,
        ',state="in_flight"': status.batches_in_flight,
    }


METRICS: Final = (
    Metric("pending_events", "gauge", "Pending events.", _plain(lambda s: s.pending)),
    Metric("in_flight_events", "gauge", "Events that workers hold.", _plain(lambda s: s.in_flight)),
    Metric("dead_events", "gauge", "Dead letters.", _plain(lambda s: s.dead)),
    Metric("batches", "gauge", "Batches, by state.", _batches),
    Metric("bytes", "gauge", "Bytes of JSON in the batches.", _plain(lambda s: s.bytes)),
    Metric(
        "oldest_event_age_seconds",
        "gauge",
        "How long the oldest pending event has waited, 0 if nothing is pending.",
        _plain(lambda s: s.oldest.total_seconds() if s.oldest else 0),
    ),
    Metric("workers", "gauge", "Active workers.", _plain(lambda s: s.workers)),
    Metric(
        "paused", "gauge", "1 if the bucket is paused.", _plain(lambda s: int(s.paused is not None))
    ),
    Metric(
        "failing_batches",
        "gauge",
        "Batches that failed and have not succeeded since.",
        _plain(lambda s: s.failing),
    ),
    Metric(
        "outage_seconds",
        "gauge",
        "How long the processor has only failed, 0 if it succeeds.",
        _plain(lambda s: s.outage.total_seconds() if s.outage else 0),
    ),
    Metric("appended_events_total", "counter", "Events appended.", _plain(lambda s: s.appended)),
    Metric("processed_events_total", "counter", "Events processed.", _plain(lambda s: s.processed)),
    Metric(
        "buried_events_total",
        "counter",
        "Events that became dead letters.",
        _plain(lambda s: s.buried),
    ),
    Metric(
        "replayed_events_total", "counter", "Dead letters replayed.", _plain(lambda s: s.replayed)
    ),
    Metric(
        "lost_events_total",
        "counter",
        "Events that could not be handed to Redis.",
        _plain(lambda s: s.lost),
    ),
    Metric(
        "dropped_events_total",
        "counter",
        "Events given up on purpose, by reason.",
        lambda s: {f',reason="{reason}"': n for reason, n in s.dropped._asdict().items()},
    ),
)


def format_prometheus(bucket_states: Sequence[BucketState]) -> str:
    """All metrics of the buckets. An unreadable bucket has its state and its spill only."""
    lines = []
    for name, kind, description, values in METRICS:
        lines += [f"# HELP jsonbuffer_{name} {description}", f"# TYPE jsonbuffer_{name} {kind}"]
        lines += [
            f'jsonbuffer_{name}{{bucket="{bucket_state.bucket.name}"{labels}}} {value}'
            for bucket_state in bucket_states
            if bucket_state.status is not None
            for labels, value in values(bucket_state.status).items()
        ]
    lines += [
        *_spill_lines(bucket_states),
        "# HELP jsonbuffer_state 1 for the present state of the bucket, 0 for all others.",
        "# TYPE jsonbuffer_state gauge",
    ]
    for bucket_state in bucket_states:
        name = bucket_state.bucket.name
        for state in State:
            labels = f'bucket="{name}",state="{state.value}"'
            lines.append(f"jsonbuffer_state{{{labels}}} {int(state == bucket_state.state)}")
    return "\n".join(lines) + "\n"


def _spill_lines(bucket_states: Sequence[BucketState]) -> Iterator[str]:
    """The metrics of the buckets whose spill can be read. No line if there is none."""
    spilled = {each.bucket.name: each.spilled for each in bucket_states if each.spilled is not None}
    for figure in SpillSize._fields if spilled else ():
        name = f"jsonbuffer_spilled_{figure}"
        yield f"# HELP {name} {figure.capitalize()} that are spilled on this machine."
        yield f"# TYPE {name} gauge"
        for bucket, size in spilled.items():
            yield f'{name}{{bucket="{bucket}"}} {getattr(size, figure)}'
