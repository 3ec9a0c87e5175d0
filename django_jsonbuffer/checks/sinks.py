"""Checks of the sinks that buckets have as their processor."""

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, register

from django_jsonbuffer.declarations import declared
from django_jsonbuffer.sinks.sink import Sink


@register
def check_sinks(**kwargs: Any) -> list[CheckMessage]:
    """Let each sink check its declaration."""
    return [*_check_declarations()]


def _check_declarations() -> Iterator[CheckMessage]:
    for name, processor in sorted(declared.processors.items()):
        if isinstance(processor.function, Sink):
            for message in processor.function.check():
                message.msg = f"Bucket {name!r}: {message.msg}"
                yield message
