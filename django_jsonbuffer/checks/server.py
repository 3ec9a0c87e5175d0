"""Checks of the Redis server, which run with ``check --deploy`` only."""

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning

from django_jsonbuffer import catalog
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BufferMisconfigured, BufferUnavailable, JSONBufferError
from django_jsonbuffer.store import server as redis_server
from django_jsonbuffer.store.server import ServerFacts

from .permissions import check_permissions


@register(Tags.caches, deploy=True)
def check_server(**kwargs: Any) -> list[CheckMessage]:
    """Check that Redis serves this site, is recent enough, and keeps the events."""
    try:
        server = redis_server.server_facts(configuration())
        of_user = [*check_permissions(configuration())]
    except BufferMisconfigured:
        return []  # check_cache reports it
    except JSONBufferError as error:
        if isinstance(error, BufferUnavailable) and error.node and error.is_unreachable:
            return [_unchecked(error)]
        return [
            Error(
                f"The buffer's Redis cannot be used: {error}",
                hint="Start Redis, or correct LOCATION and OPTIONS of the cache. Run this check "
                "where the site runs.",
                id="django_jsonbuffer.E007",
            )
        ]
    return [*(_check_facts(server) if server else [_missing_facts()]), *of_user]


def _unchecked(error: BufferUnavailable) -> CheckMessage:
    """No error, because it would stop the deployment of a site that the other nodes still serve."""
    return CheckWarning(
        f"A node of the buffer's cluster does not answer, so its Redis is not checked: {error}",
        hint="Start the node, and run this check again.",
        id="django_jsonbuffer.W017",
    )


def _missing_facts() -> CheckMessage:
    return CheckWarning(
        "The Redis user of this site may not use INFO, so version, eviction and persistence of "
        "Redis are not checked.",
        hint="Run this check as a user with the permissions of 'manage.py redis_acl operator', or "
        "silence it.",
        id="django_jsonbuffer.W005",
    )


def _check_facts(server: ServerFacts) -> Iterator[CheckMessage]:
    yield from _check_version(server)
    yield from _check_eviction(server)
    yield from _check_persistence(server)
    if server.stops_as_a_whole:
        yield CheckWarning(
            "The buffer's cluster refuses all appends while one of its nodes is down and has no "
            "replica that takes over.",
            hint="Set cluster-require-full-coverage to no on each node: then only the buckets of "
            "the node that is down are affected.",
            id="django_jsonbuffer.W016",
        )
    yield from _check_replicas(server)
    yield from _check_durability(server)


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


def _check_replicas(server: ServerFacts) -> Iterator[CheckMessage]:
    if server.replicas and not server.needs_replica:
        yield CheckWarning(
            "The buffer's Redis has replicas, but also accepts appends that none of them gets: a "
            "failover loses these.",
            hint="Set min-replicas-to-write to 1 and min-replicas-max-lag to a few seconds, on the "
            "primary and on each replica.",
            id="django_jsonbuffer.W014",
        )


def _check_durability(server: ServerFacts) -> Iterator[CheckMessage]:
    for bucket in catalog.declared_buckets():
        for durability in catalog.durabilities([bucket]):
            if missing := _missing_for(durability, server):
                yield Error(
                    f"Bucket {bucket.name!r} has durability={durability!r}, but the buffer's Redis "
                    f"{missing}: no append to the bucket is confirmed.",
                    hint="Correct the configuration of Redis, or leave the option out.",
                    obj=bucket,
                    id="django_jsonbuffer.E011",
                )
            elif durability == "fsynced" and server.appendfsync == "everysec":
                yield CheckWarning(
                    f"Bucket {bucket.name!r} has durability='fsynced', but the buffer's Redis has "
                    "appendfsync everysec. Many servers then confirm an append up to a second "
                    "before it is on the disk.",
                    hint="Set appendfsync to always. If you know that your server confirms in "
                    "time, silence this check.",
                    obj=bucket,
                    id="django_jsonbuffer.W015",
                )


def _missing_for(durability: str, server: ServerFacts) -> str:
    """Why the server cannot confirm it. Empty if it can."""
    if durability == "replicated":
        return "" if server.replicas else "has no replica"
    if server.version < redis_server.OLDEST_THAT_FSYNCS:
        return f"is older than {_dotted(redis_server.OLDEST_THAT_FSYNCS)}"
    if not server.has_aof:
        return "has no append-only file (appendonly no)"
    return "never syncs its file (appendfsync no)" if server.appendfsync == "no" else ""


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
