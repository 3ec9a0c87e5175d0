import time
from contextlib import suppress
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from django_jsonbuffer.escapes import escape_invisible
from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.management.arguments import named_buckets, natural_int, positive_seconds
from django_jsonbuffer.management.command import BufferCommand
from django_jsonbuffer.management.formats import FORMATS
from django_jsonbuffer.management.gaps import describe_gaps
from django_jsonbuffer.management.limits import Limits
from django_jsonbuffer.management.retries import describe_retries
from django_jsonbuffer.spilled import describe_spills
from django_jsonbuffer.states import BucketState, read_states, sorted_by_urgency

LIMIT_CROSSED: Final = 1
UNREADABLE: Final = 3


class Command(BufferCommand):
    error_code = UNREADABLE
    # A failed check would exit with 1, which means that a limit is crossed.
    requires_system_checks = []
    help = (
        "Show the state and figures of buckets. Exit codes for a monitor: 0 within the limits, 1 a "
        "limit is crossed, 2 wrong usage, 3 misconfigured, or Redis or a bucket cannot be "
        "read, or the output cannot be written."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "bucket",
            nargs="*",
            help="Name of a bucket, or a glob such as 'orders*'. Default: all buckets.",
        )
        parser.add_argument(
            "--format",
            choices=FORMATS,
            default="table",
            help="table for people, json for scripts (an array in one line), prometheus for a "
            "scraper. Default: table.",
        )
        self._add_limits(parser)
        parser.add_argument(
            "--watch",
            action="store_true",
            help="Show them repeatedly until Ctrl-C, without checking the limits.",
        )
        parser.add_argument(
            "--interval",
            type=positive_seconds,
            default=2.0,
            metavar="SECONDS",
            help="With --watch, how long to wait in between. Default: 2.",
        )

    def _add_limits(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--max-pending",
            type=natural_int,
            metavar="N",
            help="Most pending events that a bucket may have.",
        )
        parser.add_argument(
            "--max-age",
            type=positive_seconds,
            metavar="S",
            help="Longest time in seconds that the oldest pending event of a bucket may have "
            "waited.",
        )
        parser.add_argument(
            "--max-dead",
            type=natural_int,
            metavar="N",
            help="Most dead letters that a bucket may have.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["watch"]:
            with suppress(KeyboardInterrupt):
                self._watch(options)
            return
        try:
            shown, gaps = self._show(options)
        except JSONBufferError as error:
            text = "\n".join([str(error), *describe_spills()])
            text = escape_invisible(text, keep="\n")
            raise CommandError(text, returncode=UNREADABLE) from error
        unreadable = [state.bucket.name for state in shown if state.status is None]
        if unreadable:
            gaps.append(f"Cannot be read: {', '.join(unreadable)}.")
        if gaps:
            text = escape_invisible("\n".join(gaps), keep="\n")
            raise CommandError(text, returncode=UNREADABLE)
        limits = Limits(options["max_pending"], options["max_age"], options["max_dead"])
        if crossed := [
            text for bucket_state in shown for text in limits.describe_crossed(bucket_state)
        ]:
            raise CommandError("\n".join(crossed), returncode=LIMIT_CROSSED)
        self.require_whole_output()

    def _watch(self, options: dict[str, Any]) -> None:
        clear = "\033[H\033[2J" if self.stdout.isatty() and options["format"] == "table" else ""
        while True:
            self.stdout.write(clear, ending="")
            try:
                _, complaints = self._show(options)
            except JSONBufferError as error:
                complaints = [str(error)]
            for complaint in complaints:
                self.complain(complaint)
            self.require_whole_output()
            if self.is_unread:
                return
            time.sleep(options["interval"])

    def _show(self, options: dict[str, Any]) -> tuple[list[BucketState], list[str]]:
        """The buckets, and a line for each gap."""
        buckets, gap = named_buckets(options["bucket"])
        shown = sorted_by_urgency(read_states(buckets))
        self.stdout.write(FORMATS[options["format"]](shown), ending="")
        if options["verbosity"] > 1 and options["format"] == "table":
            for line in describe_retries(shown):
                self.stdout.write(line)
        self.stdout.flush()
        return shown, [*describe_gaps(gap)]
