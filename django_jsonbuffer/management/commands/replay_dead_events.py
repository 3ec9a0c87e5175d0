from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.management.arguments import WRONG_USAGE, add_buckets, counted, named_buckets


class Command(BaseCommand):
    help = (
        "Let the dead letters of buckets be processed again, behind all that is pending. Those "
        "that hold no event stay."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_buckets(parser)
        parser.add_argument(
            "--id", action="append", help="Only this dead letter of one bucket. May be repeated."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        ids = options["id"]
        try:
            buckets = named_buckets(options["bucket"])
            if ids and len(buckets) > 1:
                raise CommandError(
                    "An --id is that of one bucket: name no more.", returncode=WRONG_USAGE
                )
            for bucket in buckets:
                count = bucket.dead.replay(*ids) if ids else bucket.dead.replay_all()
                if ids and count < len({*ids}):
                    raise CommandError(
                        f"Replayed {count} of {len({*ids})}: the others are no dead letters of "
                        f"bucket {bucket.name!r}."
                    )
                if options["verbosity"]:
                    letters = counted(count, "dead letter", "dead letters")
                    self.stdout.write(f"{bucket.name}: {letters} replayed")
        except JSONBufferError as error:
            raise CommandError(str(error)) from error
