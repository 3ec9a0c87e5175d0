"""The order in which one process drains several buckets."""

import time
from collections.abc import Callable, Iterator, Sequence

from django.db import close_old_connections

from django_jsonbuffer.exceptions import BufferUnavailable, JSONBufferError

from .drain import Drain
from .stop import Stop


class Rounds:
    """One batch of each bucket in turn, so that no bucket waits for the backlog of another.

    To iterate over it processes batches, and yields the drain of each batch that was claimed. This
    ends when a limit is reached or when a stop is asked for. Without `watch`, it also ends
    when all buckets are drained.
    """

    def __init__(
        self,
        drains: Sequence[Drain],
        *,
        watch: bool,
        max_seconds: float | None,
        stop: Stop,
        max_batches: int | None = None,
        interval_seconds: float = 1,
        complain: Callable[[str], object] = lambda line: None,
    ) -> None:
        self.broken: dict[Drain, JSONBufferError] = {}
        """Drains of buckets that could not be read although Redis answers, and why."""
        self._active = list(drains)
        self._watch = watch
        self._interval_seconds = interval_seconds
        self._batches_left = max_batches
        self._deadline = None if max_seconds is None else time.monotonic() + max_seconds
        self._stop = stop
        self._complain = complain
        self._is_redis_away = False

    def __iter__(self) -> Iterator[Drain]:
        while self._active:
            found_any = False
            for drain in tuple(self._active):
                if self._is_over():
                    return
                if self._step(drain):
                    found_any = True
                    yield drain
                elif not self._watch and not drain.wait_seconds:
                    self._active.remove(drain)
                    drain.end()
            if self._active and not found_any:
                self._stop.wait(self._seconds_to_wait())

    def _is_over(self) -> bool:
        return (
            self._stop.is_set
            or self._batches_left == 0
            or (self._deadline is not None and time.monotonic() >= self._deadline)
        )

    def _seconds_to_wait(self) -> float:
        seconds = self._interval_seconds
        if not self._watch:
            seconds = min(seconds, *(drain.wait_seconds for drain in self._active))
        if self._deadline is None:
            return seconds
        return min(seconds, max(0, self._deadline - time.monotonic()))

    def _step(self, drain: Drain) -> bool:
        """Process one batch of the bucket. Returns whether there was a batch."""
        close_old_connections()
        try:
            found = drain.step()
        except BufferUnavailable as error:
            if not self._watch:
                raise
            if not self._is_redis_away:
                self._complain(f"{error} Trying again every {self._interval_seconds:g} s.")
            self._is_redis_away = True
            return False
        except JSONBufferError as error:
            if drain not in self.broken:
                self._complain(str(error))
            self.broken[drain] = error
            return False
        if self._is_redis_away:
            self._complain("Redis is back.")
        self._is_redis_away = False
        self.broken.pop(drain, None)
        if found and self._batches_left is not None:
            self._batches_left -= 1
        return found
