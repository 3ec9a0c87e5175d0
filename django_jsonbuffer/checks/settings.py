"""Checks of ``JSONBUFFER`` and of the cache that it names."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning

from django_jsonbuffer import encoding, isolation
from django_jsonbuffer.conf import configuration, site_configuration
from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.store import clients

from .pools import check_pool


@register(Tags.caches)
def check_cache(**kwargs: Any) -> list[CheckMessage]:
    """Check the setting, and the cache that it names."""
    try:
        current = site_configuration()
        encoding.encoder(current.encoder)
    except JSONBufferError as error:
        hint = "Correct JSONBUFFER in the settings."
        return [Error(str(error), hint=hint, id="django_jsonbuffer.E001")]
    is_in_memory = isolation.server_of(configuration().cache) is not None
    if current.cache not in settings.CACHES:
        return [] if is_in_memory else [_missing_alias(current.cache)]
    try:
        clients.has_timeout(current.cache)
    except JSONBufferError as error:
        return [] if is_in_memory else [_unusable_cache(error)]
    of_client = [*_check_client(current.cache), *check_pool(current)]
    return [*_check_database(current.cache), *of_client]


def _missing_alias(alias: str) -> CheckMessage:
    return Error(
        f"CACHES has no alias {alias!r}, which the buffer uses.",
        hint=(
            f"Add CACHES[{alias!r}] = {{'BACKEND': 'django_redis.cache.RedisCache', 'LOCATION': "
            "'redis://127.0.0.1:6379/1'}, with a database number of its own, or set "
            "JSONBUFFER = {'CACHE': …}."
        ),
        id="django_jsonbuffer.E002",
    )


def _unusable_cache(error: JSONBufferError) -> CheckMessage:
    return Error(
        str(error),
        hint=(
            "Use 'django_redis.cache.RedisCache' with a LOCATION such as redis://127.0.0.1:6379/1 "
            "and its default client. Django's own RedisCache has no raw client, which scripts "
            "need."
        ),
        id="django_jsonbuffer.E003",
    )


def _check_database(alias: str) -> Iterator[CheckMessage]:
    """Whether another cache uses the same database."""
    own = clients.databases(alias)
    sharing = [
        other for other in settings.CACHES if other != alias and own & clients.databases(other)
    ]
    ordinary = {"default", settings.SESSION_CACHE_ALIAS, settings.CACHE_MIDDLEWARE_ALIAS}
    if sharing or alias in ordinary:
        sharer = f"the cache {', '.join(sharing)}" if sharing else "an ordinary cache"
        yield CheckWarning(
            f"The buffer's cache {alias!r} shares its database with {sharer}, whose clear() "
            "empties the whole database, so all pending events would be lost.",
            hint="Give the buffer an alias of its own, with a database number that no other has.",
            id="django_jsonbuffer.W002",
        )


def _check_client(alias: str) -> Iterator[CheckMessage]:
    if not clients.has_timeout(alias):
        yield CheckWarning(
            f"The client of the cache {alias!r} has no timeout, so a Redis that hangs makes "
            "every request hang.",
            hint=(
                f"Set CACHES[{alias!r}]['OPTIONS'] = {{'SOCKET_CONNECT_TIMEOUT': 2, "
                "'SOCKET_TIMEOUT': 2}."
            ),
            id="django_jsonbuffer.W003",
        )
    if clients.decodes(alias):
        yield CheckWarning(
            f"The client of the cache {alias!r} decodes replies, which costs time, because the "
            "buffer works with bytes.",
            hint="Leave decode_responses out of the alias' CONNECTION_POOL_KWARGS.",
            id="django_jsonbuffer.W004",
        )
