"""Histograms of this process: how long processors and appends take.

They are in the default registry of `prometheus_client`. In its multi-process mode, their values are
in files, and each process can read those of all.
"""

import os
from collections.abc import Iterable
from typing import Any, Final

from prometheus_client import Histogram, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from django_jsonbuffer.appending import sending
from django_jsonbuffer.signals import batch_failed, batch_processed

PROCESSOR_SECONDS: Final = Histogram(
    "jsonbuffer_processor_seconds",
    "How long the processor took for a batch, by outcome: processed or failed.",
    ["bucket", "outcome"],
    buckets=[0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
)

APPEND_SECONDS: Final = Histogram(
    "jsonbuffer_append_seconds",
    "How long a call to Redis with the events of an append took, by outcome: accepted or failed.",
    ["bucket", "outcome"],
    buckets=[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10],
)

HISTOGRAMS: Final = (PROCESSOR_SECONDS, APPEND_SECONDS)


class _Children(dict[str, tuple[Histogram, Histogram]]):
    """The histograms of each bucket: for success, and for failure.

    Both begin with zeros at the first use of one. Prometheus does not notice a first failure whose
    counter was not there before.
    """

    def __init__(self, histogram: Histogram, success: str) -> None:
        self._histogram = histogram
        self._success = success

    def __missing__(self, bucket: str) -> tuple[Histogram, Histogram]:
        of_success = self._histogram.labels(bucket, self._success)
        of_failure = self._histogram.labels(bucket, "failed")
        return self.setdefault(bucket, (of_success, of_failure))


_processors: Final = _Children(PROCESSOR_SECONDS, "processed")
_appends: Final = _Children(APPEND_SECONDS, "accepted")


def connect() -> None:
    """Observe each append and each batch of this process from now on."""
    sending.observer = _observe_append
    batch_processed.connect(_observe_processed, weak=False, dispatch_uid=__name__)
    batch_failed.connect(_observe_failed, weak=False, dispatch_uid=__name__)


def disconnect() -> None:
    """Observe nothing any more, and forget what was observed."""
    sending.observer = None
    batch_processed.disconnect(dispatch_uid=__name__)
    batch_failed.disconnect(dispatch_uid=__name__)
    for children, histogram in zip((_processors, _appends), HISTOGRAMS, strict=True):
        children.clear()
        histogram.clear()


def _observe_append(bucket: str, seconds: float, failure: Exception | None) -> None:
    _appends[bucket][failure is not None].observe(seconds)


def _observe_processed(sender: str, seconds: float, **facts: Any) -> None:
    _processors[sender][0].observe(seconds)


def _observe_failed(sender: str, seconds: float, **facts: Any) -> None:
    _processors[sender][1].observe(seconds)


class TimingCollector(Collector):
    """Collects the histograms: of this process, or of all processes in the multi-process mode."""

    def collect(self) -> Iterable[Metric]:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return [metric for histogram in HISTOGRAMS for metric in histogram.collect()]
        names = {metric.name for histogram in HISTOGRAMS for metric in histogram.describe()}
        of_all: Any = MultiProcessCollector  # its types are missing
        return [metric for metric in of_all(None).collect() if metric.name in names]
