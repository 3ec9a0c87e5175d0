"""The progress of drains: lines for a log, and a bar for a terminal."""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final

from django_jsonbuffer.draining.drain import Drain

from .wording import format_counted


class Reporter:
    """Reports each bucket whose figures have changed since its last line."""

    INTERVAL_SECONDS: Final = 10.0

    def __init__(self, drains: Collection[Drain], *, report_line: Callable[[str], object]) -> None:
        self._drains = drains
        self._report_line = report_line
        self._reported: dict[str, tuple[int, ...]] = {}
        """By the name of the bucket. The drains of its shards have one report."""
        self._last = time.monotonic()

    def report_at_intervals(self) -> None:
        if time.monotonic() - self._last >= self.INTERVAL_SECONDS:
            self.report()

    def report(self) -> None:
        for drain in self._drains:
            figures = _figures(drain)
            if figures != self._reported.get(drain.bucket, _NOTHING):
                self._report_line(describe_drain(drain))
                self._reported[drain.bucket] = figures
        if not self._reported:
            self._report_line("Nothing to drain.")
        self._last = time.monotonic()


def describe_drain(drain: Drain) -> str:
    """The bucket, and how much of it was drained."""
    processed, repeated, failed, buried = _figures(drain)
    parts = [
        f"{format_counted(processed, 'event', 'events')} in "
        f"{format_counted(drain.report.batches, 'batch', 'batches')}"
    ]
    if repeated:
        parts.append(format_counted(repeated, "repeated event", "repeated events"))
    if failed:
        parts.append(format_counted(failed, "failure", "failures"))
    if buried:
        parts.append(format_counted(buried, "dead letter", "dead letters"))
    return f"{drain.bucket}: {', '.join(parts)}"


def _figures(drain: Drain) -> tuple[int, int, int, int]:
    report = drain.report
    return report.processed, report.repeated, report.failed, report.buried


_NOTHING: Final = (0, 0, 0, 0)


@contextmanager
def progress_bar(total: int | None) -> Iterator[Any]:
    """A progress bar. None if there is no total, or if tqdm is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        total = None
    if total is None:
        yield None
        return
    with tqdm(total=total, unit=" events", unit_scale=True) as bar:
        yield bar
