"""Pauses and resumes many buckets at once."""

from collections.abc import Mapping, Sequence
from functools import partial

from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.exceptions import JSONBufferError

from . import nodes
from .errors import not_redis, translated
from .keys import Keys
from .scripts import PAUSE, RESUME, Script
from .shards import ONE_EACH, Reply, ask_all, asking


def set_paused(
    names: Sequence[str],
    configuration: Configuration,
    counts: Mapping[str, int] = ONE_EACH,
    *,
    is_paused: bool,
) -> list[bool | JSONBufferError]:
    """Whether each bucket was changed, or the error if one of its shards was not.

    `counts` are the numbers of shards that are known, by name. This takes one round trip for 500
    shards. Raises :class:`BufferUnavailable` if Redis is unreachable: then some may be changed.
    """
    script = PAUSE if is_paused else RESUME
    ask = asking(configuration, partial(_call, script), script=script)
    found, _ = ask_all(names, configuration, counts, ask)
    return [*map(_outcome, found)]


def _call(script: Script, keys: Keys) -> nodes.Call:
    return nodes.Call(keys.paused, ("EVALSHA", script.sha, 1, keys.paused))


def _outcome(shards: Sequence[Reply]) -> bool | JSONBufferError:
    is_changed = False
    for name, reply in shards:
        if isinstance(reply, Exception):
            return translated(reply, name)
        if type(reply) is not int:
            return not_redis(name)
        is_changed = is_changed or bool(reply)
    return is_changed
