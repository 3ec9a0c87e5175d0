"""What a scraper gets, read with the parsers of `prometheus_client`."""

from collections.abc import Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from django_jsonbuffer.contrib.prometheus.collectors import BucketCollector
from django_jsonbuffer.contrib.prometheus.timings import TimingCollector


class Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float


class Exposed(list[Sample]):
    def values(self, name: str, **labels: str) -> list[float]:
        """The values of the samples of this name that have these labels."""
        return [
            each.value
            for each in self
            if each.name == name and labels.items() <= each.labels.items()
        ]

    def value(self, name: str, **labels: str) -> float:
        [value] = self.values(name, **labels)
        return value

    @property
    def names(self) -> set[str]:
        return {each.name for each in self}


def read(text: str) -> Exposed:
    families: Sequence[object] = [*text_string_to_metric_families(text)]
    return Exposed(
        Sample(sample.name, sample.labels, sample.value)
        for family in families
        for sample in family.samples  # type: ignore[attr-defined]
    )


def exposed() -> Exposed:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(BucketCollector())
    registry.register(TimingCollector())
    return read(generate_latest(registry).decode())
