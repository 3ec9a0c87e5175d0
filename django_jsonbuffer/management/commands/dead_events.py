import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from django.core.management.base import CommandParser

from django_jsonbuffer import catalog
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.letters import DeadLetter
from django_jsonbuffer.management.arguments import named_buckets, natural_int
from django_jsonbuffer.management.command import BufferCommand
from django_jsonbuffer.management.letters import format_as_json, format_for_people
from django_jsonbuffer.redaction import MOST_BYTES
from django_jsonbuffer.store.status import BucketStatus

COLUMNS_ELSEWHERE: Final = 120
"""The width of the table where there is no terminal."""

_PAGE: Final = 100


class Command(BufferCommand):
    # A failed check would exit with 1.
    requires_system_checks = []
    error_code = 3
    help = (
        "List the dead letters of buckets, the oldest first. Exit codes: 0 done, 2 wrong usage, "
        "3 misconfigured, or Redis or a bucket cannot be read, or the output cannot be written."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "bucket",
            nargs="*",
            help="Name of a bucket, or a glob such as 'orders*'. Default: all buckets.",
        )
        parser.add_argument(
            "--limit",
            type=natural_int,
            default=20,
            metavar="N",
            help="Most dead letters of each bucket, 0 for all. Default: 20.",
        )
        parser.add_argument(
            "--format",
            choices=("table", "json"),
            default="table",
            help="table for people, json for scripts (an array with the whole events). Default: "
            "table.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        buckets, gap = named_buckets(options["bucket"])
        outcomes = dict(zip(buckets, catalog.statuses(buckets), strict=True))
        counts = {
            bucket: outcome.dead
            for bucket, outcome in outcomes.items()
            if isinstance(outcome, BucketStatus) and outcome.dead
        }
        letters = _read(counts, limit=options["limit"])
        if options["format"] == "json":
            self._list_for_scripts(letters)
        else:
            self._list_for_people(letters)
        self._report_rest(counts, **options)
        self.require_whole_output()
        errors = {
            bucket.name: outcome
            for bucket, outcome in outcomes.items()
            if not isinstance(outcome, BucketStatus)
        }
        self.fail_for(errors, "Cannot be read", gap=gap)

    def _list_for_people(self, letters: Iterable[tuple[Bucket, DeadLetter]]) -> None:
        columns = shutil.get_terminal_size((COLUMNS_ELSEWHERE, 0)).columns
        found_any = False
        for bucket, letter in letters:
            found_any = True
            self.report(format_for_people(bucket, letter, columns=columns))
            if self.is_unread:
                return
        if not found_any:
            self.report("No dead letters.")

    def _list_for_scripts(self, letters: Iterable[tuple[Bucket, DeadLetter]]) -> None:
        separator = "[\n"
        for bucket, letter in letters:
            if (whole := _whole(bucket, letter)) is None:
                continue
            self.stdout.write(separator + format_as_json(bucket, whole), ending="")
            separator = ",\n"
            if self.is_unread:
                return
        self.report("[]" if separator == "[\n" else "\n]")

    def _report_rest(self, counts: Mapping[Bucket, int], **options: Any) -> None:
        """Say of which buckets there are more dead letters. To scripts, on standard error."""
        limit = options["limit"]
        say = self.complain if options["format"] == "json" else self.report
        for bucket, count in counts.items():
            if limit and count > limit:
                say(
                    f"{bucket.name}: the oldest {limit:,} of {count:,} dead letters. For more, use "
                    "--limit N, and --limit 0 for all."
                )


def _read(counts: Mapping[Bucket, int], *, limit: int) -> Iterator[tuple[Bucket, DeadLetter]]:
    """The oldest dead letters of each bucket, with the beginning of each event."""
    for bucket, count in counts.items():
        after, left = None, min(count, limit or count)
        while left and (
            page := bucket.dead.page(min(left, _PAGE), after=after, most_bytes=MOST_BYTES)
        ):
            yield from ((bucket, letter) for letter in page)
            after, left = page[-1].id, left - len(page)


def _whole(bucket: Bucket, letter: DeadLetter) -> DeadLetter | None:
    """The dead letter with all of its event. None if it was replayed or discarded meanwhile."""
    if letter.size == len(letter.raw):
        return letter
    try:
        return bucket.dead[letter.id]
    except KeyError:
        return None
