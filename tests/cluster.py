"""Redis clusters of few nodes on this machine."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from example_project.embedded_redis import EmbeddedRedis, EmbeddedRedisError
from tests.test_embedded_redis import client_of, wait_until

SLOTS = 16384


@contextmanager
def cluster(*, nodes: int = 1) -> Iterator[list[EmbeddedRedis]]:
    """The nodes of a cluster, each with an equal part of the slots. It takes two seconds."""
    with ExitStack() as stack:
        started = [started_node() for _ in range(nodes)]
        for node in started:
            stack.callback(node.stop)
        clients = [stack.enter_context(client_of(node)) for node in started]
        port = clients[0].config_get("port")["port"]
        for number, client in enumerate(clients):
            client.config_set("cluster-announce-ip", "127.0.0.1")
            first, end = SLOTS * number // nodes, SLOTS * (number + 1) // nodes
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
            if number:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", port)
        wait_until(
            lambda: all(client.cluster("info")["cluster_state"] == "ok" for client in clients)
        )
        yield started


def started_node() -> EmbeddedRedis:
    """Tries several ports: a node needs a port, and another one that is 10,000 higher."""
    ports = random.sample(range(20_000, 30_000), 10)
    for port in ports:
        node = EmbeddedRedis(
            *("--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes")
        )
        try:
            return node.start()
        except EmbeddedRedisError as error:
            refusal = error
    raise refusal
