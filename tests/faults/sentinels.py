"""A primary with two replicas, watched by three sentinels."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from example_project.embedded_redis import EmbeddedRedis
from tests.replicas import cut_off, follows, kill, let_back
from tests.sentinel import SERVICE, sentinel, server_with_port
from tests.server import Redis
from tests.test_embedded_redis import client_of, wait_until

_SETTINGS: Final = {"down-after-milliseconds": 500, "failover-timeout": 5000}


class Service:
    """The first server is the primary until it is killed."""

    def __init__(self, servers: list[EmbeddedRedis], plain: list[Redis]) -> None:
        self.servers = servers
        self.plain = plain
        """A client of each server that connects directly."""
        self.sentinels: list[tuple[str, int]] = []

    def cut_off(self, number: int) -> None:
        """Cut so many of the replicas off from the primary, as long as it lives."""
        primary, *replicas = self.plain
        cut_off(primary, *replicas[:number])

    def prefer_the_first_replica(self) -> None:
        """Let a failover choose it, although the other one may have more."""
        self.plain[1].config_set("replica-priority", 1)

    def kill_primary(self) -> None:
        kill(self.servers[0])
        let_back(*self.plain[1:])


@contextmanager
def service(folder: Path, *args: str) -> Iterator[Service]:
    """The servers have further arguments. The block begins when each sentinel knows them all."""
    made = [server_with_port("--repl-diskless-sync-delay", "0", *args) for _ in range(3)]
    with ExitStack() as stack:
        servers = [stack.enter_context(server) for server, _ in made]
        plain = [stack.enter_context(client_of(server)) for server in servers]
        port = made[0][1]
        for replica in plain[1:]:
            replica.replicaof("127.0.0.1", port)
        wait_until(lambda: all(map(follows, plain[1:])))
        started = Service(servers, plain)
        watching = []
        for number in range(3):
            own = folder / f"sentinel-{number}"
            own.mkdir()
            watching.append(stack.enter_context(sentinel(own)))
            _watch(watching[-1], port)
            started.sentinels.append(("127.0.0.1", watching[-1].get_connection_kwargs()["port"]))
        wait_until(lambda: all(map(_knows_all, watching)))
        yield started


def _watch(sentinel: Redis, port: int) -> None:
    sentinel.execute_command("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", port, 2)
    for name, value in _SETTINGS.items():
        sentinel.execute_command("SENTINEL", "SET", SERVICE, name, value)


def _knows_all(sentinel: Redis) -> bool:
    known = sentinel.sentinel_master(SERVICE)
    return bool(known["num-other-sentinels"] == 2 and known["num-slaves"] == 2)
