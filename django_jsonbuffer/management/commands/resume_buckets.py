from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.management.arguments import add_buckets, named_buckets


class Command(BaseCommand):
    help = "Let workers drain paused buckets again."

    def add_arguments(self, parser: CommandParser) -> None:
        add_buckets(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            for bucket in named_buckets(options["bucket"]):
                outcome = "resumed" if bucket.resume() else "was not paused"
                if options["verbosity"]:
                    self.stdout.write(f"{bucket.name}: {outcome}")
        except JSONBufferError as error:
            raise CommandError(str(error)) from error
