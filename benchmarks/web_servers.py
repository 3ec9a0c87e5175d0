"""Web servers that serve a Django project: real processes of uvicorn and gunicorn."""

import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import TimeoutExpired
from typing import IO, Final, NamedTuple

from example_project.guard import GuardedProcess

UVICORN: Final = (
    *("uvicorn", "django.core.asgi:get_asgi_application", "--factory"),
    *("--log-level", "warning", "--no-access-log", "--uds", "{}"),
)
GUNICORN: Final = (
    *("gunicorn", "django.core.wsgi:get_wsgi_application()"),
    *("--worker-class", "gthread", "--workers", "1", "--threads", "8"),
    *("--log-level", "warning", "--no-control-socket", "--bind", "unix:{}"),
)

START_SECONDS: Final = 30
STOP_SECONDS: Final = 10


class WebServerFailed(Exception):
    """The web server does not answer. It has ended, or will end with the block."""


class WebServer(NamedTuple):
    process: GuardedProcess
    socket: str
    """The path of the unix socket on which it listens."""


@contextmanager
def serving(command: tuple[str, ...]) -> Iterator[WebServer]:
    """Start a web server with the settings of this process. It ends with the block.

    In `command`, braces stand for the path of the socket.
    """
    with tempfile.TemporaryDirectory(prefix="jsonbuffer-") as folder:
        path = str(Path(folder) / "web.sock")
        arguments = [argument.format(path) for argument in command]
        with (
            tempfile.TemporaryFile() as output,
            GuardedProcess([sys.executable, "-m", *arguments], output=output) as process,
        ):
            try:
                _wait(process, path, output)
                yield WebServer(process, path)
            finally:
                stop(process)


def stop(process: GuardedProcess) -> None:
    """End a web server as a supervisor does, so that gunicorn ends its worker too."""
    process.signal("TERM")
    try:
        process.wait(STOP_SECONDS)
    except TimeoutExpired:
        process.end()


def _wait(process: GuardedProcess, path: str, output: IO[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if _answers(path):
            return
        time.sleep(0.02)
    output.seek(0)
    said = output.read().decode(errors="replace").strip() or "nothing"
    raise WebServerFailed(f"The web server has not started. It said: {said}")


def _answers(path: str) -> bool:
    """Whether a request gets a response, whatever it says."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(START_SECONDS)
        try:
            client.connect(path)
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return bool(client.recv(1))
        except OSError:
            return False
