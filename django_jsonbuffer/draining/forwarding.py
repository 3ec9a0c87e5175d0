"""Forwarding: a worker sends the spilled events of its machine to Redis."""

import logging
import time
from datetime import timedelta
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from django_jsonbuffer.appending.spill_size import spill_size
from django_jsonbuffer.exceptions import BufferUnavailable, JSONBufferError, SpillUnavailable
from django_jsonbuffer.options import Options
from django_jsonbuffer.store.store import Store

logger = logging.getLogger("django_jsonbuffer")

_LONGEST_PATIENCE: Final = timedelta(seconds=1)
"""How long to wait for a connection, and for the `durability` of the bucket."""

_PAUSE_FACTOR: Final = 10
"""After a failure that took a while, a worker does not try again for so many times as long."""

_SHORT_SECONDS: Final = 0.05

_logged: Final[WeakValueDictionary[tuple[object, str], "Forwarding"]] = WeakValueDictionary()
"""By the folder and the text of a failure: the bucket that has logged it. If the file cannot be
read, this is a failure of all its buckets, of which there may be thousands."""


class Forwarding:
    """Forwards the spilled events of one bucket for one worker, and remembers a failure."""

    def __init__(self, store: Store, options: Options) -> None:
        self._store = store
        self._folder = options.spill_dir
        self._send = partial(
            store.append,
            limits=options.limits,
            patience=min(options.append_timeout, _LONGEST_PATIENCE),
            is_spilled=True,
        )
        self._has_tried = False
        self._resumes_at = 0.0
        """When to try again after a failure, on the monotonic clock."""
        self._failure: JSONBufferError | None = None
        """The last error, until all events are forwarded."""
        self._logged: tuple[object, str] | None = None
        """The key of a failure that this bucket has logged."""

    def forward(self) -> None:
        """Forward the spilled events of this machine.

        Raises only if Redis is unreachable, because another failure does not stop the drain. A
        failure is logged when it begins and when it is over, however often this is called. One that
        several buckets have in common is logged for the first.
        """
        if self._folder is None or time.monotonic() < self._resumes_at:
            return
        from django_jsonbuffer.appending.spill import forward  # only buckets that spill need SQLite

        self._has_tried = True
        began = time.monotonic()
        try:
            forward(self._folder, self._store.keys.open, self._send, bucket=self._store.name)
        except JSONBufferError as error:
            if isinstance(error, BufferUnavailable) and error.is_unreachable:
                raise
            if self._failure is None:
                self._log_failure(error)
            self._failure = error.with_traceback(None)  # which would keep this object alive
            if (seconds := time.monotonic() - began) > _SHORT_SECONDS:
                # The other buckets of the worker must not wait for this one most of the time.
                self._resumes_at = time.monotonic() + _PAUSE_FACTOR * seconds
            return
        # For a second after a failure, forward() may take a file that it cannot read for empty.
        if self._failure is not None and not self.describe_stuck():
            self._failure = None
            self._log_end()

    def _log_failure(self, error: JSONBufferError) -> None:
        key = (self._folder, str(error))
        if _logged.setdefault(key, self) is self:
            self._logged = key
            text = "Bucket %s: spilled events still wait in the spill. %s"
            logger.warning(text, self._store.name, error, extra={"bucket": self._store.name})

    def _log_end(self) -> None:
        if self._logged is not None:
            _logged.pop(self._logged, None)
            self._logged = None
            text = "Bucket %s: no spilled events wait any more."
            logger.warning(text, self._store.name, extra={"bucket": self._store.name})

    def end(self) -> None:
        """Let a failure that goes on be logged again: by another drain, in a later run."""
        if self._logged is not None:
            _logged.pop(self._logged, None)

    def describe_stuck(self) -> str:
        """What this machine has in the spill after the last attempt, and why; empty if nothing."""
        if self._folder is None or not self._has_tried:
            return ""
        events = f"Spilled events of bucket {self._store.name} could not be forwarded"
        try:
            size = spill_size(self._folder, self._store.keys.open)
        except SpillUnavailable as error:
            return f"{events}: {self._failure or error}"
        if not size:
            return ""
        reason = self._failure or "another process forwards them, or spilled them meanwhile."
        appends = "1 append" if size.appends == 1 else f"{size.appends:,} appends"
        return f"{events} ({appends}, {size.bytes:,} bytes): {reason}"
