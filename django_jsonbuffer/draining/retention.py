"""Retention: dead letters that are too many or too old expire, if the bucket's options say so."""

import logging
import time
from typing import Final

from django_jsonbuffer.exceptions import BufferUnavailable, JSONBufferError
from django_jsonbuffer.options import Options
from django_jsonbuffer.store.dead_letters import expire
from django_jsonbuffer.store.store import Store

logger = logging.getLogger("django_jsonbuffer")

INTERVAL_SECONDS: Final = 60.0
"""How often a worker looks for dead letters that expire."""

MOST_CALLS: Final = 200
"""Most calls to Redis in a row. Each removes up to 500 dead letters, and drains wait."""


class Retention:
    """Lets the dead letters of a bucket expire. Each worker has one."""

    def __init__(self, store: Store, options: Options) -> None:
        self._store = store
        self._max_dead = options.max_dead
        self._dead_after = options.dead_after
        self._next_at = 0.0
        """When to look again, on the monotonic clock."""

    def apply(self) -> None:
        """Remove the dead letters that expire, at once and then at most once a minute.

        Raises only if Redis is unreachable. Another error is logged, because it does not stop the
        drain.
        """
        if self._max_dead is None and self._dead_after is None:
            return
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + INTERVAL_SECONDS
        try:
            self._expire()
        except JSONBufferError as error:
            if isinstance(error, BufferUnavailable) and error.is_unreachable:
                raise
            text, name = "Bucket %s: dead letters could not expire. %s", self._store.name
            logger.warning(text, name, error, extra={"bucket": name})

    def _expire(self) -> None:
        total = 0
        try:
            for _ in range(MOST_CALLS):
                count = expire(self._store, max_dead=self._max_dead, dead_after=self._dead_after)
                total += count
                if not count:
                    break
        finally:
            if total:
                logger.warning(
                    "Bucket %s: %d dead letters have expired. Their events are gone.",
                    self._store.name,
                    total,
                    extra={"bucket": self._store.name},
                )
