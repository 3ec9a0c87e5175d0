"""A client whose commands run on a real server and on a Redis in memory. Both must do the same."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from importlib import import_module
from typing import Any, Final

import redis
from redis.connection import ConnectionPool, UnixDomainSocketConnection

from tests.clock import Clock, server_with_clock
from tests.memory_redis.replies import normal
from tests.server import Redis

PACKAGE: Final = "django_jsonbuffer.memory_redis"

_OPTIONS: Final = ("--enable-debug-command", "yes", "--stream-node-max-entries", "1")
"""With nodes of one entry, a server trims a stream as exactly as a Redis in memory."""

KEY: Final = "(key)"
_READS: Final[dict[bytes, Sequence[str]]] = {
    b"hash": ("HGETALL", KEY),
    b"list": ("LRANGE", KEY, "0", "-1"),
    b"set": ("SMEMBERS", KEY),
    b"stream": ("XRANGE", KEY, "-", "+"),
    b"string": ("GET", KEY),
}


class Difference(AssertionError):
    """The servers do not reply the same."""


class ComparingConnection(UnixDomainSocketConnection):
    """A connection to a real server that sends each command to a Redis in memory as well.

    Differences go into a list, because this app translates the errors of a connection.
    """

    def __init__(
        self, *, memory: Any, differences: list[str], is_old: bool, **options: Any
    ) -> None:
        """`memory` is a connection to a Redis in memory, like this one."""
        super().__init__(**options)
        self._memory = memory()
        self._differences = differences
        self._is_old = is_old
        self._sent: deque[list[bytes]] = deque()

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        pieces = [command] if isinstance(command, bytes) else [*command]
        super().send_packed_command(pieces, check_health)
        self._memory.send_packed_command(pieces)
        self._sent.extend(_commands(b"".join(pieces)))

    def disconnect(self, *arguments: Any, **options: Any) -> None:
        super().disconnect(*arguments, **options)
        self._memory.disconnect()
        self._sent.clear()

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        command = self._sent.popleft()
        read = super().read_response
        real = _outcome(lambda: read(*arguments, **options))
        memory = _outcome(self._memory.read_response)
        expected, found = (normal(command, each, self._is_old) for each in (real, memory))
        if expected != found:
            shown = [*command[:1], *command[2:]] if command[0] == b"EVAL" else command
            self._differences.append(f"{shown}\n  a server: {expected}\n  memory:   {found}")
        if isinstance(real, Exception):
            raise real
        return real


def _commands(packed: bytes) -> Iterator[list[bytes]]:
    while packed:
        count, _, packed = packed[1:].partition(b"\r\n")
        command = []
        for _ in range(int(count)):
            size, _, packed = packed[1:].partition(b"\r\n")
            command.append(packed[: int(size)])
            packed = packed[int(size) + 2 :]
        yield command


def _outcome(call: Callable[[], Any]) -> Any:
    """The reply, or the error."""
    try:
        return call()
    except redis.ResponseError as error:
        return error


class Pair:
    """A real server and a Redis in memory, with the same clock, which stands still."""

    def __init__(self, plain: Redis, clock: Clock, *, package: str = PACKAGE) -> None:
        """Empties the server. `package` has the Redis in memory."""
        self.plain = plain
        self.clock = clock
        self._now = 0
        self._differences: list[str] = []
        memory = import_module(f"{package}.server").MemoryRedis(clock=lambda: self._now)
        connection = import_module(f"{package}.connection").MemoryConnection
        version = plain.info("server")["redis_version"]
        self.is_old: Final = tuple(map(int, version.split(".")[:2])) < (7, 2)
        """Whether the server does not list consumers that never held an entry."""
        pool = ConnectionPool(
            connection_class=ComparingConnection,
            memory=partial(connection, server=memory),
            differences=self._differences,
            is_old=self.is_old,
            path=plain.connection_pool.connection_kwargs["path"],
            protocol=2,
        )
        self.client: Redis = redis.Redis(connection_pool=pool)
        """Its replies are as the servers send them."""
        self.client.response_callbacks.clear()
        self.empty()

    def empty(self) -> None:
        """Remove all keys and scripts."""
        self.client.flushall()
        self.client.script_flush()
        self._differences.clear()

    def check(self) -> None:
        """Raises :class:`Difference` if there was one."""
        if found := self._differences[:1]:
            self._differences.clear()
            raise Difference(found[0])

    def stop_clock(self, at: datetime) -> None:
        """Let the clocks show a time, of which a multiple of 125 ms is exact."""
        self.clock.stop(at)
        self._now = round(at.timestamp() * 1000) * 1000

    def check_contents(self) -> None:
        """Read all keys. Raises :class:`Difference`."""
        send = self.client.execute_command
        for key in sorted(send("KEYS", "*")):
            kind = send("TYPE", key)
            send("PTTL", key)
            send(*(key if word == KEY else word for word in _READS[kind]))
            for info in send("XINFO", "GROUPS", key) if kind == b"stream" else ():
                group = info[1]
                send("XPENDING", key, group)
                send("XPENDING", key, group, "-", "+", 1000)
                send("XINFO", "CONSUMERS", key, group)
        self.check()


@contextmanager
def pair() -> Iterator[Pair]:
    with (
        server_with_clock(*_OPTIONS) as (embedded, clock),
        redis.Redis.from_url(embedded.url) as plain,
    ):
        # A server removes expired keys at any time. If its clock is set back, that can be seen.
        plain.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        servers = Pair(plain, clock)
        with servers.client:
            yield servers
