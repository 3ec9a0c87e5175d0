import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.figures import Figures
from django_jsonbuffer.health import Health, State, health
from django_jsonbuffer.management.arguments import named_buckets, natural_int, positive_seconds
from django_jsonbuffer.store import BucketStatus

LIMIT_CROSSED: Final = 1
UNREADABLE: Final = 3


class Command(BaseCommand):
    # A check that fails would end it with 1, which is for a limit that is crossed.
    requires_system_checks = []
    help = (
        "Show how buckets stand. Exit codes, for a monitor: 0 within the limits, 1 a limit is "
        "crossed, 2 wrong usage, 3 misconfigured, or Redis or a bucket cannot be read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "bucket",
            nargs="*",
            help="Name of a bucket, or a glob such as 'orders*'. All, if there is none.",
        )
        parser.add_argument(
            "--format",
            choices=FORMATS,
            default="table",
            help="table for people, json for scripts (an array in one line), prometheus for a "
            "scraper. Default: table.",
        )
        parser.add_argument(
            "--max-pending", type=natural_int, metavar="N", help="Most events pending in a bucket."
        )
        parser.add_argument(
            "--max-age",
            type=positive_seconds,
            metavar="S",
            help="Longest that the oldest pending event of a bucket may have waited, in seconds.",
        )
        parser.add_argument(
            "--max-dead", type=natural_int, metavar="N", help="Most dead letters of a bucket."
        )
        parser.add_argument(
            "--watch",
            action="store_true",
            help="Show them again and again until Ctrl-C, whatever the limits.",
        )
        parser.add_argument(
            "--interval",
            type=positive_seconds,
            default=2.0,
            metavar="SECONDS",
            help="With --watch, how long to wait in between. Default: 2.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["watch"]:
            with suppress(KeyboardInterrupt):
                self._watch(options)
            return
        try:
            shown = self._show(options)
        except JSONBufferError as error:
            raise CommandError(str(error), returncode=UNREADABLE) from error
        if unreadable := [one.bucket.name for one in shown if one.status is None]:
            raise CommandError(f"Cannot be read: {', '.join(unreadable)}.", returncode=UNREADABLE)
        limits = Limits(options["max_pending"], options["max_age"], options["max_dead"])
        if crossed := [told for one in shown for told in limits.crossed(one)]:
            raise CommandError("\n".join(crossed), returncode=LIMIT_CROSSED)

    def _watch(self, options: dict[str, Any]) -> None:
        clear = "\033[H\033[2J" if self.stdout.isatty() and options["format"] == "table" else ""
        while True:
            self.stdout.write(clear, ending="")
            try:
                self._show(options)
            except JSONBufferError as error:
                self.stderr.write(str(error))
            time.sleep(options["interval"])

    def _show(self, options: dict[str, Any]) -> list[Health]:
        shown = health(named_buckets(options["bucket"]))
        self.stdout.write(FORMATS[options["format"]](shown), ending="")
        self.stdout.flush()
        return shown


class Limits(NamedTuple):
    """What a bucket may have at the most; None for any number."""

    pending: int | None
    age_seconds: float | None
    dead: int | None

    def crossed(self, one: Health) -> Iterator[str]:
        """What crosses a limit, in words."""
        status, name = one.status, one.bucket.name
        if status is None:
            return
        if self.pending is not None and status.pending > self.pending:
            yield f"{name}: {status.pending:,} pending, more than {self.pending:,}."
        waited = 0 if status.oldest is None else status.oldest.total_seconds()
        if self.age_seconds is not None and waited > self.age_seconds:
            yield f"{name}: the oldest is {waited:,.0f} s old, more than {self.age_seconds:,g} s."
        if self.dead is not None and status.dead > self.dead:
            yield f"{name}: {status.dead:,} dead letters, more than {self.dead:,}."


def _table(shown: Sequence[Health]) -> str:
    rows = [["bucket", "state", "pending", "oldest", "in/min", "out/min"]]
    rows[0] += ["dead", "in flight", "batches", "bytes", "workers"]
    rows += [[one.bucket.name, one.state.value, *_cells(one.status)] for one in shown]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for at, row in enumerate(rows):
        cells = [
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
        if at:
            lines += [f"  {reason}" for reason in shown[at - 1].reasons]
    return "\n".join(lines).replace("\xa0", " ") + "\n"


def _cells(status: BucketStatus | None) -> list[str]:
    if status is None:
        return ["?"] * 9
    figures = Figures.of(status)
    return [
        figures.pending,
        figures.oldest.words if figures.oldest else "-",
        figures.appended_per_minute or "-",
        figures.processed_per_minute or "-",
        figures.dead,
        figures.in_flight,
        figures.batches,
        figures.bytes,
        figures.workers,
    ]


def _json(shown: Sequence[Health]) -> str:
    return json.dumps([_facts(one) for one in shown]) + "\n"


def _facts(one: Health) -> dict[str, Any]:
    facts = {"bucket": one.bucket.name, "state": one.state.value, "reasons": [*one.reasons]}
    if (status := one.status) is None:
        return facts
    return facts | {
        "pending": status.pending,
        "in_flight": status.in_flight,
        "dead": status.dead,
        "batches": {
            "open": status.batches_open,
            "sealed": status.batches_sealed,
            "in_flight": status.batches_in_flight,
        },
        "bytes": status.bytes,
        "oldest_seconds": None if status.oldest is None else status.oldest.total_seconds(),
        "appended_per_minute": status.appended_per_minute,
        "processed_per_minute": status.processed_per_minute,
        "workers": status.workers,
        "paused_seconds": None if status.paused is None else status.paused.total_seconds(),
        "failing_batches": status.failing,
        "appended": status.appended,
        "processed": status.processed,
        "buried": status.buried,
        "replayed": status.replayed,
        "lost": status.lost,
        "dropped": status.dropped._asdict(),
    }


class Metric(NamedTuple):
    """A family of samples as Prometheus knows them."""

    name: str
    kind: str
    help: str
    values: Callable[[BucketStatus], dict[str, float]]
    """By further labels, as they are written."""


def _plain(figure: Callable[[BucketStatus], float]) -> Callable[[BucketStatus], dict[str, float]]:
    return lambda status: {"": figure(status)}


def _batches(status: BucketStatus) -> dict[str, float]:
    return {
        ',state="open"': status.batches_open,
        ',state="sealed"': status.batches_sealed,
        ',state="in_flight"': status.batches_in_flight,
    }


METRICS: Final = (
    Metric("pending_events", "gauge", "Events that wait.", _plain(lambda s: s.pending)),
    Metric(
        "in_flight_events", "gauge", "Events that a worker holds.", _plain(lambda s: s.in_flight)
    ),
    Metric("dead_events", "gauge", "Dead letters.", _plain(lambda s: s.dead)),
    Metric("batches", "gauge", "Batches, by state.", _batches),
    Metric("bytes", "gauge", "Bytes of JSON in the batches.", _plain(lambda s: s.bytes)),
    Metric(
        "oldest_event_age_seconds",
        "gauge",
        "How long the oldest pending event has waited, 0 when nothing waits.",
        _plain(lambda s: s.oldest.total_seconds() if s.oldest else 0),
    ),
    Metric("workers", "gauge", "Workers heard of lately.", _plain(lambda s: s.workers)),
    Metric("paused", "gauge", "1 when paused.", _plain(lambda s: int(s.paused is not None))),
    Metric(
        "failing_batches",
        "gauge",
        "Batches that failed and have not succeeded since.",
        _plain(lambda s: s.failing),
    ),
    Metric("appended_events_total", "counter", "Events appended.", _plain(lambda s: s.appended)),
    Metric("processed_events_total", "counter", "Events processed.", _plain(lambda s: s.processed)),
    Metric("buried_events_total", "counter", "Events that died.", _plain(lambda s: s.buried)),
    Metric(
        "replayed_events_total", "counter", "Dead letters replayed.", _plain(lambda s: s.replayed)
    ),
    Metric("lost_events_total", "counter", "Events lost before Redis.", _plain(lambda s: s.lost)),
    Metric(
        "dropped_events_total",
        "counter",
        "Events given up, by reason.",
        lambda s: {f',reason="{reason}"': n for reason, n in s.dropped._asdict().items()},
    ),
)


def _prometheus(shown: Sequence[Health]) -> str:
    """The text format, version 0.0.4. A bucket that cannot be read has its state alone."""
    lines = []
    for name, kind, told, values in METRICS:
        lines += [f"# HELP jsonbuffer_{name} {told}", f"# TYPE jsonbuffer_{name} {kind}"]
        lines += [
            f'jsonbuffer_{name}{{bucket="{one.bucket.name}"{labels}}} {value}'
            for one in shown
            if one.status is not None
            for labels, value in values(one.status).items()
        ]
    lines += [
        "# HELP jsonbuffer_state 1 for the state that the bucket is in.",
        "# TYPE jsonbuffer_state gauge",
    ]
    for one in shown:
        name = one.bucket.name
        lines += [
            f'jsonbuffer_state{{bucket="{name}",state="{state.value}"}} {int(state == one.state)}'
            for state in State
        ]
    return "\n".join(lines) + "\n"


FORMATS: Final[dict[str, Callable[[Sequence[Health]], str]]] = {
    "table": _table,
    "json": _json,
    "prometheus": _prometheus,
}
