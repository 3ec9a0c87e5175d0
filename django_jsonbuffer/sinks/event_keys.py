"""The key of an event: what two events about the same thing have in common. And its version."""

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from django_jsonbuffer.cloudevents import is_cloud_event

Key: TypeAlias = str | Sequence[str] | Callable[[Any], Hashable]
Version: TypeAlias = str | Callable[[Any], Any]


def key_function(key: Key) -> Callable[[Any], Hashable]:
    """A function that returns the key of an event.

    It raises ``LookupError`` if the event does not have one of the names, and ``TypeError`` if the
    result of the project's function is not hashable.
    """
    if callable(key):
        return partial(_hashable, key)
    return partial(_values, [key] if isinstance(key, str) else key)


def version_function(version: Version) -> Callable[[Any], Any]:
    """A function that returns the version of an event.

    It raises ``LookupError`` if the event has none. None and NaN do not count as versions, because
    they cannot be compared.
    """
    return partial(_version, version if callable(version) else partial(_value, version))


def _version(find: Callable[[Any], Any], event: Any) -> Any:
    value = find(event)
    if value is None or value != value:
        raise LookupError(f"The event has {value!r} as its version.")
    return value


def _hashable(key: Callable[[Any], Hashable], event: Any) -> Hashable:
    value = key(event)
    hash(value)
    return value


def _values(names: Sequence[str], event: Any) -> str:
    # As JSON, because values may be lists, and because 1 and True are equal to Python.
    return json.dumps([_value(name, event) for name in names], sort_keys=True)


def _value(name: str, event: Any) -> Any:
    places = [event.get("data"), event] if is_cloud_event(event) else [event]
    for place in places:
        if isinstance(place, Mapping) and name in place:
            return place[name]
    raise LookupError(f"The event has no {name!r}, which is its key or version.")
