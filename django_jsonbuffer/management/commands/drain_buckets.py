import os
import sys
from argparse import SUPPRESS
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from django_jsonbuffer import catalog
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.draining.drain import Drain
from django_jsonbuffer.draining.rounds import Rounds
from django_jsonbuffer.draining.stop import Stop
from django_jsonbuffer.management.arguments import (
    matching_buckets,
    positive_int,
    positive_seconds,
)
from django_jsonbuffer.management.command import BufferCommand
from django_jsonbuffer.management.drain_processes import ChildArguments, is_final, raise_for
from django_jsonbuffer.management.exit_codes import (
    EVENTS_ARE_KEPT,
    MISCONFIGURED_OR_UNREACHABLE,
    PROCESSOR_HANGS,
    STOPPED,
)
from django_jsonbuffer.management.processes import Processes
from django_jsonbuffer.management.progress import Reporter, describe_drain, progress_bar
from django_jsonbuffer.management.stop_signals import AT_ONCE, catch_stop_signals
from django_jsonbuffer.management.wording import format_counted
from django_jsonbuffer.runs import names_with_processor
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
        buckets = _selected_buckets(options["bucket"])
        self._process = options["process"]
        try:
            # This also raises if Redis is unreachable at the start. Later, a watch waits for Redis.
            pending = _count_pending(buckets)
            with catch_stop_signals(is_child=self._process is not None) as stop:
                if options["processes"] > 1:
                    self._drain_in_processes(buckets, stop, options)
                else:
                    self._drain_here(buckets, stop, options, pending=pending)
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
        self, buckets: Sequence[Bucket], stop: Stop, options: dict[str, Any]
    ) -> None:
        if AT_ONCE is None:
            raise CommandError("--processes needs a system with signals.")
        watch, verbosity = options["watch"], options["verbosity"]
        processes = Processes(
            options["processes"],
            command="drain_buckets",
            arguments=ChildArguments([bucket.name for bucket in buckets], options),
            is_final=partial(is_final, options),
            report=self.report if verbosity else lambda line: None,
            complain=self.complain,
        )
        if watch and verbosity:
            names = ", ".join(bucket.name for bucket in buckets)
            number = options["processes"]
            self.report(f"Watching {names} with {number} processes. Stop with Ctrl-C.")
        processes.run(stop)
        if verbosity and not watch:
            self._report_rest(buckets)
        raise_for(processes, watch=watch)

    def _drain_here(
        self, buckets: Sequence[Bucket], stop: Stop, options: dict[str, Any], *, pending: int
    ) -> None:
        with ExitStack() as stack:
            drains = [
                stack.enter_context(
                    bucket.drain_steps(watch=options["watch"], on_timeout=_exit_at_once)
                )
                for bucket in buckets
            ]
            rounds = self._rounds(drains, stop, options)
            self._drain(rounds, drains, pending=pending, options=options)
        if options["verbosity"] and not options["watch"] and self._process is None:
            self._report_rest(buckets)
        if kept := [*_describe_kept(drains, rounds, watch=options["watch"])]:
            raise CommandError("\n".join(kept), returncode=EVENTS_ARE_KEPT)

    def _rounds(self, drains: Sequence[Drain], stop: Stop, options: dict[str, Any]) -> Rounds:
        return Rounds(
            drains,
            watch=options["watch"],
            interval_seconds=options["interval"],
            max_batches=options["max_batches"],
            max_seconds=options["max_seconds"],
            stop=stop,
            complain=self.complain,
        )

    def _drain(
        self, rounds: Rounds, drains: Sequence[Drain], *, pending: int, options: dict[str, Any]
    ) -> None:
        """Drain, and report the progress: each batch, on a bar, or at intervals."""
        watch, verbosity = options["watch"], options["verbosity"]
        if watch and verbosity and self._process is None:
            names = ", ".join(drain.bucket for drain in drains)
            self.report(f"Watching {names}. Stop with Ctrl-C.")
        reporter = Reporter(drains, report_line=self.report)
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
                    bar.update(sum(each.report.processed for each in drains) - bar.n)
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


def _describe_kept(drains: Sequence[Drain], rounds: Rounds, *, watch: bool) -> Iterator[str]:
    """A line for each kind of event that the command could not process, and that is kept."""
    if failing := [drain.bucket for drain in drains if drain.is_failing or drain in rounds.broken]:
        yield (
            f"Some events of {', '.join(failing)} failed. They are kept, and come again. For the "
            "reasons, see the log, or `manage.py show_buckets --verbosity 2`."
        )
    if not watch:
        yield from filter(None, (drain.forwarding.describe_stuck() for drain in drains))


def _selected_buckets(patterns: Sequence[str]) -> list[Bucket]:
    declared = {bucket.name: bucket for bucket in catalog.declared_buckets()}
    with_processor = {
        name: bucket for name, bucket in declared.items() if catalog.has_processor(bucket)
    }
    if not patterns:
        names_with_processor()  # raises if there is none
    # The exact name also selects a bucket without a processor. The command then fails, and says
    # that the bucket has no processor.
    named = {name: declared[name] for name in patterns if name in declared}
    return matching_buckets(patterns or ["*"], among=with_processor | named)


def _count_pending(buckets: Sequence[Bucket]) -> int:
    outcomes = catalog.statuses(buckets)
    return sum(status.pending for status in outcomes if isinstance(status, BucketStatus))
