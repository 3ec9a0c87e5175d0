"""What Redis reports about itself, as far as it matters for the safety of events."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import NoPermissionError, ResponseError

from django_jsonbuffer.conf import Configuration

from .errors import ask, not_redis

OLDEST_VERSION: Final = (6, 2)
"""The first version with ``XPENDING … IDLE`` and with exclusive ranges of ids."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerFacts:
    """Version, eviction and persistence of the server."""

    version: tuple[int, ...]
    eviction_policy: str
    has_aof: bool
    has_snapshots: bool


def server_facts(configuration: Configuration) -> ServerFacts | None:
    """Read the facts from Redis. None if its user of this site may not read them.

    Raises :class:`BufferUnavailable` if Redis is unavailable.
    """
    if (found := ask(configuration.cache, _info)) is None:
        return None
    info, saves = found
    try:
        return ServerFacts(
            version=tuple(int(part) for part in str(info["redis_version"]).split(".")[:2]),
            eviction_policy=info.get("maxmemory_policy", "noeviction"),
            has_aof=bool(info.get("aof_enabled")),
            has_snapshots=any(saves.values()),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise not_redis() from error


def _info(client: Any) -> tuple[Any, Any] | None:
    try:
        info = client.info()
    except NoPermissionError:
        return None
    with suppress(ResponseError):  # hosted servers have no CONFIG
        return info, client.config_get("save")
    return info, {}
