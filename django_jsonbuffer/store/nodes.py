"""Sends many commands at once, each for one bucket. In a cluster, each node gets its own."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from redis.cluster import ClusterNode
from redis.exceptions import AskError, NoScriptError, SlotNotCoveredError, TryAgainError

from .clients import clients
from .errors import DRIVER_ERRORS, PATIENCE, ask, pauses_of
from .redis_blocking import execute_all_once, execute_once
from .redis_cluster import is_cluster, note_failure, owner
from .redis_internals import AS_BYTES, may_wait
from .scripts import Script
from .wire import packed

if TYPE_CHECKING:
    from redis import Redis

MOST_CALLS: Final = 500
"""Most commands in one round trip, so that no reply is too long and no server is busy for long."""

_MOST_THREADS: Final = 32
_ELSEWHERE: Final = (AskError, TryAgainError)
"""Errors of a node that does not have the slot of a command, or has only a part of it."""


class Call(NamedTuple):
    """A command, and a key that says which node gets it."""

    key: str
    command: tuple[bytes | str | int, ...]


def replies(
    cache: str,
    calls: Sequence[Call],
    *,
    script: Script | None = None,
    within_seconds: float | None = None,
) -> list[Any]:
    """The reply to each command as bytes, or its error of redis-py.

    If a node of a cluster does not answer, this is the error of its own commands only. The nodes
    are asked at the same time, so one that hangs delays the others by one timeout. Raises
    :class:`BufferUnavailable` if the only server is unreachable, or the cluster as a whole.

    `script` is the script that the commands run. It is loaded if a server does not know it. In a
    cluster, `within_seconds` is how long to wait until the replies of a node begin, if that is less
    than the timeout of the client.
    """
    client = clients[cache]
    if not is_cluster(client):
        return ask(cache, lambda one: [*_replies(one, calls, script, None)])
    found = dict.fromkeys(range(len(calls)))
    by_node, uncovered = ask(cache, lambda cluster: _by_node(cluster, calls))
    found.update(uncovered)
    with ThreadPoolExecutor(min(len(by_node), _MOST_THREADS) or 1) as threads:
        question = partial(_replies_of_node, client, calls, script, within_seconds)
        for of_node in threads.map(question, by_node.values()):
            found.update(of_node)
    return [*found.values()]


OfNode = tuple[ClusterNode, list[int]]
"""A node, and the places of the commands for it."""

Found = dict[int, Any]
"""Replies and errors by the places of their commands."""


def _by_node(client: Any, calls: Sequence[Call]) -> tuple[dict[str, OfNode], Found]:
    """The commands for each node, and the errors of those for no node."""
    by_node: dict[str, OfNode] = {}
    uncovered: Found = {}
    for place, call in enumerate(calls):
        try:
            node = owner(client, call.key)
        except SlotNotCoveredError as error:
            uncovered[place] = error
        else:
            by_node.setdefault(node.name, (node, []))[1].append(place)
    return by_node, uncovered


def _replies_of_node(
    client: Any,
    calls: Sequence[Call],
    script: Script | None,
    within_seconds: float | None,
    of_node: OfNode,
) -> Found:
    node, places = of_node
    asked, pauses = [calls[place] for place in places], pauses_of(PATIENCE)
    while True:
        try:
            its_client = client.get_redis_connection(node)
            found = [*_replies(its_client, asked, script, within_seconds)]
            break
        except DRIVER_ERRORS as error:
            if may_wait(error) and (pause_seconds := next(pauses, None)) is not None:
                time.sleep(pause_seconds)
                continue
            note_failure(client, node.name, error)
            return dict.fromkeys(places, error)
    for number, reply in enumerate(found):
        if isinstance(reply, _ELSEWHERE):
            found[number] = _reply_from_elsewhere(client, asked[number], script)
        elif isinstance(reply, Exception):
            note_failure(client, node.name, reply)
    return dict(zip(places, found, strict=True))


def _replies(
    client: "Redis", calls: Sequence[Call], script: Script | None, within_seconds: float | None
) -> Iterator[Any]:
    for start in range(0, len(calls), MOST_CALLS):
        some = calls[start : start + MOST_CALLS]
        found = _replies_at_once(client, some, within_seconds)
        if script and any(isinstance(reply, NoScriptError) for reply in found):
            client.script_load(script.source)
            found = _replies_at_once(client, some, within_seconds)
        yield from found


def _replies_at_once(
    client: "Redis", calls: Sequence[Call], within_seconds: float | None
) -> list[Any]:
    if within_seconds is not None:
        commands = [packed(*call.command) for call in calls]
        return execute_all_once(client, commands, within_seconds=within_seconds)
    with client.pipeline(transaction=False) as pipeline:
        queue: Callable[..., Any] = pipeline.execute_command
        for call in calls:
            queue(*call.command, **AS_BYTES)
        found: list[Any] = pipeline.execute(raise_on_error=False)
        return found


def _reply_from_elsewhere(client: Any, call: Call, script: Script | None) -> Any:
    """The reply of the node to which the slot has moved, or moves."""
    command = call.command
    try:
        try:
            return execute_once(client, packed(*command), key=call.key)
        except NoScriptError:
            if script is None:
                raise
            return execute_once(client, packed("EVAL", script.source, *command[2:]), key=call.key)
    except DRIVER_ERRORS as error:
        return error
