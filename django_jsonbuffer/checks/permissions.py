"""Checks of the permissions that the site's Redis user has."""

from collections.abc import Iterator, Mapping

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from django_jsonbuffer import acl, catalog
from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.declarations import declared
from django_jsonbuffer.store.keys import shard_name
from django_jsonbuffer.store.permissions import Refusals, read_refusals


def check_permissions(configuration: Configuration) -> Iterator[CheckMessage]:
    """Compare the permissions with those that `redis_acl` prints.

    Raises :class:`BufferUnavailable` if Redis is unavailable.
    """
    buckets = catalog.declared_buckets()
    durabilities = catalog.durabilities(buckets)
    needed = {
        name: acl.ROLES[name].all_commands(durabilities) - acl.DISPENSABLE for name in acl.ROLES
    }
    names = [bucket.name for bucket in buckets]
    names += [shard_name(bucket.name, 1) for bucket in buckets if catalog.shards_of(bucket) > 1]
    if not declared.patterns and len(names) == len(buckets):  # to find their buckets and shards
        needed["drainer"] -= {"SMEMBERS"}
    refusals = read_refusals(configuration, needed["operator"], names)
    yield from _check_commands(refusals.commands, needed)
    yield from _check_keys(refusals, configuration.prefix)


def _check_commands(
    refused: frozenset[str], needed: Mapping[str, set[str]]
) -> Iterator[CheckMessage]:
    if to_append := refused & needed["producer"]:
        yield Error(
            f"The Redis user of this site cannot append: it may not use {_listed(to_append)}.",
            hint=_hint("producer"),
            id="django_jsonbuffer.E008",
        )
    if to_drain := refused & (needed["drainer"] - needed["producer"]):
        yield CheckWarning(
            "The Redis user of this site cannot drain buckets, and not serve the admin and the "
            f"other commands: it may not use {_listed(to_drain)}.",
            hint=f"{_hint('drainer')} If this site only appends, silence this check.",
            id="django_jsonbuffer.W011",
        )
    elif to_operate := refused & (needed["operator"] - needed["producer"]):
        yield CheckWarning(
            "The Redis user of this site cannot serve the admin, the other commands and all "
            f"methods of Bucket: it may not use {_listed(to_operate)}.",
            hint=f"{_hint('operator')} If this site only appends and drains, silence this check.",
            id="django_jsonbuffer.W012",
        )


def _check_keys(refusals: Refusals, prefix: str) -> Iterator[CheckMessage]:
    refused = [f"of the bucket {name!r}" for name in refusals.buckets]
    if refusals.catalog:
        refused.insert(0, "of the catalog")
    if refused:
        yield Error(
            "The Redis user of this site may not use some keys, or not write to them: the keys "
            f"{', '.join(refused)}.",
            hint=f"The PREFIX of the setting is {prefix!r}. {_hint('producer')} If you name "
            "buckets, name all that this site uses.",
            id="django_jsonbuffer.E009",
        )


def _hint(role: str) -> str:
    return f"Run 'manage.py redis_acl {role}', and then in Redis the command that it prints."


def _listed(commands: frozenset[str]) -> str:
    return ", ".join(sorted(command.lower() for command in commands))
