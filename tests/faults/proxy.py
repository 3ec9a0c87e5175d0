"""A proxy that breaks and delays commands and replies, as a network does."""

import asyncio
import math
import random
import ssl
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, TypeAlias

from redis.connection import parse_url

NEVER: Final = math.inf

SCRIPTS: Final = ("EVALSHA", "EVAL")

Part: TypeAlias = Literal["request", "reply"]


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection breaks after this many bytes of the part.

    A part with fewer bytes passes unharmed. A cut after the whole request loses the reply.
    """

    part: Part
    after: int = 0


@dataclass(frozen=True, slots=True)
class Hold:
    """The part arrives this many seconds later, also if the client has gone by then.

    If the client has sent its request again meanwhile, the delayed one is a late copy.
    """

    part: Part
    seconds: float = NEVER


Fault: TypeAlias = Cut | Hold

Plan: TypeAlias = Callable[[int], Fault | None]
"""Returns the fault of the k-th chosen command, from 0. Called once for each, in their order."""


def at_number(number: int, fault: Fault) -> Plan:
    """The fault strikes the command with this number; the first has 0."""
    return lambda other: fault if other == number else None


def at_first(fault: Fault) -> Plan:
    return at_number(0, fault)


def at_random(seed: int, shares: Mapping[Fault, float]) -> Plan:
    """Each fault strikes its share of the commands. The same seed gives the same faults."""
    chance = random.Random(seed)
    choices = [*shares, None]
    weights = [*shares.values(), 1 - sum(shares.values())]
    return lambda number: chance.choices(choices, weights)[0]


class Course:
    """A plan that is carried out, and how far it has come."""

    def __init__(self, plan: Plan, commands: Collection[str]) -> None:
        self.seen = 0
        """Number of chosen commands that the client has sent."""
        self.done = 0
        """Number of faults that have struck. A delayed request counts when it was answered."""
        self._plan = plan
        self._commands = frozenset(command.encode() for command in commands)

    def fault_of(self, request: bytes) -> Fault | None:
        # In RESP each word follows its length: parts 2 and 4 are the command and its argument.
        if self._commands.isdisjoint(request.split(b"\r\n", 5)[2:5:2]):
            return None
        fault = self._plan(self.seen)
        self.seen += 1
        if isinstance(fault, Cut) and fault.part == "request" and fault.after > len(request):
            return None
        return fault


_UNHARMED: Final = Course(lambda number: None, [])


class Proxy:
    """A thread that listens on a port of 127.0.0.1, and passes all to the server of a URL.

    Only chosen commands in a block ``with proxy.under(plan)`` are harmed. The proxy may start
    before its server, and outlive it. At its end it closes all connections and drops delayed parts.
    With `tls`, its clients must use TLS.
    """

    def __init__(self, url: str, *, tls: ssl.SSLContext | None = None) -> None:
        self.server: Final[Mapping[str, Any]] = parse_url(url)
        self._tls = tls
        self.port = 0
        self.course = _UNHARMED
        self._errors: list[Exception] = []
        # asyncio keeps only weak references to tasks.
        self._connections: set[asyncio.Task[None] | None] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()))
        self._started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    @contextmanager
    def under(self, plan: Plan, *, commands: Collection[str] = SCRIPTS) -> Iterator[Course]:
        """Carry out the plan on each command whose name or first argument is in `commands`."""
        self.course = course = Course(plan, commands)
        try:
            yield course
        finally:
            self.course = _UNHARMED

    def __enter__(self) -> Self:
        self._thread.start()
        self._loop, self._end = self._started.result()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        if self._errors:
            raise self._errors[0]

    async def _listen(self) -> None:
        """Accept connections until the end. ``asyncio.run`` then cancels those that are open."""
        try:
            listening = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        except OSError as error:
            self._started.set_exception(error)
            return
        self.port = listening.sockets[0].getsockname()[1]
        end = asyncio.Event()
        self._started.set_result((asyncio.get_running_loop(), end))
        await end.wait()
        listening.close()

    async def _accept(self, *client: Any) -> None:
        self._connections.add(asyncio.current_task())
        try:
            await self._serve(client)
        except (OSError, asyncio.CancelledError):
            pass  # the server cannot be reached, or the proxy ends
        except Exception as error:  # noqa: BLE001  (the test fails with it at the end)
            self._errors.append(error)
        finally:
            await _close(client)
            self._connections.discard(asyncio.current_task())

    async def _serve(self, client: "_Streams") -> None:
        server = await self._connect()
        try:
            await _Connection(self, client, server).run()
        finally:
            await _close(server)

    async def _connect(self) -> "_Streams":
        if "path" in self.server:
            return await asyncio.open_unix_connection(self.server["path"])
        return await asyncio.open_connection(self.server["host"], self.server["port"])


_Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Connection:
    """A client's connection, and the proxy's own connection to the server for it."""

    def __init__(self, proxy: Proxy, client: _Streams, server: _Streams) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self._unanswered: asyncio.Queue[tuple[Course, Fault | None]] = asyncio.Queue()
        self._client_has_gone = asyncio.Event()

    async def run(self) -> None:
        """Pass requests and replies until a fault or either side ends the connection."""
        self._replying = asyncio.create_task(self._pass_replies())
        requesting = asyncio.create_task(self._pass_requests())
        both = [self._replying, requesting]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            outcomes = await asyncio.gather(*both, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _pass_requests(self) -> None:
        while request := await _value(self._from_client):
            course = self._proxy.course
            fault = course.fault_of(request)
            match fault:
                case Cut("request", after):
                    course.done += 1
                    self._replying.cancel()
                    self._to_server.write(request[:after])
                    return
                case Hold("request", seconds) if seconds == NEVER:
                    course.done += 1
                    await self._from_client.read()
                    break
                case Hold("request", seconds):
                    await asyncio.sleep(seconds)
            self._unanswered.put_nowait((course, fault))
            self._to_server.write(request)
        self._client_has_gone.set()
        # A server might not carry out a command whose sender hangs up on it.
        await self._unanswered.join()

    async def _pass_replies(self) -> None:
        while reply := await _value(self._from_server):
            if reply.startswith(b">") or self._unanswered.empty():
                self._to_client.write(reply)
                continue
            course, fault = self._unanswered.get_nowait()
            match fault:
                case Cut("reply", after) if after <= len(reply):
                    course.done += 1
                    self._to_client.write(reply[:after])
                    return
                case Hold("reply", seconds):
                    course.done += 1
                    await self._until_client_has_gone(seconds)
                case Hold("request"):
                    course.done += 1
            self._to_client.write(reply)
            self._unanswered.task_done()

    async def _until_client_has_gone(self, most_seconds: float) -> None:
        # On Python 3.11, wait_for() loses a cancellation that comes when the client goes.
        with suppress(TimeoutError):
            async with asyncio.timeout(most_seconds):
                await self._client_has_gone.wait()


async def _value(reader: asyncio.StreamReader) -> bytes:
    """One value of RESP 2 or 3 as it came, however deep, or nothing when the connection ends."""
    parts = []
    missing = 1
    try:
        while missing:
            missing -= 1
            line = await reader.readuntil(b"\r\n")
            parts.append(line)
            if line.startswith((b"$", b"=", b"!")) and not line.startswith(b"$-"):
                parts.append(await reader.readexactly(int(line[1:]) + 2))
            elif line.startswith((b"*", b"~", b">")):
                missing += max(0, int(line[1:]))
            elif line.startswith(b"%"):
                missing += 2 * int(line[1:])
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
    return b"".join(parts)


async def _close(streams: _Streams) -> None:
    _, writer = streams
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
