"""Arguments of the commands, and the buckets that they select."""

import argparse
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Final

from django.core.management.base import CommandError, CommandParser

from django_jsonbuffer import catalog
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.catalog import Known
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.suggestions import suggest

WRONG_USAGE: Final = 2


def add_buckets(parser: CommandParser) -> None:
    """Require the name of at least one bucket."""
    parser.add_argument("bucket", nargs="+", help="Name of a bucket, or a glob such as 'orders*'.")


def named_buckets(patterns: Sequence[str]) -> Known:
    """The known buckets that match a pattern. All known buckets if there is no pattern."""
    buckets, gap = catalog.read_known()
    if not patterns:
        return Known(buckets, gap)
    among = {bucket.name: bucket for bucket in buckets}
    if gap is not None:  # then a bucket that somebody names may exist
        among |= {name: Bucket(name) for name in patterns if catalog.may_be_drained(name)}
    return matching_buckets(patterns, among=among, gap=gap)


def matching_buckets(
    patterns: Sequence[str],
    *,
    among: Mapping[str, Bucket],
    gap: BufferUnavailable | None,
    growing: Collection[str] = (),
) -> Known:
    """The buckets that match any of the patterns, in the order of the patterns.

    If there is a gap, others may match as well, unless all patterns are names of these buckets.
    Those that are `growing` need not match yet.
    """
    if among.keys() >= {*patterns}:
        gap = None
    found: dict[str, Bucket] = {}
    for pattern in patterns:
        matching = {name: bucket for name, bucket in among.items() if fnmatchcase(name, pattern)}
        if not matching and gap is None and pattern not in growing:
            raise CommandError(
                f"No bucket matches {pattern!r}.{suggest([pattern], among)} There are: "
                f"{', '.join(among) or 'none'}. A bucket that is declared outside of a buckets.py "
                "is found only after its module was imported, or after an append to it.",
                returncode=WRONG_USAGE,
            )
        found |= matching
    return Known([*found.values()], gap)


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
