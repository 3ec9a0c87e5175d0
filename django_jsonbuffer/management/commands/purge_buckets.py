from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.management.arguments import (
    add_buckets,
    counted,
    named_buckets,
    require_consent,
)


class Command(BaseCommand):
    help = (
        "Discard what is pending in buckets, for ever. Batches that a worker holds, and dead "
        "letters, stay. Asks before."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_buckets(parser)
        parser.add_argument(
            "--dead", action="store_true", help="Discard the dead letters, and nothing else."
        )
        parser.add_argument(
            "--no-input",
            "--noinput",
            action="store_false",
            dest="interactive",
            help="Do not ask.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        is_of_dead = options["dead"]
        one, many = (
            ("dead letter", "dead letters") if is_of_dead else ("pending event", "pending events")
        )
        try:
            buckets = named_buckets(options["bucket"])
            # Those that are buried while the question waits stay.
            newest = {bucket.name: bucket.dead.newest() for bucket in buckets if is_of_dead}
            if options["interactive"]:
                statuses = [(bucket.name, bucket.status()) for bucket in buckets]
                told = [
                    f"  {name}: {counted(status.dead if is_of_dead else status.pending, one, many)}"
                    for name, status in statuses
                ]
                if not is_of_dead:
                    told.append("and what is appended until you answer.")
                require_consent(self, "\n".join(["This discards for ever:", *told]))
            for bucket in buckets:
                if not is_of_dead:
                    count = bucket.purge()
                elif up_to := newest[bucket.name]:
                    count = bucket.dead.discard_all(up_to=up_to)
                else:
                    count = 0
                if options["verbosity"]:
                    self.stdout.write(f"{bucket.name}: {counted(count, one, many)} discarded")
        except JSONBufferError as error:
            raise CommandError(str(error)) from error
