"""Each part of redis-py's cluster client that this app uses beyond its documented commands.

A call goes over the connections of the one node that has the slot of its key. If this node does not
answer, a thread asks another node for the table of slots. The cluster client itself would let the
caller wait for this, also a caller of another node.

``tests/store/test_redis_cluster.py`` has a test for each, which fails when that part is gone.
"""

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from redis.cluster import PRIMARY, REPLICA, ClusterNode
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    RedisError,
    SlotNotCoveredError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .redis_internals import is_pool_exhausted

if TYPE_CHECKING:
    from redis import Redis

Cluster: TypeAlias = Any
"""A ``RedisCluster``. Any, because its types do not say what its tables hold."""

_MOST_REDIRECTIONS: Final = 16
_QUICK_REDIRECTIONS: Final = 3
"""Behind these comes a pause: for a moment, two nodes may send each command to each other."""
_TRY_AGAIN_SECONDS: Final = 5
_TRY_AGAIN_PAUSE_SECONDS: Final = 0.02

_PAUSES_SECONDS: Final = (0, 0.1, 0.2, 0.4, 0.4, 0.8, 0.8, 1.6, 1.6)
"""Pauses before each look at the table of slots. Together they are longer than the longest pause of
a circuit breaker. Then another call fails, and the looks begin again."""

_NODE: Final = "_jsonbuffer_node"
"""Attribute of an error: the name of the node that it is about."""


def is_cluster(client: Any) -> bool:
    """Whether this is a cluster client, which has no pool of its own."""
    return getattr(client, "connection_pool", None) is None


def node_of_error(error: BaseException) -> str:
    """Host and port of the node that an error is about. Empty if it is not of a cluster."""
    return getattr(error, _NODE, "")


def owner(client: Cluster, key: str) -> ClusterNode:
    """The node that has the slot of a key, as the client knows it. Connects the client.

    Relies on ``slots_cache``, the table of slots, whose lists begin with the primary.
    """
    slot = _slot(key)
    nodes: Sequence[ClusterNode] = client.nodes_manager.slots_cache.get(slot, ())
    if not nodes:
        look_for_slots(client)
        raise SlotNotCoveredError(f"No node of the cluster has slot {slot}.")
    return nodes[0]


def owner_name(client: Cluster, key: str) -> str:
    """Host and port of the owner. Empty if it is not known. Does not connect the client."""
    manager: Any = vars(client).get("nodes_manager")
    nodes = manager and manager.slots_cache.get(_slot(key))
    return nodes[0].name if nodes else ""


def primaries(client: Cluster) -> Mapping[str, "Redis"]:
    """The client of each node that has slots, by host and port."""
    nodes = {slot[0].name: slot[0] for slot in client.nodes_manager.slots_cache.values() if slot}
    return {name: client.get_redis_connection(nodes[name]) for name in sorted(nodes)}


def answers(client: Cluster, name: str) -> bool:
    """Whether the node with this host and port answers, or has left the cluster."""
    node = client.nodes_manager.nodes_cache.get(name)
    if node is None:
        return True
    with suppress(RedisError, OSError):
        return bool(client.get_redis_connection(node).ping())
    return False


def node_clients(client: Cluster) -> Iterator["Redis"]:
    """The clients of single nodes that the cluster client has made."""
    manager: Any = vars(client).get("nodes_manager")
    for node in [*manager.nodes_cache.values()] if manager else ():
        if node.redis_connection is not None:
            yield node.redis_connection


@lru_cache(10_000)
def _slot(key: str) -> int:
    return key_slot(key.encode())


class Route:
    """The way of one command to the node that has the slot of its key."""

    def __init__(self, client: Cluster, key: str) -> None:
        self._client, self._key = client, key
        self.node = owner(client, key)
        self.is_asking = False
        """Whether ``ASKING`` must come before the command."""
        self._redirections = 0
        self._began = time.monotonic()

    @property
    def client(self) -> "Redis":
        """The client of the node alone, which does not repeat commands."""
        client: Redis = self._client.get_redis_connection(self.node)
        return client

    def follow(self, error: BaseException) -> float:
        """Go where the node has sent the command. Returns how many seconds to wait before.

        Raises any other error. If it is about the node, it bears the name of the node, and a thread
        looks for the new owner of its slots.
        """
        self.is_asking = False
        self._redirections += 1
        # A MovedError is an AskError.
        if isinstance(error, AskError) and self._redirections <= _MOST_REDIRECTIONS:
            self.node = _redirected(self._client, error, self.node)
            self.is_asking = not isinstance(error, MovedError)
            return 0 if self._redirections <= _QUICK_REDIRECTIONS else _TRY_AGAIN_PAUSE_SECONDS
        if isinstance(error, TryAgainError) and self._may_wait():
            self.node, self._redirections = owner(self._client, self._key), 0
            return _TRY_AGAIN_PAUSE_SECONDS
        note_failure(self._client, self.node.name, error)
        raise error

    def _may_wait(self) -> bool:
        """Whether to wait for the end of a migration: the slot has keys on two nodes."""
        return time.monotonic() < self._began + _TRY_AGAIN_SECONDS


def note_failure(client: Cluster, node: str, error: BaseException) -> None:
    """Name the node (host and port) in an error. If its slots may have a new owner, look for it."""
    if not isinstance(error, RedisError) or is_pool_exhausted(error):
        return
    setattr(error, _NODE, node)
    lost = isinstance(error, RedisConnectionError | RedisTimeoutError) and not isinstance(
        error, AuthenticationError | BusyLoadingError
    )
    if lost or isinstance(error, ClusterDownError):
        look_for_slots(client, lost=node if lost else "")


def _redirected(client: Cluster, error: AskError, asked: ClusterNode) -> ClusterNode:
    node = _known_node(client, error.host or asked.host, error.port)
    if isinstance(error, MovedError):
        node.server_type = PRIMARY
        client.nodes_manager.slots_cache[error.slot_id] = [node]
    return node


def _known_node(client: Cluster, host: str, port: int) -> ClusterNode:
    """Relies on ``nodes_cache``, and on ``remap_host_port()``."""
    manager = client.nodes_manager
    place = manager.remap_host_port(host, int(port))
    node = ClusterNode(*place)  # type: ignore[no-untyped-call]
    known: ClusterNode = manager.nodes_cache.setdefault(node.name, node)
    return known


_lost: WeakKeyDictionary[Cluster, set[str]] = WeakKeyDictionary()
"""The clients for which a thread looks at the table of slots, with the nodes that do not answer."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_lost.clear)


def look_for_slots(client: Cluster, *, lost: str = "") -> None:
    """Read the table of slots in a thread, for some seconds or until the lost node has no slot."""
    if (nodes := _lost.get(client)) is not None:
        nodes.add(lost)
        return
    _lost[client] = {lost}
    thread = threading.Thread(target=_look, args=(client,), name="jsonbuffer-slots", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no more threads, or the interpreter ends
        _lost.pop(client, None)


def _look(client: Cluster) -> None:
    try:
        lost = _lost[client]
        for pause_seconds in _PAUSES_SECONDS:
            time.sleep(pause_seconds)
            if read_slots(client, lost) and not lost & primaries(client).keys():
                return
    finally:
        _lost.pop(client, None)


def read_slots(client: Cluster, lost: set[str]) -> bool:
    """Ask one node for the table of slots, the lost nodes last. Whether one has answered.

    Relies on ``startup_nodes``, ``nodes_cache`` and ``slots_cache``.
    """
    manager = client.nodes_manager
    nodes = {**manager.startup_nodes, **manager.nodes_cache}
    for node in sorted(nodes.values(), key=lambda node: node.name in lost):
        with suppress(RedisError, OSError):
            rows = client.get_redis_connection(node).execute_command("CLUSTER SLOTS")
            if rows:
                _note_slots(client, rows, node)
                return True
    return False


def _note_slots(client: Cluster, rows: Sequence[Any], asked: ClusterNode) -> None:
    """Use the table of slots of a node: rows of first and last slot, the primary, its replicas."""
    table: dict[int, list[ClusterNode]] = {}
    for first, last, *places in rows:
        nodes = [_known_node(client, _text(host) or asked.host, port) for host, port, *_ in places]
        for place, node in enumerate(nodes):
            node.server_type = REPLICA if place else PRIMARY
        table |= dict.fromkeys(range(first, last + 1), nodes)
    manager = client.nodes_manager
    before = manager.nodes_cache
    manager.nodes_cache = {node.name: node for nodes in table.values() for node in nodes}
    manager.slots_cache = table
    for name in before.keys() - manager.nodes_cache.keys():
        if (gone := before[name].redis_connection) is not None:
            gone.connection_pool.disconnect()


def _text(host: bytes | str | None) -> str:
    return host.decode() if isinstance(host, bytes) else host or ""
