"""Checks of the permissions that the site's Redis user has."""

from collections.abc import Iterator
from typing import Final

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from django_jsonbuffer import acl, catalog
from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.store.permissions import Refusals, read_refusals

_NEEDED: Final = {role: acl.ROLES[role].all_commands() - acl.DISPENSABLE for role in acl.ROLES}
_NEEDED["drainer"] -= {"SMEMBERS"}  # only needed to find the buckets that a pattern matches


def check_permissions(configuration: Configuration) -> Iterator[CheckMessage]:
    """Compare the permissions with those that `redis_acl` prints.

    Raises :class:`BufferUnavailable` if Redis is unavailable.
    """
    names = [bucket.name for bucket in catalog.declared_buckets()]
    refusals = read_refusals(configuration, _NEEDED["operator"], names)
    yield from _check_commands(refusals.commands)
    yield from _check_keys(refusals, configuration.prefix)


def _check_commands(refused: frozenset[str]) -> Iterator[CheckMessage]:
    if to_append := refused & _NEEDED["producer"]:
        yield Error(
            f"The Redis user of this site cannot append: it may not use {_listed(to_append)}.",
            hint=_hint("producer"),
            id="django_jsonbuffer.E008",
        )
    if to_drain := refused & (_NEEDED["drainer"] - _NEEDED["producer"]):
        yield CheckWarning(
            "The Redis user of this site cannot drain buckets, and not serve the admin and the "
            f"other commands: it may not use {_listed(to_drain)}.",
            hint=f"{_hint('drainer')} If this site only appends, silence this check.",
            id="django_jsonbuffer.W011",
        )
    elif to_operate := refused & (_NEEDED["operator"] - _NEEDED["producer"]):
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
