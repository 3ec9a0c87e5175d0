import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import close_old_connections

from django_jsonbuffer.buckets import Bucket, declared_buckets, statuses
from django_jsonbuffer.draining import Drain
from django_jsonbuffer.exceptions import BufferUnavailable, JSONBufferError
from django_jsonbuffer.management.arguments import (
    counted,
    positive_int,
    positive_seconds,
    selected,
)
from django_jsonbuffer.store import BucketStatus

MISCONFIGURED_OR_UNREACHABLE: Final = 1
SOME_BATCH_FAILED: Final = 3
STOPPED: Final = 130

STOP_SIGNALS: Final = [
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)
]

PROGRESS_FROM_EVENTS: Final = 10_000
"""A backlog that is worth a progress bar, where there is a terminal to show it on."""


class Command(BaseCommand):
    help = (
        "Process what is pending in the buckets, and exit. With --watch, go on until SIGTERM or "
        "SIGINT, which let the batch in hand be finished; a second one stops at once. "
        "Exit codes: 0 done, 1 misconfigured or Redis unreachable, 2 wrong usage, "
        "3 some batch failed and is kept for another attempt, 130 stopped before it was done."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "bucket",
            nargs="*",
            help="Name of a bucket, or a glob such as 'orders*'. All that have a processor, if "
            "there is none.",
        )
        parser.add_argument("--watch", action="store_true", help="Go on for ever: for a service.")
        parser.add_argument(
            "--interval",
            type=positive_seconds,
            default=1.0,
            metavar="SECONDS",
            help="With --watch, how long to wait when nothing is pending. Default: 1.",
        )
        parser.add_argument(
            "--max-batches", type=positive_int, metavar="N", help="Stop after so many batches."
        )
        parser.add_argument(
            "--max-seconds",
            type=positive_seconds,
            metavar="SECONDS",
            help="Claim no batch after that time.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        buckets = _selected(options["bucket"])
        watch, verbosity = options["watch"], options["verbosity"]
        try:
            # It also finds out whether Redis is there, before a watch begins that waits for it.
            pending = sum(
                status.pending for status in statuses(buckets) if isinstance(status, BucketStatus)
            )
            with _stop_signals() as stop, ExitStack() as stack:
                drains = [
                    stack.enter_context(bucket.drain_steps(watch=watch)) for bucket in buckets
                ]
                rounds = Rounds(
                    drains,
                    watch=watch,
                    interval_seconds=options["interval"],
                    max_batches=options["max_batches"],
                    max_seconds=options["max_seconds"],
                    stop=stop,
                    complain=self.stderr.write,
                )
                if watch and verbosity:
                    names = ", ".join(bucket.name for bucket in buckets)
                    self._say(f"Watching {names}. Stop with Ctrl-C.")
                self._follow(rounds, drains, verbosity=verbosity, total=None if watch else pending)
            if verbosity and not watch:
                self._report_what_is_left(buckets)
        except JSONBufferError as error:
            raise CommandError(str(error), returncode=MISCONFIGURED_OR_UNREACHABLE) from error
        except KeyboardInterrupt:
            raise CommandError(
                "Stopped at once. A batch that was in hand comes again.", returncode=STOPPED
            ) from None
        if failing := [drain.bucket for drain in drains if drain.failing or drain in rounds.broken]:
            raise CommandError(
                f"Some batches of {', '.join(failing)} failed. They are kept: see the log.",
                returncode=SOME_BATCH_FAILED,
            )
        if stop.is_set and not watch:
            raise CommandError(
                "Stopped. What is still pending waits for the next run.", returncode=STOPPED
            )

    def _follow(
        self, rounds: "Rounds", drains: Sequence[Drain], *, verbosity: int, total: int | None
    ) -> None:
        """Let the rounds go on, and say how they do: each batch, on a bar, or now and then."""
        reporter = Reporter(drains, tell=self._say)
        shows_bar = verbosity == 1 and self.stderr.isatty() and (total or 0) >= PROGRESS_FROM_EVENTS
        with _bar(total if shows_bar else None) as bar:
            for drain in rounds:
                if verbosity > 1:
                    self._say(_summary(drain))
                elif bar:
                    bar.update(sum(each.report.processed for each in drains) - bar.n)
                elif verbosity:
                    reporter.report_now_and_then()
        if verbosity == 1:
            reporter.report()

    def _say(self, line: str) -> None:
        """Nobody may be listening any more, which is no reason to stop working."""
        try:
            self.stdout.write(line)
            self.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def _report_what_is_left(self, buckets: Sequence[Bucket]) -> None:
        """So that nobody takes a silence for an empty bucket."""
        left = [
            f"{bucket.name}: {counted(status.pending, 'event', 'events')} pending and "
            f"{status.in_flight:,} in flight are left"
            + (": the bucket is paused" if status.paused is not None else "")
            for bucket, status in zip(buckets, statuses(buckets), strict=True)
            if isinstance(status, BucketStatus) and status.pending + status.in_flight
        ]
        for line in left:
            self._say(line)


class Reporter:
    """A line for each bucket in which something was done since its last line."""

    INTERVAL_SECONDS: Final = 10.0

    def __init__(self, drains: Sequence[Drain], *, tell: Callable[[str], object]) -> None:
        self._drains = drains
        self._tell = tell
        self._told: dict[Drain, tuple[int, int, int]] = {}
        self._last = time.monotonic()

    def report_now_and_then(self) -> None:
        if time.monotonic() - self._last >= self.INTERVAL_SECONDS:
            self.report()

    def report(self) -> None:
        for drain in self._drains:
            figures = _figures(drain)
            if figures != self._told.get(drain, (0, 0, 0)):
                self._tell(_summary(drain))
                self._told[drain] = figures
        if not self._told:
            self._tell("Nothing to drain.")
        self._last = time.monotonic()


class Rounds:
    """One batch of each bucket in turn, so that no bucket waits for another's backlog.

    Iterating yields the drain of each batch that was claimed, until all buckets are drained, a
    limit is reached or a stop is asked for; with `watch`, until one of the latter two.
    """

    def __init__(
        self,
        drains: Sequence[Drain],
        *,
        watch: bool,
        interval_seconds: float,
        max_batches: int | None,
        max_seconds: float | None,
        stop: "Stop",
        complain: Callable[[str], object],
    ) -> None:
        self.broken: set[Drain] = set()
        """Those whose bucket could not be read, although Redis answers."""
        self._active = list(drains)
        self._watch = watch
        self._interval_seconds = interval_seconds
        self._batches_left = max_batches
        self._deadline = None if max_seconds is None else time.monotonic() + max_seconds
        self._stop = stop
        self._complain = complain
        self._is_away = False

    def __iter__(self) -> Iterator[Drain]:
        while self._active:
            found_any = False
            for drain in tuple(self._active):
                if self._is_over():
                    return
                if self._step(drain):
                    found_any = True
                    yield drain
                elif not self._watch:
                    self._active.remove(drain)
            if self._watch and not found_any:
                self._stop.wait(self._seconds_to_wait())

    def _is_over(self) -> bool:
        return (
            self._stop.is_set
            or self._batches_left == 0
            or (self._deadline is not None and time.monotonic() >= self._deadline)
        )

    def _seconds_to_wait(self) -> float:
        if self._deadline is None:
            return self._interval_seconds
        return min(self._interval_seconds, max(0, self._deadline - time.monotonic()))

    def _step(self, drain: Drain) -> bool:
        close_old_connections()
        try:
            found = drain.step()
        except BufferUnavailable as error:
            if not self._watch:
                raise
            if not self._is_away:
                self._complain(f"{error} Trying again every {self._interval_seconds:g} s.")
            self._is_away = True
            return False
        except JSONBufferError as error:
            if drain not in self.broken:
                self._complain(str(error))
            self.broken.add(drain)
            return False
        if self._is_away:
            self._complain("Redis is back.")
        self._is_away = False
        self.broken.discard(drain)
        if found and self._batches_left is not None:
            self._batches_left -= 1
        return found


def _selected(patterns: Sequence[str]) -> list[Bucket]:
    declared = {bucket.name: bucket for bucket in declared_buckets()}
    with_processor = {name: bucket for name, bucket in declared.items() if bucket.has_processor}
    if not patterns and not with_processor:
        raise CommandError(
            "No bucket has a processor. Declare one with @bucket.processor in a buckets.py of an "
            "installed app.",
            returncode=MISCONFIGURED_OR_UNREACHABLE,
        )
    # One that is named, and has no processor, is to fail.
    named = {name: declared[name] for name in patterns if name in declared}
    return selected(patterns or ["*"], among=with_processor | named)


class Stop:
    """What a signal asks for. Unlike an Event it takes no lock that the main thread may hold."""

    def __init__(self) -> None:
        self.is_set = False
        self._wake: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        self.is_set = True
        self._wake.put(None)

    def wait(self, seconds: float) -> None:
        """Return after the time, or earlier when a stop is asked for."""
        with suppress(Empty):
            self._wake.get(timeout=seconds)


@contextmanager
def _stop_signals() -> Iterator[Stop]:
    """A stop that the first SIGTERM, SIGINT or SIGHUP asks for. The second interrupts."""
    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set:
            raise KeyboardInterrupt
        stop.set()
        # Straight to the descriptor: the signal may have interrupted a write to sys.stderr.
        with suppress(OSError):
            os.write(2, b"Finishing the batch in hand. A second signal stops at once.\n")

    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may handle signals
        return
    before = {
        number: signal.signal(number, handle)
        for number in STOP_SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN  # as nohup has it
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _bar(total: int | None) -> Iterator[Any]:
    """A progress bar, or None without a total or without tqdm."""
    try:
        from tqdm import tqdm
    except ImportError:
        total = None
    if total is None:
        yield None
        return
    with tqdm(total=total, unit=" events", unit_scale=True) as bar:
        yield bar


def _figures(drain: Drain) -> tuple[int, int, int]:
    return drain.report.processed, drain.report.failed, drain.report.buried


def _summary(drain: Drain) -> str:
    processed, failed, buried = _figures(drain)
    parts = [
        f"{counted(processed, 'event', 'events')} in "
        f"{counted(drain.report.batches, 'batch', 'batches')}"
    ]
    if failed:
        parts.append(f"{counted(failed, 'attempt', 'attempts')} failed")
    if buried:
        parts.append(counted(buried, "dead letter", "dead letters"))
    return f"{drain.bucket}: {', '.join(parts)}"
