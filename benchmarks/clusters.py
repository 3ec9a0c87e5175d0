"""Start a Redis Cluster of primaries on this machine."""

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import redis

from example_project.embedded_redis import EmbeddedRedis, EmbeddedRedisError

SLOTS: Final = 16384
PATIENCE_SECONDS: Final = 30


@contextmanager
def cluster(nodes: int) -> Iterator[list[EmbeddedRedis]]:
    """Nodes that share the slots equally. It takes a few seconds."""
    with ExitStack() as stack:
        started = [_started_node() for _ in range(nodes)]
        for node in started:
            stack.callback(node.stop)
        clients = [stack.enter_context(redis.Redis.from_url(node.url)) for node in started]
        for number, client in enumerate(clients):
            client.config_set("cluster-announce-ip", "127.0.0.1")
            first, end = SLOTS * number // nodes, SLOTS * (number + 1) // nodes
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
            for other in started[:number]:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", port_of(other))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not all(_is_complete(client, nodes) for client in clients):
            if time.monotonic() > deadline:
                raise EmbeddedRedisError("The nodes did not become a cluster.")
            time.sleep(0.05)
        yield started


def port_of(node: EmbeddedRedis) -> int:
    return int(node.server_args[node.server_args.index("--port") + 1])


def _started_node() -> EmbeddedRedis:
    """Tries several ports: a node needs a port, and another one that is 10,000 higher."""
    refusal = EmbeddedRedisError("No port is free.")
    for port in random.sample(range(20_000, 30_000), 10):
        args = ("--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes")
        try:
            return EmbeddedRedis(*args).start()
        except EmbeddedRedisError as error:
            refusal = error
    raise refusal


def _is_complete(client: "redis.Redis", nodes: int) -> bool:
    is_ok = client.cluster("info")["cluster_state"] == "ok"
    slots: Any = client.cluster("slots")
    return is_ok and len(slots) == nodes
