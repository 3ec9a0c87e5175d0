"""Patterns: one declaration for all buckets whose names match, such as ``tenant-*``."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from .keys import is_valid_name

_ANY: Final = "*"
_SPECIAL: Final = re.compile(r"[*?\[]")
"""Characters that may stand for others in ``fnmatch``."""


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
    """Names of buckets, of which some may be patterns.

    There may be thousands. The plain ones are looked up, and of the patterns, only those are tried
    that begin as the name does.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.all: Final = [*names]
        self._exact = frozenset(self.all)
        self.patterns: Final = [name for name in self.all if _ANY in name]
        self._by_start: dict[str, list[str]] = defaultdict(list)
        for pattern in self.patterns:
            self._by_start[_SPECIAL.split(pattern, maxsplit=1)[0]].append(pattern)
        self._lengths = {len(start) for start in self._by_start}
        """Of the starts."""

    def __contains__(self, name: str) -> bool:
        return name in self._exact or any(True for _ in self._patterns_of(name))

    def shortened(self) -> "Names":
        """The same buckets, without the plain names that a pattern matches as well."""
        return Names(
            name
            for name in self.all
            if _ANY in name or not any(True for _ in self._patterns_of(name))
        )

    def matching(self, name: str) -> list[str]:
        """Those that match a name, the most specific last.

        The name itself is the most specific. Of two patterns, it is that with more characters
        beside ``*``.
        """
        found = [each for each in self._patterns_of(name) if each != name]
        found.sort(key=lambda each: (len(each.replace(_ANY, "")), each))
        return [*found, name] if name in self._exact else found

    def _patterns_of(self, name: str) -> Iterator[str]:
        for length in self._lengths:
            if length <= len(name):
                for pattern in self._by_start.get(name[:length], ()):
                    if matches(name, pattern):
                        yield pattern


class OptionsByName:
    """Options of buckets by their names, of which some may be patterns."""

    def __init__(self, given: Mapping[str, Mapping[str, Any]]) -> None:
        self._given: Final = {**given}
        self.names: Final = self._given.keys()
        self._matching: Final = Names(self._given).matching
        self._merged: Final[dict[tuple[str, ...], Mapping[str, Any]]] = {}

    def of(self, name: str) -> Mapping[str, Any]:
        """The options of all that match the name. Those of the most specific win.

        They are the same object for all names that the same patterns match.
        """
        matching = (*self._matching(name),)
        if (merged := self._merged.get(matching)) is None:
            merged = {}
            for each in matching:
                merged |= self._given[each]
            self._merged[matching] = merged
        return merged
