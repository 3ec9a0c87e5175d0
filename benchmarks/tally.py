"""Count handled events, and report to the benchmark when all events of a turn are handled."""

from typing import Any, Final

from django_redis import get_redis_connection

EXPECTED: Final = "benchmarks:expected"
HANDLED: Final = "benchmarks:handled"


class Tally:
    """The events of a turn that one worker has handled. Calls the server at start and end."""

    def __init__(self) -> None:
        self._handled = self._expected = 0

    def add(self, events: int) -> None:
        if not self._handled:
            self._expected = int(_client().get(EXPECTED))
        self._handled += events
        if self._handled >= self._expected:
            _client().rpush(HANDLED, self._handled)
            self._handled = 0


def expect(events: int) -> None:
    """Begin a turn of that many events, before the first is put in."""
    _client().set(EXPECTED, events)


def wait(*, seconds: float) -> int | None:
    """Return the number of handled events when all are handled, or None after the timeout."""
    reply = _client().blpop([HANDLED], timeout=seconds)
    return int(reply[1]) if reply else None


def _client() -> Any:
    return get_redis_connection("jsonbuffer")
