"""Processors in tests, with something around each of their calls."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from inspect import iscoroutinefunction
from typing import Any

from django_jsonbuffer.declarations import declared
from django_jsonbuffer.draining.batches import Batch
from django_jsonbuffer.processors import Processor

Around = Callable[[Batch], AbstractContextManager[object]]


@contextmanager
def around_processors(around: Around) -> Iterator[None]:
    """Call each processor, of any bucket, within ``around(batch)``."""
    before = declared.processors
    declared.processors = {
        name: Processor(_within(around, function), atomic)
        for name, (function, atomic) in before.items()
    }
    try:
        yield
    finally:
        declared.processors = before


def _within(around: Around, function: Callable[[Batch], Any]) -> Callable[[Batch], object]:
    if iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__):

        async def acall(batch: Batch) -> None:
            with around(batch):
                await function(batch)

        return acall

    def call(batch: Batch) -> object:
        with around(batch):
            return function(batch)

    return call
