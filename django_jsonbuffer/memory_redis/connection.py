"""How a client of redis-py reaches a Redis in memory: by connections without a socket."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from redis import Redis
from redis.connection import Connection, ConnectionPool
from redis.exceptions import NoScriptError, ResponseError

from .errors import ErrorReply
from .server import MemoryRedis


class MemoryConnection(Connection):
    """A connection to a Redis in memory.

    Overrides the methods of redis-py's connection that use its socket.
    """

    def __init__(self, *, server: MemoryRedis, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._server = server
        self._replies: deque[Any] = deque()
        self._queued: list[list[bytes]] | None = None
        """The commands of a transaction since ``MULTI``."""

    def connect(self, *arguments: Any, **options: Any) -> None:
        """There is nothing to connect to."""

    def disconnect(self, *arguments: Any, **options: Any) -> None:
        self._replies.clear()
        self._queued = None

    def check_health(self, *arguments: Any, **options: Any) -> None:
        """It is always healthy."""

    def can_read(self, *arguments: Any, **options: Any) -> bool:
        return bool(self._replies)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        packed = command if isinstance(command, bytes) else b"".join(_as_bytes(command))
        self._replies.extend(self._reply(parts) for parts in _commands(packed))

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        reply = self._replies.popleft()
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _reply(self, command: list[bytes]) -> Any:
        """The reply to a command, or its error."""
        try:
            match command[0].upper():
                case b"MULTI":
                    self._queued = []
                    return b"OK"
                case b"EXEC":
                    return _encoded(self._server.execute_all(self._end_transaction("EXEC")))
                case b"DISCARD":
                    self._end_transaction("DISCARD")
                    return b"OK"
            if self._queued is None:
                return _encoded(self._server.execute(command))
            self._queued.append(command)
            return b"QUEUED"
        except ErrorReply as error:
            return _exception(error)

    def _end_transaction(self, name: str) -> list[list[bytes]]:
        """The commands of the transaction."""
        commands, self._queued = self._queued, None
        if commands is None:
            raise ErrorReply(f"ERR {name} without MULTI")
        return commands


def client_of(server: MemoryRedis) -> Redis:
    """A client, which threads may share. It knows no ``WATCH``."""
    pool = ConnectionPool(connection_class=MemoryConnection, server=server, protocol=2)
    return Redis(connection_pool=pool)


def _as_bytes(pieces: Iterable[Any]) -> Iterator[bytes]:
    return (piece.encode() if isinstance(piece, str) else bytes(piece) for piece in pieces)


def _commands(packed: bytes) -> Iterator[list[bytes]]:
    """The commands in a request: ``*<arguments>``, and ``$<bytes>`` before each argument."""
    at = 0

    def number() -> int:
        nonlocal at
        end = packed.index(b"\r\n", at)
        start, at = at + 1, end + 2
        return int(packed[start:end])

    while at < len(packed):
        command = []
        for _ in range(number()):
            size = number()
            command.append(packed[at : at + size])
            at += size + 2
        yield command


def _encoded(reply: Any) -> Any:
    """A reply as redis-py reads it from a socket."""
    if isinstance(reply, list):
        return [_encoded(each) for each in reply]
    if isinstance(reply, ErrorReply):
        return _exception(reply)
    return reply.encode() if isinstance(reply, str) else reply


def _exception(error: ErrorReply) -> ResponseError:
    code, _, rest = str(error).partition(" ")
    if code == "NOSCRIPT":
        return NoScriptError(rest)
    return ResponseError(rest if code == "ERR" else str(error))
