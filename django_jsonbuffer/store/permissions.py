"""What Redis refuses to the user of this site."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple
from typing import Any, NamedTuple

from redis.exceptions import NoPermissionError, NoScriptError

from django_jsonbuffer.conf import Configuration

from . import nodes
from .errors import not_redis, translated
from .keys import PRODUCER, bucket_keys, catalog_key, shards_key, split_shard
from .replies import are_numbers
from .scripts import REFUSALS


class Refusals(NamedTuple):
    """The commands and keys that the user may not use."""

    commands: frozenset[str]
    """In upper case, a subcommand behind a bar."""

    catalog: bool
    """Whether the user may not use the key of the catalog, or that of the shards."""

    buckets: list[str]
    """Names of the shards of buckets with a key that the user may not use."""


def read_refusals(
    configuration: Configuration, commands: Iterable[str], names: Sequence[str]
) -> Refusals:
    """Which of these commands, and which keys of these shards of buckets, the user may not use.

    Needs no permission to read permissions: Redis refuses each call of a script with a key that the
    user may not use. Before Redis 7.0, and if the catalog is refused, only ``EVAL`` and ``EVALSHA``
    are found. Raises :class:`BufferUnavailable` if Redis is unavailable.
    """
    asked = sorted(commands)
    catalog = catalog_key(configuration.prefix)
    shards = shards_key(configuration.prefix) if any(split_shard(name)[1] for name in names) else ""
    eval_reply, evalsha_reply, found, shards_reply, *of_buckets = _replies(
        configuration,
        [
            nodes.Call(catalog, ("EVAL", REFUSALS.source, 0)),
            nodes.Call(catalog, ("EVALSHA", REFUSALS.sha, 0)),
            nodes.Call(catalog, ("EVAL", REFUSALS.source, 1, catalog, *asked)),
            nodes.Call(shards or catalog, ("EVALSHA", REFUSALS.sha, 1, shards or catalog)),
            *(_call_with_all_keys(configuration.prefix, name) for name in names),
        ],
    )
    refused = {asked[place - 1] for place in found} if are_numbers(found) else set()
    refused |= {"EVAL"} if _is_refused(eval_reply) else set()
    refused |= {"EVALSHA"} if _is_refused(evalsha_reply) else set()
    return Refusals(
        commands=frozenset(refused),
        catalog=(_is_refused(found) and "EVAL" not in refused)
        or (_is_refused(shards_reply) and "EVALSHA" not in refused),
        buckets=[
            name
            for name, reply in zip(names, of_buckets, strict=True)
            if _is_refused(reply) and "EVALSHA" not in refused
        ],
    )


def _call_with_all_keys(prefix: str, name: str) -> nodes.Call:
    keys = bucket_keys(prefix, name)
    all_keys = [*astuple(keys), f"{keys.open}{PRODUCER}any"]
    return nodes.Call(keys.open, ("EVALSHA", REFUSALS.sha, len(all_keys), *all_keys))


def _replies(configuration: Configuration, calls: Sequence[nodes.Call]) -> list[Any]:
    replies = nodes.replies(configuration.cache, calls)
    for reply in replies:
        # A node of a cluster that does not know the script has allowed the call.
        if isinstance(reply, Exception) and not isinstance(
            reply, NoPermissionError | NoScriptError
        ):
            raise translated(reply)
        if not isinstance(reply, Exception) and not are_numbers(reply):
            raise not_redis()
    return replies


def _is_refused(reply: object) -> bool:
    return isinstance(reply, NoPermissionError)
