"""System checks: each says what is wrong and, as its hint, what to do.

A plain ``check`` reads settings and declarations only; ``check --deploy`` asks Redis as well.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning

from . import connections, encoding, middleware, receivers, store
from .buckets import Declaration, declared_buckets
from .buckets import register as buckets
from .conf import Configuration, configuration
from .exceptions import BufferMisconfigured, JSONBufferError
from .keys import is_valid_name, validated_name
from .options import checked_options


@register(Tags.caches)
def check_cache(**kwargs: Any) -> list[CheckMessage]:
    """The setting itself, and the cache that it names."""
    try:
        current = configuration()
        encoding.encoder(current.encoder)
    except JSONBufferError as error:
        return [Error(str(error), hint="Correct JSONBUFFER in the settings.", id=_id("E001"))]
    if current.cache not in settings.CACHES:
        return [
            Error(
                f"CACHES has no alias {current.cache!r}, which the buffer is to use.",
                hint=(
                    f"Add CACHES[{current.cache!r}] = {{'BACKEND': "
                    "'django_redis.cache.RedisCache', 'LOCATION': 'redis://127.0.0.1:6379/1'}, "
                    "with a database number of its own, or set JSONBUFFER = {'CACHE': …}."
                ),
                id=_id("E002"),
            )
        ]
    try:
        connections.has_timeout(current.cache)
    except JSONBufferError as error:
        return [
            Error(
                str(error),
                hint=(
                    "Use 'django_redis.cache.RedisCache' with a LOCATION such as "
                    "redis://127.0.0.1:6379/1 and its default client. Django's own RedisCache "
                    "gives no raw client, which scripts need."
                ),
                id=_id("E003"),
            )
        ]
    return [*_shared_database(current.cache), *_careless_client(current.cache)]


@register
def check_buckets(**kwargs: Any) -> list[CheckMessage]:
    """Each declared bucket, and each that the settings name."""
    return [
        *_faulty_declarations(),
        *_faulty_settings(),
        *_unknown_in_settings(),
        *_rivals(),
        *_without_processor(),
        *_without_a_spill(),
        *_without_actor(),
    ]


@register(Tags.caches, deploy=True)
def check_server(**kwargs: Any) -> list[CheckMessage]:
    """Whether the server keeps what it is given."""
    try:
        current = configuration()
        server = store.server_facts(current)
    except BufferMisconfigured:
        return []  # reported by check_cache
    except JSONBufferError as error:
        return [
            CheckWarning(
                f"The buffer's Redis could not be asked: {error}",
                hint="Run this check where the site runs, with Redis up.",
                id=_id("W005"),
            )
        ]
    return list(_unsafe_server(server))


def _shared_database(alias: str) -> Iterator[CheckMessage]:
    own = connections.databases(alias)
    sharing = [
        other for other in settings.CACHES if other != alias and own & connections.databases(other)
    ]
    ordinary = {"default", settings.SESSION_CACHE_ALIAS, settings.CACHE_MIDDLEWARE_ALIAS}
    if sharing or alias in ordinary:
        with_whom = f"the cache {', '.join(sharing)}" if sharing else "an ordinary cache"
        yield CheckWarning(
            f"The buffer's cache {alias!r} shares its database with {with_whom}, whose clear() "
            "empties the whole database: every pending event would be gone.",
            hint="Give the buffer an alias of its own, with a database number that no other has.",
            id=_id("W002"),
        )


def _careless_client(alias: str) -> Iterator[CheckMessage]:
    if not connections.has_timeout(alias):
        yield CheckWarning(
            f"The client of the cache {alias!r} waits without end for a server that does not "
            "answer: one that hangs makes every request hang.",
            hint=(
                f"Set CACHES[{alias!r}]['OPTIONS'] = {{'SOCKET_CONNECT_TIMEOUT': 2, "
                "'SOCKET_TIMEOUT': 2}."
            ),
            id=_id("W003"),
        )
    if connections.decodes(alias):
        yield CheckWarning(
            f"The client of the cache {alias!r} decodes replies, which costs time: the buffer "
            "works with bytes.",
            hint="Leave decode_responses out of the alias' CONNECTION_POOL_KWARGS.",
            id=_id("W004"),
        )


def _faulty_declarations() -> Iterator[CheckMessage]:
    for bucket, place in buckets.declarations:
        if bucket.fault is not None:
            yield Error(
                f"{bucket.fault} ({place})",
                hint="Correct the declaration.",
                id=_id("E004"),
            )


def _faulty_settings() -> Iterator[CheckMessage]:
    for name, options in _configuration_or_default().buckets.items():
        try:
            checked_options(validated_name(name), options)
        except JSONBufferError as error:
            yield Error(
                str(error), hint="Correct JSONBUFFER['BUCKETS'] in the settings.", id=_id("E004")
            )


def _unknown_in_settings() -> Iterator[CheckMessage]:
    declared = {bucket.name for bucket in declared_buckets()}
    for name in _configuration_or_default().buckets:
        if is_valid_name(name) and name not in declared:
            yield CheckWarning(
                f"JSONBUFFER['BUCKETS'] has options for {name!r}, which no app declares.",
                hint=f"Declared are: {', '.join(sorted(declared)) or 'none'}.",
                id=_id("W008"),
            )


def _rivals() -> Iterator[CheckMessage]:
    declared: dict[str, list[Declaration]] = defaultdict(list)
    for declaration in buckets.declarations:
        # Without options it is a handle of a bucket that is declared elsewhere.
        if declaration.bucket.fault is None and declaration.bucket.given_options:
            declared[declaration.bucket.name].append(declaration)
    for name, declarations in declared.items():
        first = declarations[0].bucket.given_options
        if any(bucket.given_options != first for bucket, _ in declarations):
            places = ", ".join(place for _, place in declarations)
            yield Error(
                f"Bucket {name!r} is declared with different options: {places}.",
                hint="Declare it once, and use Bucket(name) without options elsewhere.",
                id=_id("E005"),
            )
    for name, processors in buckets.rivals.items():
        functions = ", ".join(_dotted_name(processor.function) for processor in processors)
        yield Error(
            f"Bucket {name!r} has several processors: {functions}.",
            hint="A bucket has one processor. Call the functions from one, or use two buckets.",
            id=_id("E005"),
        )


def _without_processor() -> Iterator[CheckMessage]:
    for bucket in declared_buckets():
        try:
            takes_part = bucket.options.batch_size is not None
        except JSONBufferError:
            continue  # reported as E001 or E004
        if takes_part and not bucket.has_processor:
            yield CheckWarning(
                f"Bucket {bucket.name!r} has no processor: drain_buckets leaves it alone.",
                hint=(
                    "Declare one with @bucket.processor, or batch_size=None if another client "
                    "takes its events."
                ),
                obj=bucket,
                id=_id("W001"),
            )


def _without_a_spill() -> Iterator[CheckMessage]:
    for bucket in declared_buckets():
        try:
            folder = bucket.options.spill_dir
        except JSONBufferError:
            continue  # reported as E001 or E004
        if folder is None:
            continue
        from .spill import is_writable  # SQLite is for those alone who spill

        if not is_writable(folder):
            yield CheckWarning(
                f"Bucket {bucket.name!r} is to spill to {os.fspath(folder)!r}, which is no folder "
                "that can be written to: its events would be lost when Redis is away.",
                hint="Make the folder, and let it belong to the user that runs the site.",
                obj=bucket,
                id=_id("W010"),
            )


def _without_actor() -> Iterator[CheckMessage]:
    needed = f"{middleware.__name__}.{middleware.actor_middleware.__name__}"
    if needed in settings.MIDDLEWARE:
        return
    for recording in receivers.recordings:
        if recording.actor:
            yield CheckWarning(
                f"Bucket {recording.bucket.name!r} is to record who changed "
                f"{recording.model._meta.label}, which nobody tells it.",
                hint=f"Add {needed!r} to MIDDLEWARE, or leave actor=True out.",
                obj=recording.bucket,
                id=_id("W009"),
            )


def _unsafe_server(server: store.ServerFacts) -> Iterator[CheckMessage]:
    if server.version < store.OLDEST_VERSION:
        yield Error(
            f"The buffer's Redis is version {_dotted(server.version)}.",
            hint=f"Use Redis {_dotted(store.OLDEST_VERSION)} or newer, or any Valkey.",
            id=_id("E006"),
        )
    if server.eviction_policy != "noeviction":
        yield CheckWarning(
            f"The buffer's Redis evicts keys when its memory is full "
            f"({server.eviction_policy}): pending events would vanish without a word.",
            hint="Set maxmemory-policy to noeviction: a full Redis then refuses, and says so.",
            id=_id("W006"),
        )
    if not server.has_aof:
        snapshots = "writes snapshots only" if server.has_snapshots else "has no persistence"
        yield CheckWarning(
            f"The buffer's Redis {snapshots}: a restart loses what was appended since"
            f"{' the last one' if server.has_snapshots else ' it started'}.",
            hint="Set appendonly to yes; appendfsync everysec risks a second of events at most.",
            id=_id("W007"),
        )


def _configuration_or_default() -> Configuration:
    try:
        return configuration()
    except JSONBufferError:
        return Configuration()  # reported as E001


def _dotted_name(function: object) -> str:
    name = getattr(function, "__qualname__", None)  # which a partial has not
    return f"{function.__module__}.{name}" if name else repr(function)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _id(number: str) -> str:
    return f"django_jsonbuffer.{number}"
