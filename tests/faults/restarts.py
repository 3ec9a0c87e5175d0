"""A server that restarts, and has lost its last writes."""

import os
import signal
from pathlib import Path
from typing import Self

from example_project.embedded_redis import EmbeddedRedis
from tests.server import Redis
from tests.test_embedded_redis import client_of


class RestartingServer:
    """A server that can restart without its last writes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._embedded = EmbeddedRedis("--dir", str(folder))
        self.url = self._embedded.url

    def __enter__(self) -> Self:
        self._embedded.start()
        self.save()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._embedded.stop()

    def client(self) -> Redis:
        """A plain client of the server."""
        return client_of(self._embedded)

    def save(self) -> None:
        """Write all data to the disk. Later writes are lost when the server restarts."""
        with self.client() as plain:
            plain.save()

    def restart(self) -> None:
        assert self._embedded.pid is not None
        os.kill(self._embedded.pid, signal.SIGKILL)
        self._embedded.stop()
        self._embedded.start()
