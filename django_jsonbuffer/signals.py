"""Signals of the buckets: what was processed, what failed, and what is lost.

docs/reference.md says what each carries, where it is sent, and what a receiver may do.
"""

import asyncio
import logging
from collections.abc import Hashable
from contextvars import ContextVar
from typing import Any, Final

from .django_internals.signals import UnloggedSignal
from .django_internals.sync_callers import running_loop
from .summaries import kind_of, places_of

logger = logging.getLogger("django_jsonbuffer")

_is_receiving: Final[ContextVar[bool]] = ContextVar("is_receiving", default=False)

is_receiving: Final = _is_receiving.get
"""Whether a receiver of one of these signals is the caller. Each append asks this."""

_names: Final[dict[str, str]] = {}
"""One object for each name that is the sender of a connected receiver."""

_tasks: Final[set[asyncio.Task[None]]] = set()
"""The signals that are being sent in event loops. A loop itself has only weak references."""


class BucketSignal(UnloggedSignal):
    """A Django signal whose sender is the name of a bucket.

    Django compares senders by identity, which says nothing about texts. Here equal names are the
    same sender, and a handle stands for its name: ``@receiver(batch_failed, sender=orders)``.
    """

    def connect(
        self,
        receiver: Any,
        sender: object | None = None,
        weak: bool = True,
        dispatch_uid: Hashable | None = None,
    ) -> None:
        super().connect(receiver, _one_object(sender), weak, dispatch_uid)

    def disconnect(
        self,
        receiver: Any | None = None,
        sender: object | None = None,
        dispatch_uid: str | None = None,
    ) -> bool:
        return super().disconnect(receiver, _one_object(sender), dispatch_uid)

    def announce(self, bucket: str, **facts: Any) -> None:
        """Send the signal. Raises no error of a receiver, which is logged.

        Call it without a lock, when nothing that a receiver does can change the way of an event. In
        an event loop, a task of its own sends the signal. Nothing is sent for what a receiver does,
        because one that appends to a full bucket would be called again and again.
        """
        if not self.receivers or is_receiving():
            return
        sender = _names.get(bucket, bucket)
        if (loop := running_loop()) is None:
            self._send(sender, facts)
            return
        task = loop.create_task(self._asend(sender, facts))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)

    def _send(self, sender: str, facts: dict[str, Any]) -> None:
        token = _is_receiving.set(True)
        try:
            _log_failures(sender, self.send_robust(sender, **facts))
        finally:
            _is_receiving.reset(token)

    async def _asend(self, sender: str, facts: dict[str, Any]) -> None:
        _is_receiving.set(True)  # in the context of this task
        _log_failures(sender, await self.asend_robust(sender, **facts))


def _one_object(sender: object) -> object:
    name = getattr(sender, "name", sender)
    return _names.setdefault(name, name) if isinstance(name, str) else sender


def _log_failures(bucket: str, responses: list[tuple[Any, Any]]) -> None:
    """Log each error of a receiver: its class and its place. Its message may quote an event."""
    for receiver, response in responses:
        if isinstance(response, Exception):
            logger.error(
                "Bucket %s: the receiver %s of a signal failed with %s.\n%s",
                bucket,
                getattr(receiver, "__qualname__", type(receiver).__qualname__),
                kind_of(response),
                places_of(response, with_source=False),
                extra={"bucket": bucket},
            )


batch_processed: Final = BucketSignal()
"""A batch was processed and acknowledged. Carries `batch_id`, `attempt`, `count`, `seconds`."""

batch_failed: Final = BucketSignal()
"""The processor raised. Carries `batch_id`, `attempt`, `count`, `seconds`, `error`, `outcome`."""

events_buried: Final = BucketSignal()
"""Events became dead letters. Carries `count`, `reason`, `errors`, `batch_id`, `attempt`."""

events_dropped: Final = BucketSignal()
"""Events were dropped or lost. Carries `count`, `reason`, `error`."""

bucket_full: Final = BucketSignal()
"""An append was refused because the bucket is full. Carries `count`, `error`."""
