"""Patterns: one declaration for all buckets whose names match, such as ``tenant-*``."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

from .keys import is_valid_name

_ANY: Final = "*"


def is_pattern(name: object) -> bool:
    """Whether this is a valid name of a bucket with at least one ``*`` in it."""
    return isinstance(name, str) and _ANY in name and is_valid_name(example(name))


def example(pattern: str) -> str:
    """A name that matches the pattern."""
    return pattern.replace(_ANY, "42")


def matches(name: str, pattern: str) -> bool:
    """Whether the name matches. A ``*`` stands for any number of characters."""
    return name == pattern or (_ANY in pattern and fnmatchcase(name, pattern))


class Names:
    """Names of buckets, of which some may be patterns."""

    def __init__(self, names: Iterable[str]) -> None:
        self.all: Final = [*names]
        self._exact = frozenset(self.all)
        self.patterns: Final = [name for name in self.all if _ANY in name]

    def __contains__(self, name: str) -> bool:
        return name in self._exact or any(matches(name, each) for each in self.patterns)


def matching(patterns: Iterable[str], name: str) -> list[str]:
    """The names and patterns that match a name, the most specific last.

    The name itself is the most specific. Of two patterns, it is that with more characters beside
    ``*``.
    """
    found = [pattern for pattern in patterns if matches(name, pattern)]
    return sorted(found, key=lambda each: (each == name, len(each.replace(_ANY, "")), each))
