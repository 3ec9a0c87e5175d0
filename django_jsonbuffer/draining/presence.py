"""The presence of a worker: it registers, and learns which other workers share its buckets."""

import logging
import os
import secrets
import socket
from typing import Final
from zlib import crc32

from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.store.keys import split_shard
from django_jsonbuffer.store.patterns import Names
from django_jsonbuffer.store.registry import register
from django_jsonbuffer.summaries import is_ours, summary_of

from .heart import HEART

logger = logging.getLogger("django_jsonbuffer")


def new_worker_name() -> str:
    """The name of a worker, which no other one ever has."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


class Presence:
    """One worker in the registry, from `begin` to `end`. The heart of the process renews it.

    Of all workers that serve a bucket, one is the first to look at it. Which one follows from its
    name, so workers need not agree. The others look a moment later, in case the first one is busy.
    """

    period_seconds: Final = 10.0

    def __init__(self, configuration: Configuration, serves: Names) -> None:
        self._configuration = configuration
        self._serves = serves.shortened()  # each status() of a bucket reads them
        self._worker = new_worker_name()
        self._others: dict[str, Names] = {}

    def begin(self) -> None:
        HEART.start(self)
        HEART.add(self)
        self.renew()

    def end(self) -> None:
        HEART.end(self)
        self._register(None)

    def renew(self) -> None:
        self._register(self._serves)

    def is_first(self, name: str) -> bool:
        """Whether this worker is the first to look at this shard of a bucket."""
        bucket, _ = split_shard(name)
        rivals = [worker for worker, serves in self._others.items() if bucket in serves]
        if not rivals:
            return True
        workers = sorted([*rivals, self._worker])
        return workers[crc32(name.encode()) % len(workers)] == self._worker

    def _register(self, serves: Names | None) -> None:
        try:
            living = register(self._worker, serves, self._configuration)
        except Exception as error:  # noqa: BLE001  (no error may end the thread of the heart)
            logger.debug(
                "This worker could not be registered: %s",
                summary_of(error, with_message=is_ours(error)),
            )
            return
        living.pop(self._worker, None)
        self._others = living
