from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.management.arguments import add_buckets, named_buckets


class Command(BaseCommand):
    help = "Let paused buckets be drained again."

    def add_arguments(self, parser: CommandParser) -> None:
        add_buckets(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            for bucket in named_buckets(options["bucket"]):
                was_paused = bucket.resume()
                if options["verbosity"]:
                    told = "resumed" if was_paused else "was not paused"
                    self.stdout.write(f"{bucket.name}: {told}")
        except JSONBufferError as error:
            raise CommandError(str(error)) from error
