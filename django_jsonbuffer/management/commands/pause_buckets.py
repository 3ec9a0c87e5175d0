from typing import Any

from django.core.management.base import CommandParser

from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.management.arguments import add_buckets, named_buckets
from django_jsonbuffer.management.command import BufferCommand


class Command(BufferCommand):
    help = (
        "Let no worker drain the buckets until resume_buckets. Appends continue, and workers "
        "finish the batches that they hold."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_buckets(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        known = named_buckets(options["bucket"])
        self.do_for_each(known, _pause, is_quiet=not options["verbosity"])


def _pause(bucket: Bucket) -> str:
    return "paused" if bucket.pause() else "was paused already"
