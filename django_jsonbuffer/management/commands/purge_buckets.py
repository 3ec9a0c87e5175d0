from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_jsonbuffer import catalog
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.management.arguments import WRONG_USAGE, add_buckets, named_buckets
from django_jsonbuffer.management.command import BufferCommand
from django_jsonbuffer.management.each import each
from django_jsonbuffer.management.wording import format_counted
from django_jsonbuffer.store.status import BucketStatus


class Command(BufferCommand):
    help = (
        "Remove the pending events of buckets for ever. Batches that a worker holds, and dead "
        "letters, stay. Asks for confirmation."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_buckets(parser)
        parser.add_argument(
            "--dead",
            action="store_true",
            help="Remove the dead letters instead of the pending events.",
        )
        parser.add_argument(
            "--no-input",
            "--noinput",
            action="store_false",
            dest="interactive",
            help="Do not ask for confirmation.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        is_of_dead = options["dead"]
        known = named_buckets(options["bucket"])
        buckets = known.buckets
        # Read before the question: letters that are buried while it waits must stay.
        newest = dict(each(buckets if is_of_dead else [], lambda bucket: bucket.dead.newest()))
        if options["interactive"]:
            self._require_consent(_question(buckets, is_of_dead=is_of_dead))

        def purge(bucket: Bucket) -> str:
            count = _discard(bucket, newest[bucket]) if is_of_dead else bucket.purge()
            return f"{_describe(count, is_of_dead=is_of_dead)} discarded"

        self.do_for_each(known, purge, is_quiet=not options["verbosity"])

    def _require_consent(self, question: str) -> None:
        """Ask on the terminal. Raises :class:`CommandError` unless the answer is yes."""
        self.report(question)
        try:
            answer = input("Type 'yes' to go on: ")
        except (EOFError, RuntimeError):  # the latter if standard input was closed at the start
            raise CommandError(
                "Nothing was done: there is no terminal to ask on. Use --no-input.",
                returncode=WRONG_USAGE,
            ) from None
        if answer.strip() != "yes":
            raise CommandError("Nothing was done.", returncode=WRONG_USAGE)


def _discard(bucket: Bucket, newest: str | JSONBufferError | None) -> int:
    """Discard the dead letters up to the newest one, if that could be read, and there is one."""
    if isinstance(newest, JSONBufferError):
        raise newest
    return bucket.dead.discard_all(up_to=newest) if newest else 0


def _question(buckets: Sequence[Bucket], *, is_of_dead: bool) -> str:
    lines = ["This discards for ever:"]
    for bucket, status in zip(buckets, catalog.statuses(buckets), strict=True):
        if isinstance(status, BucketStatus):
            count = status.dead if is_of_dead else status.pending
            lines.append(f"  {bucket.name}: {_describe(count, is_of_dead=is_of_dead)}")
        else:
            lines.append(f"  {bucket.name}: not known, because it cannot be read")
    if not is_of_dead:
        lines.append("and all events that are appended until you answer.")
    return "\n".join(lines)


def _describe(count: int, *, is_of_dead: bool) -> str:
    if is_of_dead:
        return format_counted(count, "dead letter", "dead letters")
    return format_counted(count, "pending event", "pending events")
