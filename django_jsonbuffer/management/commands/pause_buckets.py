from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.management.arguments import add_buckets, named_buckets


class Command(BaseCommand):
    help = (
        "Let nobody drain the buckets until resume_buckets. They take appends, and what a worker "
        "holds already it finishes."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_buckets(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            for bucket in named_buckets(options["bucket"]):
                was_new = bucket.pause()
                if options["verbosity"]:
                    self.stdout.write(f"{bucket.name}: {'paused' if was_new else 'paused before'}")
        except JSONBufferError as error:
            raise CommandError(str(error)) from error
