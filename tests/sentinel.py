"""A Redis Sentinel on this machine, and servers on ports that it can name."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL
from typing import Final

import redis

from example_project.embedded_redis import EmbeddedRedis, _server_program
from example_project.guard import GuardedProcess
from tests.server import Redis
from tests.test_embedded_redis import wait_until

SERVICE: Final = "shop"
"""Name of the service of which the sentinel knows the primary."""


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def server_with_port(*args: str) -> tuple[EmbeddedRedis, int]:
    """A server that is not started yet. It listens on a port and on its socket."""
    port = free_port()
    return EmbeddedRedis("--port", str(port), "--bind", "127.0.0.1", *args), port


@contextmanager
def sentinel(folder: Path) -> Iterator[Redis]:
    """A client of a sentinel that knows no primary yet. It writes its own config file."""
    config, port = folder / "sentinel.conf", free_port()
    config.write_text(f"port {port}\nbind 127.0.0.1\ndir {folder}\n")
    command = [_server_program(), str(config), "--sentinel"]
    with (
        GuardedProcess(command, output=DEVNULL) as process,
        redis.Redis(port=port, socket_timeout=5) as client,
    ):
        wait_until(lambda: process.poll() is not None or _answers(client))
        yield client


def name_primary(client: Redis, port: int) -> None:
    """Let the sentinel name the server on this port as the primary of the service."""
    if client.sentinel_masters():
        client.execute_command("SENTINEL", "REMOVE", SERVICE)
    client.execute_command("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", port, 1)


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
