"""Reachability: which nodes of a cluster answer, so that nobody waits for those that do not."""

import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Final, Self

from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store.clients import clients
from django_jsonbuffer.store.redis_cluster import answers, is_cluster, owner_name

_SHORTEST_PATIENCE_SECONDS: Final = 0.25
_LONGEST_PATIENCE_SECONDS: Final = 4.0
_SHORTEST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 1.0


class Reachability:
    """What the drains of one process know of the nodes of a cluster.

    A drain waits only briefly for a reply. Then its node is away: its buckets are left alone, and a
    thread tries the node until it answers. If that takes less than twice the time, the node was
    only slow, and the drains wait twice as long for it from then on.
    """

    def __init__(self, configuration: Configuration, wake: Callable[[], object]) -> None:
        self._client = clients[configuration.cache]
        self._wake = wake
        self._away: dict[str, BufferUnavailable] = {}
        self._back: SimpleQueue[str] = SimpleQueue()
        self._patience: dict[str, float] = {}
        self._ended = threading.Event()

    @classmethod
    def of(cls, configuration: Configuration, wake: Callable[[], object]) -> Self | None:
        """None if Redis is a single server."""
        return cls(configuration, wake) if is_cluster(clients[configuration.cache]) else None

    def node_of(self, key: str) -> str:
        """Host and port of the node that has a key. Empty if no node is known."""
        return owner_name(self._client, key)

    def why_away(self, key: str) -> BufferUnavailable | None:
        """The error of the node that has a key, while that node is away."""
        return self._away.get(self.node_of(key)) if self._away else None

    def patience_seconds(self, key: str) -> float:
        """How long to wait until a reply of the node that has a key begins."""
        return self._patience.get(self.node_of(key), _SHORTEST_PATIENCE_SECONDS)

    def note(self, error: BufferUnavailable) -> None:
        """Let the node be away that an error is about."""
        node = error.node
        if not (node and error.is_unreachable) or node in self._away:
            return
        self._away[node] = error
        thread = threading.Thread(target=self._try, args=[node], name=f"tries {node}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads: the next call tries the node
            del self._away[node]

    def returned(self) -> Iterator[str]:
        """The nodes that answer again, as far as it was not told before."""
        while not self._back.empty():
            yield self._back.get()

    def end(self) -> None:
        """Try no node any more."""
        self._ended.set()

    def _try(self, node: str) -> None:
        began, pause_seconds = time.monotonic(), _SHORTEST_PAUSE_SECONDS
        while not answers(self._client, node):
            if self._ended.wait(pause_seconds):
                return
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
        twice = 2 * self._patience.get(node, _SHORTEST_PATIENCE_SECONDS)
        if time.monotonic() - began < twice:
            self._patience[node] = min(twice, _LONGEST_PATIENCE_SECONDS)
        del self._away[node]
        self._back.put(node)
        self._wake()
