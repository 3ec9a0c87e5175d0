"""Probes: whether Redis accepts what a site appends. In a cluster, whether each node does."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from django_jsonbuffer.exceptions import KeyOccupied

from .clients import clients
from .errors import ask
from .links import ASYNCIO
from .redis_cluster import is_cluster, primaries
from .shard import Shard

_ENOUGH_SECONDS: Final = 0.5
"""How long to wait for the other nodes if one has accepted the probe."""


async def probe(shards: Sequence[Shard], *, within_seconds: float) -> dict[str, Exception | None]:
    """For each node that has some of the shards: None if it accepts appends, or the error.

    The key of a single server is the empty text. All nodes are probed at the same time. The error
    of a node that does not answer in time is ``TimeoutError``. Raises :class:`BufferUnavailable` if
    no node of a cluster answers.
    """
    cache = shards[0].cache
    if is_cluster(clients[cache]) and not shards[0].node:
        await asyncio.to_thread(ask, cache, primaries)  # connects the client
    by_node = {shard.node: shard for shard in shards}
    probed = {node: asyncio.ensure_future(_write(shard)) for node, shard in by_node.items()}
    try:
        await _wait([*probed.values()], within_seconds)
        return {node: _outcome(task) for node, task in probed.items()}
    finally:
        for task in probed.values():
            task.cancel()
        await asyncio.gather(*probed.values(), return_exceptions=True)


async def _write(shard: Shard) -> None:
    """Write nothing over the open batch, which a server refuses if it refuses appends."""
    key = shard.keys.open
    with suppress(KeyOccupied):  # the node has answered, and the state of the bucket tells of it
        await ASYNCIO.execute(shard.identity, "SETRANGE", key, "0", "", key=key)


async def _wait(tasks: Sequence["asyncio.Future[None]"], within_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + within_seconds
    _, pending = await asyncio.wait(tasks, timeout=min(_ENOUGH_SECONDS, within_seconds))
    while pending and all(map(_outcome, tasks)) and (left := ends_at - loop.time()) > 0:
        _, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)


def _outcome(task: "asyncio.Future[None]") -> Exception | None:
    if not task.done():
        return TimeoutError("It does not answer in time.")
    error = task.exception()
    if error is None or isinstance(error, Exception):
        return error
    raise error
