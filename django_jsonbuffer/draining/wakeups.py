"""Wake-ups: scripts tell the workers that wait of batches, and one thread listens."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.store.messages import Messages

_SHORTEST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 30.0


class Wakeup(NamedTuple):
    """A message about one bucket."""

    is_sealed: bool
    """Whether a batch can be claimed. Otherwise an open batch has begun, which lingers first."""

    ends_outage: bool
    """Whether a worker that waits because of an outage must wait no longer."""

    heard_at: float
    """On the monotonic clock."""


class Wakeups:
    """Listens to the messages of the scripts, in a thread, from `begin` to `end`.

    A message may be lost, for example while the thread connects again. So a worker must also look
    for itself, and it has to look more often while `is_listening` is false.
    """

    def __init__(self, configuration: Configuration, wake: Callable[[], object]) -> None:
        self._configuration = configuration
        self._wake = wake
        self.is_listening = False
        self._heard: dict[str, Wakeup] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def begin(self) -> None:
        # Without the thread, the worker looks for itself.
        with suppress(RuntimeError):
            threading.Thread(target=self._listen, name="wake-ups of workers", daemon=True).start()

    def end(self) -> None:
        """End within half a second. Does not wait for it."""
        self._ended.set()

    def taken(self) -> dict[str, Wakeup]:
        """What was heard since the last call, by the name of the bucket."""
        if not self._heard:
            return {}
        with self._lock:
            heard, self._heard = self._heard, {}
        return heard

    def _listen(self) -> None:
        pause_seconds = _SHORTEST_PAUSE_SECONDS
        while not self._ended.is_set():
            # No error matters: Redis in memory has no messages, a user may not be allowed to
            # listen, and a worker that cannot reach Redis learns it from its own calls.
            with suppress(Exception), Messages(self._configuration) as messages:
                while not self._ended.is_set():
                    self._note(messages.read())
                    if messages.is_subscribed and not self.is_listening:
                        self.is_listening, pause_seconds = True, _SHORTEST_PAUSE_SECONDS
            self.is_listening = False
            self._ended.wait(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _note(self, message: Any) -> None:
        if not message:
            return
        name, ends_outage = message[1:], message[0] == "n"
        is_sealed = ends_outage or message[0] == "s"
        with self._lock:
            is_first = not self._heard
            earlier = self._heard.get(name)
            urgency = (is_sealed, ends_outage)
            if earlier is None or urgency > (earlier.is_sealed, earlier.ends_outage):
                self._heard[name] = Wakeup(*urgency, time.monotonic())
        if is_first:
            self._wake()
