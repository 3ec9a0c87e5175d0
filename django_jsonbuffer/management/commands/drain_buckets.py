import os
import sys
from argparse import SUPPRESS
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from django_jsonbuffer import catalog
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.draining.drain import Drain
from django_jsonbuffer.draining.lookout import Lookout
from django_jsonbuffer.draining.reachability import Reachability
from django_jsonbuffer.draining.report import DrainReport
from django_jsonbuffer.draining.rounds import Rounds
from django_jsonbuffer.draining.stop import Stop
from django_jsonbuffer.escapes import escape_invisible
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.management.arguments import positive_int, positive_seconds
from django_jsonbuffer.management.command import BufferCommand
from django_jsonbuffer.management.drain_processes import ChildArguments, is_final, raise_for
from django_jsonbuffer.management.exit_codes import (
    EVENTS_ARE_KEPT,
    MISCONFIGURED_OR_UNREACHABLE,
    PROCESSOR_HANGS,
    STOPPED,
)
from django_jsonbuffer.management.gaps import describe_gaps
from django_jsonbuffer.management.processes import Processes
from django_jsonbuffer.management.progress import Reporter, describe_drain, progress_bar
from django_jsonbuffer.management.selection import Selection
from django_jsonbuffer.management.stop_signals import AT_ONCE, catch_stop_signals
from django_jsonbuffer.management.wording import format_counted
from django_jsonbuffer.runs import open_drain, open_drains
from django_jsonbuffer.store.keys import split_shard
from django_jsonbuffer.store.status import BucketStatus

PROGRESS_FROM_EVENTS: Final = 10_000
"""The smallest backlog for which a terminal shows a progress bar."""


class Command(BufferCommand):
    error_code = MISCONFIGURED_OR_UNREACHABLE
    _process: int | None = None
    """The number of this process, if it is one of several."""
    help = (
        "Process all pending events of the buckets, and exit. With --watch, continue until SIGTERM "
        "or SIGINT: the first lets the batch in hand be finished, a second one stops at once. "
        "Exit codes: 0 done, 1 misconfigured or Redis unreachable, 2 wrong usage, "
        "3 some batch failed and is kept for another attempt, or waits for the end of an "
        "outage, or (without --watch) spilled events of this machine could not be forwarded, "
        "4 a processor did not return within processor_timeout, 130 stopped before it was done."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "bucket",
            nargs="*",
            help="Name of a bucket, or a glob such as 'orders*'. Default: all buckets that have a "
            "processor.",
        )
        parser.add_argument("--watch", action="store_true", help="Do not exit: for a service.")
        parser.add_argument(
            "--interval",
            type=positive_seconds,
            default=1.0,
            metavar="SECONDS",
            help="With --watch, how long to wait if nothing is pending. Default: 1.",
        )
        parser.add_argument(
            "--max-batches",
            type=positive_int,
            metavar="N",
            help="Stop after that many batches of all buckets.",
        )
        parser.add_argument(
            "--max-seconds",
            type=positive_seconds,
            metavar="SECONDS",
            help="Claim no further batch after that time.",
        )
        parser.add_argument(
            "--processes",
            type=positive_int,
            default=1,
            metavar="N",
            help="Drain in N processes. One that dies is started again. Default: 1.",
        )
        parser.add_argument("--process", type=positive_int, help=SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        selection = Selection(options["bucket"])
        buckets = selection.buckets
        self._process = options["process"]
        try:
            # This also raises if Redis is unreachable at the start. Later, a watch waits for Redis.
            pending = _count_pending(buckets)
            with catch_stop_signals(is_child=self._process is not None) as stop:
                if options["processes"] > 1:
                    self._drain_in_processes(selection, stop, options)
                else:
                    self._drain_here(selection, stop, options, pending=pending)
        except KeyboardInterrupt:
            raise CommandError(
                "Stopped at once. A batch in hand will be delivered again.", returncode=STOPPED
            ) from None
        if stop.is_set and not options["watch"]:
            raise CommandError(
                "Stopped. The rest is still pending and waits for the next run.", returncode=STOPPED
            )

    def report(self, line: str) -> None:
        super().report(line if self._process is None else f"Process {self._process}: {line}")

    def _drain_in_processes(
        self, selection: Selection, stop: Stop, options: dict[str, Any]
    ) -> None:
        if AT_ONCE is None:
            raise CommandError("--processes needs a system with signals.")
        watch, verbosity = options["watch"], options["verbosity"]
        processes = Processes(
            options["processes"],
            command="drain_buckets",
            arguments=ChildArguments(options),
            is_final=partial(is_final, options),
            report=self.report if verbosity else lambda line: None,
            complain=self.complain,
        )
        if watch and verbosity:
            number = options["processes"]
            self.report(f"Watching {selection} with {number} processes. Stop with Ctrl-C.")
        processes.run(stop)
        if verbosity and not watch:
            self._report_rest(selection.buckets)
        raise_for(processes, watch=watch)

    def _drain_here(
        self, selection: Selection, stop: Stop, options: dict[str, Any], *, pending: int
    ) -> None:
        watch = options["watch"]
        with self._rounds(selection, stop, options) as rounds:
            if watch and options["verbosity"] and self._process is None:
                self.report(f"Watching {selection}. Stop with Ctrl-C.")
            gaps = [] if watch else [*describe_gaps(selection.gap)]
            self._drain(rounds, pending=pending, options=options)
        if options["verbosity"] and not watch and self._process is None:
            self._report_rest(selection.buckets)
        if lines := [*_describe_kept(rounds, watch=watch), *gaps]:
            is_away = any(isinstance(each, BufferUnavailable) for each in rounds.broken.values())
            code = MISCONFIGURED_OR_UNREACHABLE if is_away or gaps else EVENTS_ARE_KEPT
            raise CommandError(escape_invisible("\n".join(lines), keep="\n"), returncode=code)

    def _rounds(self, selection: Selection, stop: Stop, options: dict[str, Any]) -> Rounds:
        watch, interval = options["watch"], options["interval"]
        drains = open_drains(selection.buckets, watch=watch, on_timeout=_exit_at_once)
        reports = {drain.bucket: drain.report for drain in drains}
        lookout = Lookout(
            configuration(),
            selection.serves,
            accepts=selection.accepts,
            interval_seconds=interval,
            wake=stop.wake,
        )

        def new_drain(name: str) -> Drain:
            bucket = split_shard(name)[0]
            report = reports.setdefault(bucket, DrainReport())
            return open_drain(name, report, watch=watch, on_timeout=_exit_at_once)

        return Rounds(
            drains,
            stop=stop,
            lookout=lookout if watch else None,
            reachability=Reachability.of(configuration(), stop.wake),
            new_drain=new_drain,
            retry_seconds=interval,
            max_batches=options["max_batches"],
            max_seconds=options["max_seconds"],
            complain=self.complain,
        )

    def _drain(self, rounds: Rounds, *, pending: int, options: dict[str, Any]) -> None:
        """Drain, and report the progress: each batch, on a bar, or at intervals."""
        watch, verbosity = options["watch"], options["verbosity"]
        reporter = Reporter(rounds.drains.values(), report_line=self.report)
        shows_bar = (
            verbosity == 1
            and not watch
            and self._process is None
            and self.stderr.isatty()
            and pending >= PROGRESS_FROM_EVENTS
        )
        with progress_bar(pending if shows_bar else None) as bar:
            for drain in rounds:
                if verbosity > 1:
                    self.report(describe_drain(drain))
                elif bar:
                    drains = {each.bucket: each for each in rounds.drains.values()}
                    processed = sum(each.report.processed for each in drains.values())
                    bar.update(processed - bar.n)
                elif verbosity:
                    reporter.report_at_intervals()
        if verbosity == 1:
            reporter.report()

    def _report_rest(self, buckets: Sequence[Bucket]) -> None:
        """Name each bucket that still holds events, so that silence means an empty bucket."""
        for bucket, status in zip(buckets, catalog.statuses(buckets), strict=True):
            if isinstance(status, BucketStatus) and status.pending + status.in_flight:
                pending = format_counted(status.pending, "event", "events")
                rest = f"{pending} pending and {status.in_flight:,} in flight are left"
                paused = ": the bucket is paused" if status.paused is not None else ""
                self.report(f"{bucket.name}: {rest}{paused}")


def _exit_at_once() -> None:
    """End the process from another thread than the one in which a processor hangs."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(PROCESSOR_HANGS)


def _describe_kept(rounds: Rounds, *, watch: bool) -> Iterator[str]:
    """A line for each kind of event that the command could not process, and that is kept."""
    drains = rounds.drains.values()
    if failing := [drain.bucket for drain in drains if drain.is_failing]:
        yield (
            f"Some events of {', '.join(dict.fromkeys(failing))} failed. They are kept, and come "
            "again. For the reasons, see the log, or `manage.py show_buckets --verbosity 2`."
        )
    if rounds.broken:
        yield f"Not drained: {', '.join(drain.name for drain in rounds.broken)}."
    if not watch:
        yield from filter(None, (drain.forwarding.describe_stuck() for drain in drains))


def _count_pending(buckets: Sequence[Bucket]) -> int:
    outcomes = catalog.statuses(buckets)
    return sum(status.pending for status in outcomes if isinstance(status, BucketStatus))
