"""The registry of workers: which of them live, and which buckets each of them serves."""

from collections import Counter
from datetime import timedelta
from typing import Any, Final, Self

from django_jsonbuffer.conf import Configuration

from . import calls
from .keys import Identity, registry_key
from .nodes import Call, replies
from .patterns import Names
from .scripts import MILLISECOND, REGISTER

ALIVE: Final = timedelta(seconds=30)
"""A worker that was not heard of for so long does not count as alive."""


def register(worker: str, serves: Names | None, configuration: Configuration) -> dict[str, Names]:
    """Write down that a worker lives, and what it serves. None if it ends.

    Returns what each living worker serves. Raises :class:`BufferUnavailable`.
    """
    key = registry_key(configuration.prefix)
    identity = Identity(configuration.cache, configuration.prefix, "")
    args = (worker, " ".join(serves.all) if serves else "", ALIVE // MILLISECOND)
    reply = calls.run(identity, REGISTER, [key], args)
    texts = [text.decode(errors="replace") for text in reply]
    return {worker: Names(its.split()) for worker, its in zip(texts[::2], texts[1::2], strict=True)}


class Workers:
    """The registered workers that live, as two commands find them: see `calls`."""

    def __init__(self, entries: Any, time: Any) -> None:
        """`entries` and `time` are the replies. An error or a foreign value means that there is no
        worker: a user with older permissions may not read the registry."""
        self._serving: list[tuple[Names, int]] = []
        if not (isinstance(entries, dict) and isinstance(time, tuple | list)):
            return
        now_ms = int(time[0]) * 1000 + int(time[1]) // 1000
        oldest_ms = now_ms - ALIVE // MILLISECOND
        living = Counter[bytes]()
        for text in entries.values():
            ms, _, serves = text.partition(b" ")
            if ms.isdigit() and int(ms) > oldest_ms:
                living[serves] += 1
        # Most workers serve the same.
        for serves, number in living.items():
            self._serving.append((Names(serves.decode(errors="replace").split()), number))

    def count(self, name: str) -> int:
        """How many workers serve a bucket."""
        return sum(number for serves, number in self._serving if name in serves)

    @staticmethod
    def calls(configuration: Configuration) -> list[Call]:
        key = registry_key(configuration.prefix)
        return [Call(key, ("HGETALL", key)), Call(key, ("TIME",))]

    @classmethod
    def read(cls, configuration: Configuration) -> Self:
        return cls(*replies(configuration.cache, cls.calls(configuration)))
