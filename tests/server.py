"""The server of this process: a private one, or that of REDIS_URL."""

import atexit
import os
from typing import Any, TypeAlias

from example_project.embedded_redis import EmbeddedRedis


def _started() -> str:
    server = EmbeddedRedis().start()
    atexit.register(server.stop)
    return server.url


URL = os.environ.get("REDIS_URL") or _started()

Redis: TypeAlias = Any
"""A client of redis-py, whose types leave open whether replies are bytes or text, or none."""
