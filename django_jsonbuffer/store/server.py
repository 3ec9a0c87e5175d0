"""What Redis reports about itself, as far as it matters for the safety of events."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from django_jsonbuffer.conf import Configuration

from .errors import ask, not_redis
from .redis_cluster import is_cluster, note_failure, owner, primaries

_NO_EVICTION: Final = "noeviction"

OLDEST_VERSION: Final = (6, 2)
"""The first version with ``XPENDING … IDLE`` and with exclusive ranges of ids."""

OLDEST_THAT_FSYNCS: Final = (7, 2)
"""The first version with ``WAITAOF``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerFacts:
    """Version, eviction and persistence of the server."""

    version: tuple[int, ...]
    eviction_policy: str
    has_aof: bool
    has_snapshots: bool
    stops_as_a_whole: bool
    """Whether it is a cluster all of whose nodes refuse commands while one has no primary."""

    appendfsync: str
    """Empty if the user may not read it."""

    replicas: int

    needs_replica: bool
    """Whether the server refuses writes while no replica keeps up: ``min-replicas-to-write``."""


def server_facts(configuration: Configuration) -> ServerFacts | None:
    """Read the facts from Redis. None if its user of this site may not read them.

    For a cluster, these are the facts of all its primaries: what is true of each of them, and the
    oldest version. Raises :class:`BufferUnavailable` if Redis is unavailable.
    """
    found = ask(configuration.cache, _infos)
    facts = [each for each in map(_facts, found) if each is not None]
    if len(facts) < len(found):
        return None
    policies = sorted({each.eviction_policy for each in facts} - {_NO_EVICTION})
    return ServerFacts(
        version=min(each.version for each in facts),
        eviction_policy=", ".join(policies) or _NO_EVICTION,
        has_aof=all(each.has_aof for each in facts),
        has_snapshots=all(each.has_snapshots for each in facts),
        stops_as_a_whole=any(each.stops_as_a_whole for each in facts),
        appendfsync=", ".join(sorted({each.appendfsync for each in facts})),
        replicas=max(each.replicas for each in facts),
        needs_replica=all(each.needs_replica for each in facts),
    )


def _facts(found: tuple[Any, Any] | None) -> ServerFacts | None:
    if found is None:
        return None
    info, settings = found
    try:
        return ServerFacts(
            version=tuple(int(part) for part in str(info["redis_version"]).split(".")[:2]),
            eviction_policy=info.get("maxmemory_policy", "noeviction"),
            has_aof=bool(info.get("aof_enabled")),
            has_snapshots=bool(settings.get("save")),
            appendfsync=settings.get("appendfsync", ""),
            replicas=int(info.get("connected_slaves", 0)),
            needs_replica="min_slaves_good_slaves" in info,
            stops_as_a_whole=settings.get("cluster-require-full-coverage") == "yes",
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise not_redis() from error


def _infos(client: Any) -> list[tuple[Any, Any] | None]:
    if not is_cluster(client):
        return [_info(client)]
    owner(client, "")  # connects
    return [_info_of_node(client, node, each) for node, each in primaries(client).items()]


def _info_of_node(client: Any, node: str, plain: Any) -> tuple[Any, Any] | None:
    try:
        return _info(plain)
    except RedisError as error:
        note_failure(client, node, error)
        raise


def _info(client: Any) -> tuple[Any, Any] | None:
    try:
        info = client.info()
    except NoPermissionError:
        return None
    with suppress(ResponseError):  # hosted servers have no CONFIG
        settings = {**client.config_get("save"), **client.config_get("appendfsync")}
        if info.get("cluster_enabled"):
            settings |= client.config_get("cluster-require-full-coverage")
        return info, settings
    return info, {}
