"""In tests, the buckets use a Redis in memory, so that no test touches the events of the site.

An isolation replaces values of the setting: the alias of the cache, or the prefix of the keys. So
everything that belongs to an alias and a prefix is separate as well, such as connections.
"""

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .django_internals.test_environment import is_test_environment, is_test_run

if TYPE_CHECKING:
    from .memory_redis.server import MemoryRedis

logger = logging.getLogger("django_jsonbuffer")

MODES: Final = ("memory", "redis", "site")
"""What ``JSONBUFFER["TESTS"]`` may be: a Redis in memory, other keys in the Redis of the site, or
no isolation."""

_PREFIX_LENGTH: Final = 80


class Isolation:
    """Where the buckets have their events in tests. It begins without events."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.places: set[tuple[str, str]] = set()
        """The aliases and prefixes under which events may be."""
        self._token = secrets.token_hex(6)
        self._server = _new_server() if mode == "memory" else None
        self._applied: tuple[object, Mapping[str, Any]] | None = None

    def applied_to(self, setting: Mapping[str, Any]) -> Mapping[str, Any]:
        """The setting with the values of the isolation: the same object for the same setting."""
        if self._applied is None or self._applied[0] is not setting:
            self._applied = setting, self._changed(setting)
        return self._applied[1]

    def _changed(self, setting: Mapping[str, Any]) -> Mapping[str, Any]:
        cache, prefix = setting.get("CACHE", "jsonbuffer"), setting.get("PREFIX", "jsonbuffer")
        if self._server is not None:
            cache = f"{cache} (in memory, {self._token})"
            _servers[cache] = self._server
        else:
            prefix = f"{str(prefix)[:_PREFIX_LENGTH]}:test-{self._token}"
        self.places.add((cache, prefix))
        return {**setting, "CACHE": cache, "PREFIX": prefix}

    @cached_property
    def spill_dir(self) -> Path:
        """A folder for spilled events in place of that of the site."""
        return Path(tempfile.mkdtemp(prefix="jsonbuffer-test-")).resolve()

    @property
    def has_spilled(self) -> bool:
        """Whether the folder for spilled events was used."""
        return "spill_dir" in vars(self)

    def apply_again(self) -> None:
        """Make the setting another object, so that each bucket makes its store again."""
        self._applied = None

    def end(self) -> None:
        """Remove the events, and forget everything that belongs to them."""
        for forget in _at_end:
            forget(self)
        for cache, _ in self.places:
            _servers.pop(cache, None)
        if self.has_spilled:
            shutil.rmtree(self.spill_dir, ignore_errors=True)


def _new_server() -> "MemoryRedis":
    # No process that serves a site needs it.
    from .memory_redis.server import MemoryRedis

    return MemoryRedis()


current: Isolation | None = None
"""The isolation that a test has chosen. None: that of the process, if tests run."""

_of_process: dict[str, Isolation] = {}
"""The isolations of tests that have not chosen one, by their mode."""

_servers: "dict[str, MemoryRedis]" = {}
"""The servers in memory, by the alias of the cache."""

_at_end: list[Callable[[Isolation], None]] = []


def active(setting: object) -> Isolation | None:
    """The isolation in effect. `setting` is the value of ``JSONBUFFER``."""
    if (current is None and not is_test_environment()) or not isinstance(setting, Mapping):
        return None
    if current is not None:
        return current
    mode = setting.get("TESTS", MODES[0])
    if mode not in ("memory", "redis"):
        return None
    return _of_process.get(mode) or _begin(mode)


def _begin(mode: str) -> Isolation:
    """The isolation of the process. If several threads come at once, all get that of the first."""
    begun = _of_process.setdefault(mode, Isolation(mode))
    _call_at_exit(_end_of_process)
    if not is_test_run():
        logger.warning(
            "The buckets of this process are isolated from those of the site, because "
            "setup_test_environment() was called. Its events are in memory, and end with it."
        )
    return begun


@contextmanager
def isolated(mode: str) -> Iterator[Isolation]:
    """Let the buckets of all threads begin without events, and have others within the block."""
    global current
    before, current = current, Isolation(mode)
    try:
        yield current
    finally:
        ended, current = current, before
        ended.end()


def server_of(cache: str) -> "MemoryRedis | None":
    """The server in memory of this alias; None for an alias of the site."""
    return _servers.get(cache)


def apply_again() -> None:
    """See :meth:`Isolation.apply_again`, for each isolation."""
    for each in (*_of_process.values(), *([current] if current else ())):
        each.apply_again()


def at_end(forget: Callable[[Isolation], None]) -> Callable[[Isolation], None]:
    """A decorator for a function to call at the end of each isolation."""
    _at_end.append(forget)
    return forget


def _call_at_exit(function: Callable[[], None]) -> None:
    # Not by atexit: a child process of multiprocessing does not call its functions, and Django's
    # parallel runner has these. No process that serves a site needs the module.
    from multiprocessing.util import Finalize

    Finalize(None, function, exitpriority=0)


def _end_of_process() -> None:
    while _of_process:
        _of_process.popitem()[1].end()


if hasattr(os, "register_at_fork"):
    # The keys in Redis are those of the parent. The child begins with others.
    os.register_at_fork(after_in_child=lambda: _of_process.pop("redis", None))
