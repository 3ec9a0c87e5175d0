"""Checks of the Redis server, which run with ``check --deploy`` only."""

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning

from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BufferMisconfigured, JSONBufferError
from django_jsonbuffer.store import server as redis_server
from django_jsonbuffer.store.server import ServerFacts


@register(Tags.caches, deploy=True)
def check_server(**kwargs: Any) -> list[CheckMessage]:
    """Check that Redis is recent enough, and keeps the events."""
    try:
        server = redis_server.server_facts(configuration())
    except BufferMisconfigured:
        return []  # check_cache reports it
    except JSONBufferError as error:
        return [
            CheckWarning(
                f"The buffer's Redis could not be asked: {error}",
                hint="Run this check where the site runs, while Redis is running.",
                id="django_jsonbuffer.W005",
            )
        ]
    return [*_check_version(server), *_check_eviction(server), *_check_persistence(server)]


def _check_version(server: ServerFacts) -> Iterator[CheckMessage]:
    if server.version < redis_server.OLDEST_VERSION:
        yield Error(
            f"The buffer's Redis is version {_dotted(server.version)}, which is too old.",
            hint=f"Use Redis {_dotted(redis_server.OLDEST_VERSION)} or newer, or any Valkey.",
            id="django_jsonbuffer.E006",
        )


def _check_eviction(server: ServerFacts) -> Iterator[CheckMessage]:
    if server.eviction_policy != "noeviction":
        yield CheckWarning(
            f"The buffer's Redis evicts keys when its memory is full "
            f"({server.eviction_policy}): pending events would be lost without an error.",
            hint="Set maxmemory-policy to noeviction: a full Redis then refuses appends.",
            id="django_jsonbuffer.W006",
        )


def _check_persistence(server: ServerFacts) -> Iterator[CheckMessage]:
    if not server.has_aof:
        if server.has_snapshots:
            persistence, since = "writes snapshots only", "the last snapshot"
        else:
            persistence, since = "has no persistence", "it started"
        yield CheckWarning(
            f"The buffer's Redis {persistence}: a restart loses all events that were appended "
            f"since {since}.",
            hint="Set appendonly to yes; appendfsync everysec risks a second of events at most.",
            id="django_jsonbuffer.W007",
        )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
