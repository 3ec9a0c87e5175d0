"""What a test hears of the signals."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from django_jsonbuffer import signals
from django_jsonbuffer.signals import BucketSignal

ALL: Final = ("batch_processed", "batch_failed", "events_buried", "events_dropped", "bucket_full")


@dataclass
class Heard:
    """A signal. What it carries can be read as attributes."""

    name: str
    sender: str
    facts: dict[str, Any]

    def __getattr__(self, fact: str) -> Any:
        return self.facts[fact]


@contextmanager
def listening(*names: str) -> Iterator[list[Heard]]:
    """Collects the signals of these names, or all."""
    heard: list[Heard] = []
    with receivers_are_temporary():
        for name in names or ALL:
            _connect(getattr(signals, name), name, heard)
        yield heard


def _connect(signal: BucketSignal, name: str, heard: list[Heard]) -> None:
    def receive(sender: str, **facts: Any) -> None:
        assert facts.pop("signal") is signal
        heard.append(Heard(name, sender, facts))

    signal.connect(receive, weak=False)


@contextmanager
def receivers_are_temporary() -> Iterator[None]:
    """Disconnects what the block connects."""
    before = {name: [*getattr(signals, name).receivers] for name in ALL}
    try:
        yield
    finally:
        for name, receivers in before.items():
            getattr(signals, name).receivers = receivers
