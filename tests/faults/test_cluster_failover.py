"""What a failover in a cluster loses, and what it lets come twice."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from django_jsonbuffer import Bucket
from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import SLOTS, cluster
from tests.faults.clients import OPTIONS
from tests.faults.confirming import confirming, report_figures
from tests.replicas import cut_off, kill, let_back, replica_in_cluster
from tests.server import Redis
from tests.test_embedded_redis import client_of

NODES = 3
EVENTS = 4000


class Owner(NamedTuple):
    """The node that owns the slot of the bucket, and its two replicas."""

    server: EmbeddedRedis
    plain: Redis
    replicas: list[Redis]


@pytest.fixture
def owner(use_cache: Callable[..., str]) -> Iterator[Owner]:
    with ExitStack() as stack:
        nodes = stack.enter_context(cluster(nodes=NODES))
        clients = [stack.enter_context(client_of(node)) for node in nodes]
        slot = clients[0].execute_command("CLUSTER", "KEYSLOT", Bucket("orders").key)
        number = slot * NODES // SLOTS
        replicas = [stack.enter_context(replica_in_cluster(nodes[number])) for _ in range(2)]
        plain = [stack.enter_context(client_of(replica)) for replica in replicas]
        for each in (*clients, *plain):
            each.config_set("cluster-node-timeout", 1000)
        port = clients[0].config_get("port")["port"]
        url = f"redis://127.0.0.1:{port}/0?socket_timeout=2"
        use_cache(url, OPTIONS=OPTIONS["RedisCluster"])
        yield Owner(nodes[number], clients[number], plain)


@pytest.mark.parametrize("is_cut_off", [False, True], ids=["under load", "both cut off"])
@pytest.mark.parametrize("durability", [None, "replicated"])
def test_failover(owner: Owner, durability: str | None, is_cut_off: bool) -> None:
    seen = confirming(durability)
    with seen.draining(), seen.appending():
        seen.wait_for_more(EVENTS)
        if is_cut_off:
            cut_off(owner.plain, *owner.replicas)
            time.sleep(1)
        kill(owner.server)
        let_back(*owner.replicas)
        seen.wait_for_more(EVENTS)
    fault = "both cut off" if is_cut_off else "under load"
    report_figures(f"{fault}, in a cluster", str(durability), seen)
    if durability == "replicated":
        assert seen.lost == 0
