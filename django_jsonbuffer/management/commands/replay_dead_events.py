from collections.abc import Collection
from functools import partial
from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.management.arguments import WRONG_USAGE, add_buckets, named_buckets
from django_jsonbuffer.management.command import BufferCommand
from django_jsonbuffer.management.wording import format_counted


class Command(BufferCommand):
    help = (
        "Append the dead letters of buckets again, behind all pending events. Dead letters that do "
        "not hold an event stay."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_buckets(parser)
        parser.add_argument(
            "--id",
            action="append",
            help="Replay only the dead letter with this id, for exactly one bucket. May be "
            "repeated.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        ids = options["id"]
        known = named_buckets(options["bucket"])
        if ids and len(known.buckets) > 1:
            raise CommandError(
                "An --id belongs to one bucket, so name exactly one bucket.",
                returncode=WRONG_USAGE,
            )
        self.do_for_each(known, partial(_replay, ids=ids), is_quiet=not options["verbosity"])


def _replay(bucket: Bucket, ids: Collection[str] | None) -> str:
    count = bucket.dead.replay(*ids) if ids else bucket.dead.replay_all()
    if ids and count < len({*ids}):
        raise CommandError(
            f"Replayed {count} of {len({*ids})}: the others are not dead letters of bucket "
            f"{bucket.name!r}."
        )
    return f"{format_counted(count, 'dead letter', 'dead letters')} replayed"
