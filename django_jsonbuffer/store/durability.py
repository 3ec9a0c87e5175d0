"""Durability: whether a replica, or the disk of Redis, has an append."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from redis.exceptions import ResponseError

from django_jsonbuffer.exceptions import BufferMisconfigured, BufferUnavailable

from .appends import was_stored
from .errors import not_redis, translated
from .redis_pairs import Replies, Wait
from .wire import Packed, packed

COMMANDS: Final[Mapping[str, str]] = {"replicated": "WAIT", "fsynced": "WAITAOF"}
"""The command that waits, for each value of the option `durability`."""

_SHORTEST_WAIT_SECONDS: Final = {"replicated": 0.1, "fsynced": 1.1}
"""With ``appendfsync everysec``, Redis writes to the disk once a second."""

_REPLY_SECONDS: Final = 0.5
"""What is left of the socket timeout for the reply, because Redis ends a wait up to 0.1 s late."""

_NO_AOF: Final = ("unknown command", "appendonly is disabled")
"""What Redis replies to WAITAOF: before 7.2, and without an append-only file."""

_ROLE_CHANGED: Final = ("UNBLOCKED", "cannot be used with replica instances")
"""What Redis replies to a command that waits, if the primary becomes a replica."""


def wait_of(durability: str, patience: timedelta) -> Wait:
    """The command that is sent behind an append. It waits for `patience`, or shortly.

    The reply must come within the socket timeout. Otherwise a slow replica would look like a Redis
    that hangs.
    """

    def command(timeout_seconds: float | None) -> Packed:
        seconds = max(patience.total_seconds(), _SHORTEST_WAIT_SECONDS[durability])
        if timeout_seconds is not None:
            seconds = min(seconds, max(timeout_seconds / 2, timeout_seconds - _REPLY_SECONDS))
        wait_ms = max(int(seconds * 1000), 1)  # 0 would wait for ever
        if durability == "replicated":
            return packed("WAIT", 1, wait_ms)
        return packed("WAITAOF", 1, 0, wait_ms)

    return command


def confirmed(replies: Replies, durability: str, name: str) -> Any:
    """The reply of an append, if it is confirmed, or if the append stored nothing.

    Raises :class:`BufferUnavailable`, which says that the append may be done, and
    :class:`BufferMisconfigured` if this Redis can never confirm it.
    """
    reply, confirmation = replies
    if not was_stored(reply):
        return reply
    if isinstance(confirmation, Exception):
        raise _refused(confirmation, durability, name)
    count = confirmation[0] if type(confirmation) is list and confirmation else confirmation
    if type(count) is not int:
        raise not_redis(name)
    if count < 1:
        raise _unconfirmed(durability, name)
    return reply


def _unconfirmed(durability: str, name: str) -> BufferUnavailable:
    who = "No replica" if durability == "replicated" else "The append-only file of Redis"
    has = "has" if durability == "replicated" else "has not"
    text = f"{who} {has} confirmed the append to bucket {name!r} in time."
    unavailable = BufferUnavailable(text)
    unavailable.may_be_done = True
    return unavailable


def _refused(error: Exception, durability: str, name: str) -> Exception:
    if durability == "fsynced" and any(text in str(error) for text in _NO_AOF):
        return BufferMisconfigured(
            f"Bucket {name!r} has durability='fsynced', but its Redis cannot confirm that: it has "
            "appendonly no, or is older than Redis 7.2. The events of this append are stored, and "
            "may be lost in a crash. Set appendonly to yes, or leave the option out."
        )
    if isinstance(error, ResponseError) and any(text in str(error) for text in _ROLE_CHANGED):
        return _unconfirmed(durability, name)
    ours = translated(error, name)
    if isinstance(ours, BufferUnavailable):
        ours.may_be_done = True
    return ours
