"""Who appends: each call has a stamp, so that what is sent twice is stored once.

A lost reply leaves it open whether an append was stored. With the stamp, the same call can be sent
again, by redis-py or from here, and the script finds that it is done.
"""

import os
import random
import secrets
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final, NamedTuple

from .exceptions import AppendUndecided, BufferUnavailable, JSONBufferError

REMEMBERED: Final = timedelta(days=1)
"""How long a bucket remembers what a producer appended last."""

_FIRST_PAUSE_SECONDS: Final = 0.02
_LONGEST_PAUSE_SECONDS: Final = 0.5


class Stamp(NamedTuple):
    """Tells one append from every other, and a repeat of it by being the same."""

    producer: str
    sequence: int
    """Of two appends of one producer to one bucket, the later has the greater."""


class Producer:
    """One row of appends, each of which is decided before the next begins."""

    __slots__ = ("_id", "_process", "_sequence")

    def __init__(self) -> None:
        self._id = secrets.token_hex(8)
        self._process = os.getpid()
        self._sequence = 0

    def next_stamp(self) -> Stamp:
        self._sequence += 1
        return Stamp(self._id, self._sequence)

    @property
    def is_ours(self) -> bool:
        """Not so in a child that was forked while its parent's call was under way."""
        return self._process == os.getpid()


_idle: Final[list[Producer]] = []
"""Those that nobody has borrowed."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)


def append_once(send: Callable[[Stamp], None], *, timeout: timedelta) -> None:
    """Send one append, again while its reply is lost and the time lasts. It is stored once.

    Raises what `send` raises when that was the first, and :class:`AppendUndecided` when it is not
    known after the time whether the append was stored.
    """
    producer = _borrow()
    stamp, began = producer.next_stamp(), time.monotonic()
    try:
        try:
            send(stamp)
        except JSONBufferError as error:
            _Sending(send, stamp, timeout).decide(error, began=began)
    except AppendUndecided:
        # What it appended behind an undecided call would make that one look like a repeat.
        raise
    except Exception:
        _give_back(producer)
        raise
    _give_back(producer)


def _borrow() -> Producer:
    try:
        producer = _idle.pop()
    except IndexError:
        return Producer()
    if producer.is_ours:
        return producer
    # Of a fork that Python did not see, such as uWSGI's: the parent goes on with the same ones.
    _idle.clear()
    return Producer()


def _give_back(producer: Producer) -> None:
    if producer.is_ours:
        _idle.append(producer)


class _Sending:
    """One append under its stamp, which has failed."""

    def __init__(self, send: Callable[[Stamp], None], stamp: Stamp, timeout: timedelta) -> None:
        self._send = send
        self._stamp = stamp
        self._timeout_seconds = timeout.total_seconds()
        self._is_undecided = False
        self._forgotten_at = time.monotonic() + (REMEMBERED / 2).total_seconds()

    def decide(self, error: JSONBufferError, *, began: float) -> None:
        """Send it again, unless the error of the first attempt says what became of that."""
        deadline = began + self._timeout_seconds
        pause_seconds = _FIRST_PAUSE_SECONDS
        try:
            while True:
                if isinstance(error, BufferUnavailable):
                    self._is_undecided |= error.may_be_done
                if not self._is_undecided:
                    raise error
                # Any refusal leaves open what became of an attempt before: a copy of it may lie in
                # the server's socket, and be read later.
                if time.monotonic() + pause_seconds >= deadline:
                    raise self._undecided(error) from error
                time.sleep(pause_seconds * random.uniform(0.5, 1))
                pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
                try:
                    return self._send(self._stamp)
                except JSONBufferError as another:
                    error = another
        finally:
            del error  # whose traceback has this frame, and so the events

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
