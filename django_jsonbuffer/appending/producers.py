"""Producers: each append has a stamp, so that an append which is sent twice is stored once.

If the reply to an append is lost, the append may be stored or not. With its stamp, redis-py or this
module can send it again: the script recognizes the stamp of an append that it has stored.
"""

import os
import random
import secrets
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from django_jsonbuffer.exceptions import AppendUndecided, BufferUnavailable, JSONBufferError
from django_jsonbuffer.stamps import REMEMBERED, Stamp

_FIRST_PAUSE_SECONDS: Final = 0.02
_LONGEST_PAUSE_SECONDS: Final = 0.5


class Producer:
    """A sequence of appends, each of which is decided before the next begins."""

    __slots__ = ("_id", "_sequence", "process")

    def __init__(self) -> None:
        self._id = secrets.token_hex(8)
        self.process = os.getpid()
        """Its process. A forked child must not use it: its parent goes on with the same numbers."""
        self._sequence = 0

    def next_stamp(self) -> Stamp:
        self._sequence += 1
        return Stamp(self._id, self._sequence)


_idle: Final[list[Producer]] = []
"""Producers that no append uses at this moment."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)


def append_once(send: Callable[[Stamp], None], *, timeout: timedelta) -> None:
    """Send one append, and again while its reply is lost, until the timeout. It is stored once.

    Raises the error of the first call to `send` if that shows that nothing was stored, and
    :class:`AppendUndecided` if it is still not known at the timeout whether the append was stored.
    """
    producer, is_decided = _borrow(), True
    stamp, began = producer.next_stamp(), time.monotonic()
    try:
        try:
            send(stamp)
        except JSONBufferError as error:
            _Sending(send, stamp, timeout).decide(error, began=began)
    except BaseException as error:
        # Undecided, or interrupted. This producer must not go on: after its next append, the script
        # would take a retry of this one for a repeat.
        is_decided = isinstance(error, Exception) and not isinstance(error, AppendUndecided)
        raise
    finally:
        if is_decided and producer.process == os.getpid():
            _idle.append(producer)


def _borrow() -> Producer:
    try:
        producer = _idle.pop()
    except IndexError:
        return Producer()
    if producer.process == os.getpid():
        return producer
    # uWSGI forks without Python's hooks. The parent goes on with these producers.
    _idle.clear()
    return Producer()


class _Sending:
    """One append with its stamp, after a call that failed."""

    def __init__(self, send: Callable[[Stamp], None], stamp: Stamp, timeout: timedelta) -> None:
        self._send = send
        self._stamp = stamp
        self._timeout_seconds = timeout.total_seconds()
        self._is_undecided = False
        self._forgotten_at = time.monotonic() + (REMEMBERED / 2).total_seconds()

    def decide(self, error: JSONBufferError, *, began: float) -> None:
        """Send it again, unless the error shows that the first call stored nothing."""
        deadline = began + self._timeout_seconds
        pause_seconds = _FIRST_PAUSE_SECONDS
        try:
            while True:
                if isinstance(error, BufferUnavailable):
                    self._is_undecided |= error.may_be_done
                if not self._is_undecided:
                    raise error
                # A refusal decides nothing about an earlier call: its copy may still lie in the
                # socket of the server, to be read later.
                if time.monotonic() + pause_seconds >= deadline:
                    raise self._undecided(error) from error
                time.sleep(pause_seconds * random.uniform(0.5, 1))
                pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
                try:
                    return self._send(self._stamp)
                except JSONBufferError as another:
                    error = another
        finally:
            del error  # its traceback refers to this frame, and so to the events

    def retry(self) -> None:
        began = time.monotonic()
        if began > self._forgotten_at:
            raise BufferUnavailable(
                "It is too late to find out whether this append was stored: the bucket has "
                "forgotten its producer. Look for its events, and append them anew if they are "
                "missing."
            )
        try:
            self._send(self._stamp)
        except JSONBufferError as error:
            self.decide(error, began=began)

    def _undecided(self, error: JSONBufferError) -> AppendUndecided:
        undecided = AppendUndecided(
            f"It is not known whether the append was stored: {error} Call retry() of this error to "
            "find out: it is stored once, however often that is done.",
            stamp=self._stamp,
            retry=self.retry,
        )
        undecided.is_unreachable = isinstance(error, BufferUnavailable) and error.is_unreachable
        return undecided
