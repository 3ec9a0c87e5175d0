"""The metrics of each bucket in the text format of Prometheus, version 0.0.4."""

from collections.abc import Iterator, Sequence

from django_jsonbuffer.metrics import Family, families
from django_jsonbuffer.states import BucketState


def format_prometheus(bucket_states: Sequence[BucketState]) -> str:
    """All metrics of the buckets. An unreadable bucket has its state and its spill only."""
    lines = [line for family in families(bucket_states) for line in _lines(family)]
    return "\n".join(lines) + "\n"


def _lines(family: Family) -> Iterator[str]:
    name, kind, description, labels = family.metric
    yield f"# HELP {name} {description}"
    yield f"# TYPE {name} {kind}"
    for values, value in family.samples:
        # Names of buckets, and the values of other labels, need no escape.
        pairs = zip(("bucket", *labels), values, strict=True)
        text = ",".join(f'{label}="{text}"' for label, text in pairs)
        yield f"{name}{{{text}}} {value}"
