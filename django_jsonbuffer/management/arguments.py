"""Arguments of the commands, and the buckets that they select."""

import argparse
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Final

from django.core.management.base import CommandError, CommandParser

from django_jsonbuffer import catalog
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.suggestions import suggest

WRONG_USAGE: Final = 2


def add_buckets(parser: CommandParser) -> None:
    """Require the name of at least one bucket."""
    parser.add_argument("bucket", nargs="+", help="Name of a bucket, or a glob such as 'orders*'.")


def named_buckets(patterns: Sequence[str]) -> list[Bucket]:
    """The known buckets that match a pattern. All known buckets if there is no pattern."""
    return buckets_among(catalog.known_buckets(), patterns)


def buckets_among(known: Sequence[Bucket], patterns: Sequence[str]) -> list[Bucket]:
    """Those of the buckets that match a pattern. All of them if there is no pattern."""
    if not patterns:
        return [*known]
    return matching_buckets(patterns, among={bucket.name: bucket for bucket in known})


def matching_buckets(patterns: Sequence[str], *, among: Mapping[str, Bucket]) -> list[Bucket]:
    """The buckets that match any of the patterns, in the order of the patterns."""
    found: dict[str, Bucket] = {}
    for pattern in patterns:
        matching = {name: bucket for name, bucket in among.items() if fnmatchcase(name, pattern)}
        if not matching:
            raise CommandError(
                f"No bucket matches {pattern!r}.{suggest([pattern], among)} There are: "
                f"{', '.join(among) or 'none'}. A bucket that is declared outside of a buckets.py "
                "is found only after its module was imported, or after an append to it.",
                returncode=WRONG_USAGE,
            )
        found |= matching
    return list(found.values())


def positive_seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < (seconds := float(text)) < threading.TIMEOUT_MAX:
            return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")


def positive_int(text: str) -> int:
    with suppress(ValueError):
        if (number := int(text)) > 0:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")


def natural_int(text: str) -> int:
    with suppress(ValueError):
        if (number := int(text)) >= 0:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
