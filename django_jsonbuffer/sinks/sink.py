"""Sink: a processor that a project declares instead of writing it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from django.core.checks import CheckMessage

from django_jsonbuffer.draining.batches import Batch


class Sink(ABC):
    """A processor with system checks of its own.

    A bad event is rejected alone: it becomes a dead letter, and the other events of the batch are
    processed. If not a single event of a batch can be processed, the sink raises the error of the
    first one, because that may be an outage. The worker then keeps the batch and tries again.
    """

    @abstractmethod
    def __call__(self, batch: Batch) -> None:
        """Process the events of a batch."""

    def check(self) -> Iterator[CheckMessage]:
        """What is wrong with the declaration of this sink, with a hint for each fault."""
        yield from ()

    def databases(self) -> Iterator[str]:
        """Aliases of the databases that this sink writes to."""
        yield from ()
