"""Callers that append until each event is confirmed, and a worker that processes the events."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, Final

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.exceptions import AppendUndecided, BufferUnavailable, JSONBufferError
from tests.faults.scale import report, scale
from tests.test_embedded_redis import wait_until

CALLERS: Final = 8
_PAUSE_SECONDS: Final = 0.004

DRAIN_PAUSE_SECONDS: Final = scale(full=1.0, short=0.2)
"""As long as the default `linger`, so that events wait in Redis as they usually do."""


class Confirming:
    """Each number is appended until it is confirmed: an undecided append by its ``retry()``, any
    other append again, since an error says that nothing was stored."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._is_over = threading.Event()
        self._is_drained = threading.Event()
        self.confirmed: list[int] = []
        self.processed: Counter[int] = Counter()
        self.refused = 0
        """Appends that stored nothing."""
        self.undecided = 0
        self.slowest_seconds = 0.0
        """The longest time until an event was confirmed."""

    @property
    def lost(self) -> int:
        return len({*self.confirmed} - self.processed.keys())

    @property
    def twice(self) -> int:
        return sum(times > 1 for times in self.processed.values())

    def wait_for_more(self, number: int) -> None:
        """Wait until so many more events are confirmed."""
        end = len(self.confirmed) + number
        wait_until(lambda: len(self.confirmed) >= end, seconds=60)

    @contextmanager
    def appending(self) -> Iterator[None]:
        callers = [threading.Thread(target=self._append, args=(first,)) for first in range(CALLERS)]
        for caller in callers:
            caller.start()
        try:
            yield
        finally:
            self._is_over.set()
            for caller in callers:
                caller.join()

    @contextmanager
    def draining(self) -> Iterator[None]:
        """At the end, everything that Redis has is processed."""
        self._bucket.processor(self._process)
        worker = threading.Thread(target=self._drain)
        worker.start()
        try:
            yield
            wait_until(self._is_empty, seconds=60)
        finally:
            self._is_drained.set()
            worker.join()

    def _append(self, first: int) -> None:
        for number in count(first, CALLERS):
            if self._is_over.is_set():
                return
            began = time.monotonic()
            key = number if number % 2 else None
            if not self._is_confirmed(partial(self._bucket.append, number, ordering_key=key)):
                return
            self.confirmed.append(number)
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
            time.sleep(_PAUSE_SECONDS)

    def _is_confirmed(self, call: Callable[[], Any]) -> bool:
        while not self._is_over.is_set():
            try:
                call()
            except AppendUndecided as error:
                self.undecided += 1
                call = error.retry
            except BufferUnavailable:
                self.refused += 1
                time.sleep(0.01)
            else:
                return True
        return False

    def _process(self, batch: Batch) -> None:
        self.processed.update(batch)

    def _drain(self) -> None:
        while not self._is_drained.is_set():
            with suppress(JSONBufferError):
                self._bucket.drain()
            time.sleep(DRAIN_PAUSE_SECONDS)

    def _is_empty(self) -> bool:
        with suppress(JSONBufferError):
            status = self._bucket.status()
            return status.pending == status.in_flight == 0
        return False


def confirming(durability: str | None, *, shards: int = 1) -> Confirming:
    second = timedelta(seconds=1)
    options: dict[str, Any] = {"durability": durability, "shards": shards}
    return Confirming(Bucket("orders", lease=second, append_timeout=second, **options))


def report_figures(fault: str, name: str, seen: Confirming) -> None:
    report(
        f"failover, {fault}, {name}",
        confirmed=len(seen.confirmed),
        lost=seen.lost,
        twice=seen.twice,
        refused=seen.refused,
        undecided=seen.undecided,
        slowest=f"{seen.slowest_seconds:.1f} s",
    )
