"""The keys of a database, their values, and when they expire."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from .errors import WRONG_TYPE, ErrorReply
from .streams import Stream

T = TypeVar("T")

_KINDS: Final = {bytes: "string", dict: "hash", list: "list", set: "set", Stream: "stream"}


class Keyspace:
    """The values by key: bytes, a dict, a list, a set or a :class:`Stream`."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        """The time, in microseconds since 1970."""
        self._values: dict[bytes, Any] = {}
        self.expiries: dict[bytes, int] = {}
        """When a key expires, in milliseconds since 1970."""

    def now_ms(self) -> int:
        return self.clock() // 1000

    def get(self, key: bytes, kind: type[T]) -> T | None:
        """The value; None if the key is missing. Raises :class:`ErrorReply` for another type."""
        value = self.any(key)
        if value is not None and type(value) is not kind:
            raise ErrorReply(WRONG_TYPE)
        return value

    def at(self, key: bytes, kind: type[Any]) -> Any:
        """The value, which becomes an empty one if the key is missing."""
        value = self.get(key, kind)
        if value is None:
            value = self._values[key] = kind()
        return value

    def any(self, key: bytes) -> Any:
        """The value of any type. A key that has expired is removed at this moment, not before."""
        if self._has_expired(key):
            self.remove(key)
        return self._values.get(key)

    def _has_expired(self, key: bytes) -> bool:
        expiry = self.expiries.get(key)
        return expiry is not None and expiry < self.now_ms()

    def set(self, key: bytes, value: Any) -> None:
        self._values[key] = value

    def remove(self, key: bytes) -> bool:
        self.expiries.pop(key, None)
        return self._values.pop(key, None) is not None

    def drop_if_empty(self, key: bytes) -> None:
        """Redis keeps no empty collection, except a stream."""
        if not self._values.get(key, True):
            self.remove(key)

    def kind(self, key: bytes) -> str:
        return _KINDS.get(type(self.any(key)), "none")

    def keys(self) -> list[bytes]:
        return [key for key in self._values if not self._has_expired(key)]

    def __len__(self) -> int:
        """The number of keys, with those that have expired and are not removed."""
        return len(self._values)

    def clear(self) -> None:
        self._values.clear()
        self.expiries.clear()
