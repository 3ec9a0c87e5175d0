"""What a Redis user needs to be allowed, read off the scripts, so that it is never stale."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from . import store
from .keys import bucket_keys, register_key
from .store import Script

_CALL: Final = re.compile(r"redis\.p?call\(\s*'(\w+)'(?:\s*,\s*'([A-Z]+)')?")

_WITH_SUBCOMMANDS: Final = {"XGROUP", "XINFO"}


@dataclass(frozen=True)
class Role:
    """A kind of process, with what it asks of Redis."""

    scripts: tuple[Script, ...]
    commands: tuple[str, ...]
    """Beside those that run scripts."""

    def permissions(self) -> list[str]:
        """The rules of ACL SETUSER that allow its commands, and no others."""
        used = {"EVAL", "EVALSHA", "SELECT", *self.commands}
        for script in self.scripts:
            used |= _commands_of(script)
        return ["-@all", *(f"+{command.lower()}" for command in sorted(used))]


def _commands_of(script: Script) -> set[str]:
    return {
        f"{command}|{word}" if command in _WITH_SUBCOMMANDS else command
        for command, word in _CALL.findall(script.source)
    }


_PRODUCER: Final = Role((store.APPEND, store.LOSE), ("SADD",))
_DRAINER: Final = Role(
    (
        store.APPEND,
        store.SEAL,
        store.CLAIM,
        store.RENEW,
        store.ACK,
        store.RELEASE,
        store.SPLIT,
        store.BURY,
        store.BEAT,
        store.RETIRE,
        store.STATUS,
    ),
    ("SADD", "SCRIPT|LOAD"),
)
_OPERATOR: Final = Role(
    tuple(value for value in vars(store).values() if isinstance(value, Script)),
    ("SADD", "SCRIPT|LOAD", "SMEMBERS", "LRANGE", "INFO", "CONFIG|GET"),
)
ROLES: Final = {"producer": _PRODUCER, "drainer": _DRAINER, "operator": _OPERATOR}


def key_patterns(prefix: str, names: Iterable[str]) -> list[str]:
    """The rules that allow the keys of these buckets, or of all when none is named."""
    if not (names := [*names]):
        return [f"~{prefix}:*"]
    # Not `key*`: its braces end a name, and what follows are the other keys of that bucket.
    keys = [bucket_keys(prefix, name).open for name in names]
    patterns = [register_key(prefix), *keys, *(f"{key}:*" for key in keys)]
    return [f"~{pattern}" for pattern in patterns]
