"""What the commands' arguments mean."""

import argparse
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_jsonbuffer.buckets import Bucket, known_buckets

WRONG_USAGE: Final = 2


def add_buckets(parser: CommandParser) -> None:
    """One or more, which have to be named."""
    parser.add_argument("bucket", nargs="+", help="Name of a bucket, or a glob such as 'orders*'.")


def named_buckets(patterns: Sequence[str]) -> list[Bucket]:
    """Of all that were declared or appended to; all of them without a pattern."""
    known = {bucket.name: bucket for bucket in known_buckets()}
    return selected(patterns, among=known) if patterns else list(known.values())


def selected(patterns: Sequence[str], *, among: Mapping[str, Bucket]) -> list[Bucket]:
    """Those that any of the patterns matches, in the order of the patterns."""
    found: dict[str, Bucket] = {}
    for pattern in patterns:
        matching = {name: bucket for name, bucket in among.items() if fnmatchcase(name, pattern)}
        if not matching:
            raise CommandError(
                f"No bucket matches {pattern!r}. There are: {', '.join(among) or 'none'}. One that "
                "is declared outside of a buckets.py is found only when its module is imported, or "
                "when it was appended to.",
                returncode=WRONG_USAGE,
            )
        found |= matching
    return list(found.values())


def require_consent(command: BaseCommand, question: str) -> None:
    """Ask on the terminal. Raises :class:`CommandError` unless the answer is yes."""
    command.stdout.write(question)
    try:
        answer = input("Type 'yes' to go on: ")
    except EOFError:
        raise CommandError(
            "Nothing was done: nobody answers here. Use --no-input.", returncode=WRONG_USAGE
        ) from None
    if answer.strip() != "yes":
        raise CommandError("Nothing was done.", returncode=WRONG_USAGE)


def counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def positive_seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < (seconds := float(text)) < threading.TIMEOUT_MAX:
            return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")


def positive_int(text: str) -> int:
    with suppress(ValueError):
        if (number := int(text)) > 0:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")


def natural_int(text: str) -> int:
    with suppress(ValueError):
        if (number := int(text)) >= 0:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is no number of 0 or more")
