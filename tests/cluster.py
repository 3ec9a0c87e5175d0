"""Redis clusters of few nodes on this machine."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from redis.crc import key_slot
from redis.exceptions import RedisError, ResponseError

from example_project.embedded_redis import EmbeddedRedis, EmbeddedRedisError
from tests.server import FACTORY as FACTORY
from tests.server import Redis
from tests.test_embedded_redis import client_of, wait_until

SLOTS: Final = 16384


@contextmanager
def cluster(
    *server_args: str, nodes: int = 1, replicas: bool = False
) -> Iterator[list[EmbeddedRedis]]:
    """The nodes of a cluster: primaries, each with an equal part of the slots, then a replica of
    each. It takes two seconds."""
    with ExitStack() as stack:
        # Redis 7.0 does not list a replica before it has got something from its primary.
        args = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", *server_args)
        started = [started_node(*args) for _ in range(nodes * (2 if replicas else 1))]
        for node in started:
            stack.callback(stop, node)
        clients = [stack.enter_context(client_of(node)) for node in started]
        ports = [port_of(node) for node in started]
        for number, client in enumerate(clients):
            client.config_set("cluster-announce-ip", "127.0.0.1")
            if number < nodes:
                first, end = SLOTS * number // nodes, SLOTS * (number + 1) // nodes
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
            for port in ports[:number]:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", port)
        ids = [client.execute_command("CLUSTER", "MYID") for client in clients]
        for number, client in enumerate(clients[nodes:]):
            wait_until(lambda: replicates(client, ids[number]))  # noqa: B023
        wait_until(lambda: all(is_complete(client, len(clients)) for client in clients))
        yield started


def replicates(replica: Redis, primary_id: bytes) -> bool:
    """Let a node be a replica. False as long as it does not know the primary."""
    with suppress(RedisError):
        return bool(replica.execute_command("CLUSTER", "REPLICATE", primary_id))
    return False


def is_complete(client: Redis, count: int) -> bool:
    """Whether a node knows all others, and all replicas are in the table of slots."""
    info = client.cluster("info")
    rows = client.execute_command("CLUSTER", "SLOTS")
    found = {place[1] for _, _, *places in rows for place in places}
    return info["cluster_state"] == "ok" and len(found) == count


def started_node(*server_args: str) -> EmbeddedRedis:
    """Tries several ports: a node needs a port, and another one that is 10,000 higher."""
    ports = random.sample(range(20_000, 30_000), 10)
    for port in ports:
        node = EmbeddedRedis(
            *("--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes"), *server_args
        )
        try:
            return node.start()
        except EmbeddedRedisError as error:
            refusal = error
    raise refusal


def port_of(node: EmbeddedRedis) -> int:
    """Does not ask the node, which may hang."""
    return int(node.server_args[node.server_args.index("--port") + 1])


def url_of(node: EmbeddedRedis) -> str:
    return f"redis://127.0.0.1:{port_of(node)}"


def names_on(nodes: list[EmbeddedRedis], *, per_node: int = 1) -> list[list[str]]:
    """Names of buckets for each of these primaries, which together have all slots."""
    found: list[list[str]] = [[] for _ in nodes]
    number = 0
    while any(len(names) < per_node for names in found):
        name, number = f"bucket-{number}", number + 1
        names = found[key_slot(name.encode()) * len(nodes) // SLOTS]
        if len(names) < per_node:
            names.append(name)
    return found


def node_with(key: str, nodes: list[EmbeddedRedis]) -> EmbeddedRedis:
    """The node of a key among the primaries, unless slots have moved."""
    tag = key.partition("{")[2].partition("}")[0] or key
    return nodes[key_slot(tag.encode()) * len(nodes) // SLOTS]


def owner_first(key: str, nodes: list[EmbeddedRedis]) -> list[EmbeddedRedis]:
    """The nodes, first the one that has a key."""

    def has_it(node: EmbeddedRedis) -> bool:
        with client_of(node) as plain, suppress(RedisError):
            return bool(plain.exists(key))
        return False

    return sorted(nodes, key=has_it, reverse=True)


def kill(node: EmbeddedRedis) -> None:
    assert node.pid is not None
    os.kill(node.pid, signal.SIGKILL)


@contextmanager
def hung(node: EmbeddedRedis) -> Iterator[None]:
    """Let a node hang: it takes connections and commands, and does not answer."""
    assert node.pid is not None
    os.kill(node.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(node.pid, signal.SIGCONT)


def stop(node: EmbeddedRedis) -> None:
    if node.pid is not None:
        with suppress(ProcessLookupError):
            os.kill(node.pid, signal.SIGCONT)
    node.stop()


@contextmanager
def migrating(
    key: str, source: EmbeddedRedis, target: EmbeddedRedis
) -> Iterator[Callable[..., None]]:
    """Move the slot of a key to another node. Gives a function that moves keys of the slot.

    The other node has the slot at the end. Until then, the old node sends commands to the other one
    if it does not have their keys any more.
    """
    with client_of(source) as old, client_of(target) as new:
        slot = old.execute_command("CLUSTER", "KEYSLOT", key)
        ids = [client.execute_command("CLUSTER", "MYID") for client in (old, new)]
        to = ("127.0.0.1", port_of(target), "", 0, 5000, "KEYS")
        set_slot(new, slot, "IMPORTING", ids[0])
        set_slot(old, slot, "MIGRATING", ids[1])
        yield lambda *keys: old.execute_command("MIGRATE", *to, *keys)
        while keys := old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 3):
            old.execute_command("MIGRATE", *to, *keys)
        for client in (new, old):
            set_slot(client, slot, "NODE", ids[1])


def set_slot(client: Redis, slot: int, state: str, node_id: bytes) -> None:
    """Valkey waits two seconds for the replicas, which may be too short on a busy machine."""
    while True:
        try:
            client.execute_command("CLUSTER", "SETSLOT", slot, state, node_id)
            return
        except ResponseError as error:
            if "NOREPLICAS" not in str(error):
                raise


def move_slot(key: str, source: EmbeddedRedis, target: EmbeddedRedis) -> None:
    """Move the slot of a key, with all its keys, a few keys at a time, to another node."""
    with migrating(key, source, target):
        pass
