from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.management.arguments import add_buckets, named_buckets


class Command(BaseCommand):
    help = (
        "Let no worker drain the buckets until resume_buckets. Appends continue, and workers "
        "finish the batches that they hold."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_buckets(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            for bucket in named_buckets(options["bucket"]):
                outcome = "paused" if bucket.pause() else "was paused already"
                if options["verbosity"]:
                    self.stdout.write(f"{bucket.name}: {outcome}")
        except JSONBufferError as error:
            raise CommandError(str(error)) from error
