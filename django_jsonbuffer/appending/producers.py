"""Producers: each append has a stamp, so that an append which is sent twice is stored once.

If the reply to an append is lost, the append may be stored or not. Redis-py or this module can
send the append again with the same stamp, because the script knows the stamps of stored appends.
"""

import os
import random
import time
from collections.abc import Awaitable
from datetime import timedelta
from typing import Final

from django_jsonbuffer.exceptions import (
    AppendUndecided,
    BufferUnavailable,
    JSONBufferError,
    StampOvertaken,
)
from django_jsonbuffer.stamps import REMEMBERED, Stamp, new_nonce
from django_jsonbuffer.store.coroutines import finish
from django_jsonbuffer.store.links import ASYNCIO, BLOCKING, Link

_FIRST_PAUSE_SECONDS: Final = 0.02
_LONGEST_PAUSE_SECONDS: Final = 0.5


class Producer:
    """Stamps appends, one after the other.

    A producer stamps its next append only after it is known whether the last one was stored.
    """

    __slots__ = ("_id", "_sequence", "process")

    def __init__(self) -> None:
        self._id = new_nonce()
        self.process = os.getpid()
        """Id of the process that made the producer. A forked child must not use the producer,
        because the parent goes on with the same numbers."""
        self._sequence = 0

    def next_stamp(self) -> Stamp:
        self._sequence += 1
        return Stamp(self._id, self._sequence, new_nonce())


_idle: Final[list[Producer]] = []
"""Producers that no append uses at this moment."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)


class Once:
    """One append, which is sent again while its reply is lost. It is stored once.

    A subclass has the `timeout`, and a method `_call` that sends it in one call to Redis.
    """

    began = 0.0
    """When the sending began, on the monotonic clock."""

    _stamp: Stamp
    _is_sent = False
    _is_undecided = False
    """Whether a call may have stored the append."""

    _is_stored = False
    _may_be_repeated = True
    _forgotten_at = 0.0

    @property
    def timeout(self) -> timedelta:
        """How long the append is sent again."""
        raise NotImplementedError

    def _call(self, link: Link, stamp: Stamp) -> Awaitable[None]:
        raise NotImplementedError

    async def send(self, link: Link, *, producer: Producer | None = None) -> None:
        """Send the append. After an interrupt, send it again under its stamp.

        Raises the error of the first call if this error shows that nothing was stored. Raises
        :class:`AppendUndecided` if it is not known at the timeout whether the append was stored.
        """
        if self._is_sent:
            if not self._is_stored:
                await self._settle(link)
            return
        is_borrowed, is_decided = producer is None, False
        producer = producer or _borrow()
        self._stamp, self._is_sent = producer.next_stamp(), True
        self._forgotten_at = time.monotonic() + (REMEMBERED / 2).total_seconds()
        try:
            await self._settle(link)
            is_decided = True
        except StampOvertaken:
            if not is_borrowed:
                raise
            # A snapshot of this process was resumed twice: another process has all these producers.
            _idle.clear()
            self._is_sent, self._may_be_repeated = False, True
            await self.send(link, producer=Producer())
        except BaseException as error:
            # Undecided, or interrupted. This producer must not stamp other appends, because a retry
            # of this append would have a lower number than they have. Nobody could tell if it was
            # stored.
            is_decided = isinstance(error, Exception) and not isinstance(error, AppendUndecided)
            self._is_undecided |= not is_decided
            raise
        finally:
            if is_decided and producer.process == os.getpid():
                _idle.append(producer)

    async def retry(self, link: Link) -> None:
        """Send the append again under its stamp, if this can still decide whether it is stored."""
        if self._is_stored:
            return
        if not self._may_be_repeated:
            raise BufferUnavailable(
                "This append is not sent again, because it could be stored twice. Look for its "
                "events before you append them again."
            )
        if time.monotonic() > self._forgotten_at:
            raise BufferUnavailable(
                "It is too late to find out whether this append was stored, because the bucket may "
                "have forgotten its stamp. Look for its events before you append them again."
            )
        await self._settle(link)

    async def _settle(self, link: Link) -> None:
        """Send the append under its stamp until its outcome is known, or the timeout is over."""
        self.began = time.monotonic()
        try:
            await self._call(link, self._stamp)
        except JSONBufferError as error:
            await self._decide(error, link)
        self._is_stored = True

    async def _decide(self, error: JSONBufferError, link: Link) -> None:
        """Send the append again, unless the error shows that the first call stored nothing."""
        deadline = self.began + self.timeout.total_seconds()
        pause_seconds = _FIRST_PAUSE_SECONDS
        try:
            while True:
                if isinstance(error, BufferUnavailable):
                    self._is_undecided |= error.may_be_done
                    self._may_be_repeated &= error.may_be_repeated
                elif isinstance(error, StampOvertaken):
                    self._may_be_repeated = False
                if not self._is_undecided:
                    raise error
                # If this call is refused, an earlier call may still store the append: perhaps the
                # server has not read its command yet.
                is_over = time.monotonic() + pause_seconds >= deadline
                if is_over or not self._may_be_repeated:
                    raise self._undecided(error) from error
                await link.sleep(pause_seconds * random.uniform(0.5, 1))
                pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
                try:
                    return await self._call(link, self._stamp)
                except JSONBufferError as another:
                    error = another
        finally:
            del error  # its traceback refers to this frame, and so to the events

    def _undecided(self, error: JSONBufferError) -> AppendUndecided:
        advice = (
            "Call retry() of this error to find out, within half a day. However often you call it, "
            "the append is stored once."
            if self._may_be_repeated
            else "Look for its events before you append them again."
        )
        undecided = AppendUndecided(
            f"It is not known whether the append was stored: {error} {advice}",
            stamp=self._stamp,
            retry=lambda: finish(self.retry(BLOCKING)),
            aretry=lambda: self.retry(ASYNCIO),
        )
        undecided.is_unreachable = isinstance(error, BufferUnavailable) and error.is_unreachable
        undecided.may_be_repeated = self._may_be_repeated
        return undecided


def _borrow() -> Producer:
    try:
        producer = _idle.pop()
    except IndexError:
        return Producer()
    if producer.process == os.getpid():
        return producer
    # uWSGI forks without Python's hooks, so these producers belong to the parent.
    _idle.clear()
    return Producer()
