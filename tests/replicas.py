"""A server with a replica, on this machine."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import started_node
from tests.sentinel import server_with_port
from tests.server import Redis
from tests.test_embedded_redis import client_of, wait_until


class Pair(NamedTuple):
    """A primary and its replica, and a client of each that connects directly."""

    primary: Redis
    replica: Redis
    port: int
    """Port of the primary."""
    url: str
    """Socket of the primary."""
    replica_server: EmbeddedRedis

    @contextmanager
    def without_replica(self) -> Iterator[None]:
        """The replica neither reads nor answers."""
        stop(self.replica_server)
        try:
            yield
        finally:
            go_on(self.replica_server)

    def wait_for_replica(self) -> None:
        """Let the replica follow the primary again, and wait until it has everything."""
        self.replica.replicaof("127.0.0.1", self.port)
        wait_until(lambda: follows(self.replica))
        self.primary.set("last", "one")
        assert self.primary.wait(1, 10_000) == 1


def stop(server: EmbeddedRedis) -> None:
    assert server.pid
    os.kill(server.pid, signal.SIGSTOP)


def go_on(server: EmbeddedRedis) -> None:
    assert server.pid
    os.kill(server.pid, signal.SIGCONT)


def follows(replica: Redis) -> bool:
    facts = replica.info("replication")
    return bool(facts["role"] == "slave" and facts["master_link_status"] == "up")


def cut_off(primary: Redis, *replicas: Redis) -> None:
    """Break the connection of the replicas to their primary, until :func:`let_back`."""
    # A replica may have lost its connection by itself, on a busy machine.
    left = max(0, int(primary.info("replication")["connected_slaves"]) - len(replicas))
    for replica in replicas:
        replica.config_set("masteruser", "nobody")
        replica.config_set("masterauth", "wrong")
    primary.execute_command("CLIENT", "KILL", "TYPE", "replica")
    wait_until(lambda: primary.info("replication")["connected_slaves"] == left)


def let_back(*replicas: Redis) -> None:
    for replica in replicas:
        replica.config_set("masteruser", "")
        replica.config_set("masterauth", "")


def kill(server: EmbeddedRedis) -> None:
    assert server.pid
    os.kill(server.pid, signal.SIGKILL)


@contextmanager
def pair() -> Iterator[Pair]:
    """The servers run until the block ends."""
    primary, port = server_with_port("--repl-diskless-sync-delay", "0")
    replica, _ = server_with_port()
    with primary, replica, client_of(primary) as one, client_of(replica) as other:
        started = Pair(one, other, port, primary.url, replica)
        started.wait_for_replica()
        yield started


@contextmanager
def replica_in_cluster(primary: EmbeddedRedis) -> Iterator[EmbeddedRedis]:
    """A replica of a node of a cluster."""
    replica = started_node()
    try:
        _join(replica, primary)
        yield replica
    finally:
        replica.stop()


def _join(replica: EmbeddedRedis, primary: EmbeddedRedis) -> None:
    with client_of(replica) as one, client_of(primary) as other:
        one.config_set("cluster-announce-ip", "127.0.0.1")
        other.config_set("repl-diskless-sync-delay", 0)
        other.config_set("repl-ping-replica-period", 1)  # a replica without data is not listed
        port = one.config_get("port")["port"]
        primary_id = other.execute_command("CLUSTER", "MYID").decode()
        other.execute_command("CLUSTER", "MEET", "127.0.0.1", port)
        wait_until(lambda: primary_id in str(one.execute_command("CLUSTER", "NODES")))
        one.execute_command("CLUSTER", "REPLICATE", primary_id)
        wait_until(
            lambda: (
                follows(one)
                and port in str(other.execute_command("CLUSTER", "SLOTS"))
                and all(each.cluster("info")["cluster_state"] == "ok" for each in (one, other))
            )
        )
