"""An HTTP server that fails as a test says."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """A request as the server got it. The names of its headers are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    seconds: float
    """When it came, on the monotonic clock."""

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def events(self) -> list[Any]:
        """The events of its body: a JSON array, or one in each line."""
        if self.headers["content-type"] == "application/x-ndjson":
            return [json.loads(line) for line in self.body.splitlines()]
        events: list[Any] = json.loads(self.body)
        return events


@dataclass(frozen=True)
class Answer:
    """How the server answers a request."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: str = ""
    """Where the server cuts the connection: "before" the answer, or in its "middle"."""
    hang_seconds: float = 0
    """How long the server does nothing before it answers."""
    drip_seconds: float = 0
    """How long the server waits after each byte of the body."""


DONE = Answer()
Decide = Callable[[Request], Answer]


class Server(ThreadingHTTPServer):
    """A server at a free port of this machine. It accepts all requests, unless `decide` is set."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.decide: Decide = lambda request: DONE
        self.requests: list[Request] = []
        """All requests, in the order in which they came."""
        self.accepted: list[Any] = []
        """The events of the requests that had a 2xx as their whole answer."""
        self.connections = 0
        self.is_ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    def answer_in_turn(self, *answers: Answer) -> None:
        """Answer with these, one for each request, and then accept all."""
        left = list(answers)
        self.decide = lambda request: left.pop(0) if left else DONE

    def refuse(self, *bad: Any, status: int = 422) -> None:
        """Refuse each request that has one of these events."""
        self.decide = lambda request: (
            Answer(status, body=b"no") if any(e in bad for e in request.events) else DONE
        )

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may hang up at any time."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.path, headers, body, time.monotonic())
        answer = self.server.decide(request)
        self.server.requests.append(request)
        if answer.hang_seconds:
            self.server.is_ended.wait(answer.hang_seconds)
        if answer.cut == "before":
            self.close_connection = True
            return
        if 200 <= answer.status < 300 and not answer.cut:
            self.server.accepted += request.events
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        length = len(answer.body) + (100 if answer.cut == "middle" else 0)
        if answer.status != 204:
            self.send_header("content-length", str(length))
        self.end_headers()
        if answer.drip_seconds:
            self._drip(answer)
            return
        self.wfile.write(answer.body)
        if answer.cut == "middle":
            self.close_connection = True

    def _drip(self, answer: Answer) -> None:
        for byte in answer.body:
            self.wfile.write(bytes([byte]))
            self.server.is_ended.wait(answer.drip_seconds)

    def log_message(self, *args: Any) -> None:
        """Nothing is logged."""


@contextmanager
def serve(port: int = 0) -> Iterator[Server]:
    """A server that runs until the end of the block."""
    with Server(port) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield server
        finally:
            server.is_ended.set()
            server.shutdown()
            thread.join()


def free_port() -> int:
    """A port at which nobody listens."""
    with Server() as server:
        return server.server_port
