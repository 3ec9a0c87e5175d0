"""How a worker says that all events of a turn are handled."""

from typing import Any, Final

from django_redis import get_redis_connection

EXPECTED: Final = "benchmarks:expected"
HANDLED: Final = "benchmarks:handled"


class Tally:
    """What one worker has handled of a turn. It calls the server at its begin and at its end."""

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
    """Begin a turn of so many events, before the first is put in."""
    _client().set(EXPECTED, events)


def wait(*, seconds: float) -> int | None:
    """How many events were handled when all were, or None if they are not yet."""
    reply = _client().blpop([HANDLED], timeout=seconds)
    return int(reply[1]) if reply else None


def _client() -> Any:
    return get_redis_connection("jsonbuffer")
