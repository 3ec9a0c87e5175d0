"""The permissions that a Redis user needs. They are read from the scripts, so they always fit."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from .store import scripts
from .store.durability import COMMANDS
from .store.keys import catalog_key, registry_key, shard_patterns, shards_key, wake_channel
from .store.script_files import commands_of
from .store.scripts import Script


@dataclass(frozen=True)
class Role:
    """A kind of process, with the scripts and commands that it sends to Redis."""

    scripts: tuple[Script, ...]
    commands: tuple[str, ...]
    """Commands that the process sends outside of scripts."""

    def permissions(self, durabilities: Iterable[str] = ()) -> list[str]:
        """The rules of ACL SETUSER that allow the commands of this role, and deny all others.

        `durabilities` are those of the buckets. Only they need the commands that wait, and older
        servers do not know these.
        """
        commands = sorted(self.all_commands(durabilities))
        return ["-@all", *(f"+{command.lower()}" for command in commands)]

    def all_commands(self, durabilities: Iterable[str] = ()) -> set[str]:
        """The commands of this role in upper case, a subcommand behind a bar."""
        used = {"EVAL", "EVALSHA", "SELECT", *self.commands}
        used |= {COMMANDS[durability] for durability in durabilities}
        for script in self.scripts:
            used |= {*commands_of(script.source)}
        return used


_PRODUCER: Final = Role((scripts.APPEND, scripts.LOSE), ("SADD",))
_DRAINER: Final = Role(
    (
        scripts.APPEND,
        scripts.SEAL,
        scripts.CLAIM,
        scripts.RENEW,
        scripts.ACK,
        scripts.RELEASE,
        scripts.SPLIT,
        scripts.BURY,
        scripts.EXPIRE,
        scripts.BEAT,
        scripts.RETIRE,
        scripts.REGISTER,
        scripts.WAITING,
        scripts.STATUS,
        scripts.NOTE_COUNT,
    ),
    ("SADD", "SMEMBERS", "SCRIPT|LOAD", "GETRANGE", "PING", "SUBSCRIBE"),
)
_OPERATOR: Final = Role(
    tuple(value for value in vars(scripts).values() if isinstance(value, Script)),
    (*_DRAINER.commands, "LRANGE", "INFO", "CONFIG|GET"),
)
ROLES: Final = {"producer": _PRODUCER, "drainer": _DRAINER, "operator": _OPERATOR}

OF_CLUSTER: Final = ("+asking", "+cluster|slots", "+command")
"""The rules for what a cluster client of redis-py sends to find the node of a key."""

DISPENSABLE: Final = frozenset({"CONFIG|GET", "EXISTS", "PING", "SELECT", "PUBLISH", "SUBSCRIBE"})
"""Commands without which each role works. Hosted servers have no CONFIG, and a client of database 0
sends no SELECT. Without the messages of scripts, workers look for batches themselves. PING only
finds out sooner whether a silent server is there. Without EXISTS, the status of each bucket is read
by itself."""


def channel_rules(prefix: str) -> list[str]:
    """The rules that allow the channel of the wake-ups, and no other."""
    return ["resetchannels", f"&{wake_channel(prefix)}"]


def key_patterns(prefix: str, names: Iterable[str]) -> list[str]:
    """The rules that allow the keys of these buckets, or of all buckets if none is named."""
    if not (names := [*names]):
        return [f"~{prefix}:*"]
    shared = [catalog_key(prefix), shards_key(prefix), registry_key(prefix)]
    own = [pattern for name in names for pattern in shard_patterns(prefix, name)]
    return [f"~{pattern}" for pattern in (*shared, *own)]
