"""The registry of workers: which of them live, and which buckets each of them serves."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.exceptions import JSONBufferError

from . import calls
from .keys import Identity, registry_key
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


def workers_of(configuration: Configuration) -> Callable[[str], int]:
    """A function that tells how many registered workers serve a bucket.

    It tells 0 if the registry cannot be read, for example because an older permission of the user
    does not include its key.
    """
    try:
        living = register("", None, configuration).values()
    except JSONBufferError:
        return lambda name: 0
    return lambda name: sum(name in serves for serves in living)
