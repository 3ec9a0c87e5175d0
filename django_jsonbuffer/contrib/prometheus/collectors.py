"""The figures of the buckets in Redis, for `prometheus_client`."""

from collections.abc import Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from django_jsonbuffer import catalog
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.metrics import METRICS, Family, families, spill_families
from django_jsonbuffer.spilled import describe_spill
from django_jsonbuffer.states import read_states


class BucketCollector(Collector):
    """Reads the buckets at each scrape, in two or three round trips to Redis.

    All processes read the same figures there. If Redis is away, ``jsonbuffer_redis_up`` is 0, and
    only what is spilled on this machine is known.
    """

    def describe(self) -> Iterable[Metric]:
        """The metrics without values. So a registry need not ask Redis for their names."""
        yield _up()
        for metric in METRICS:
            yield _metric(Family(metric, []))

    def collect(self) -> Iterator[Metric]:
        try:
            found = families(read_states(catalog.known_buckets()))
            up = _up(1)
        except BufferUnavailable:
            buckets = catalog.local_buckets()
            found = spill_families({each.name: describe_spill(each)[0] for each in buckets})
            up = _up(0)
        yield up
        yield from map(_metric, found)


def _up(value: float | None = None) -> Metric:
    return GaugeMetricFamily("jsonbuffer_redis_up", "1 if Redis answers, 0 if not.", value=value)


def _metric(family: Family) -> Metric:
    name, kind, text, labels = family.metric
    make = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
    metric = make(name, text, labels=["bucket", *labels])
    for values, value in family.samples:
        metric.add_metric(values, value)
    return metric
