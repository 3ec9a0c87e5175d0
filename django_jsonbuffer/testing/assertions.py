"""Assertions about the events that a test has appended."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher, ndiff
from typing import Any, Final

from django.utils.text import get_text_list

from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.exceptions import JSONBufferError

from .events import appended_events, current_encoder, name_of
from .journal import journal


class _Anything:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


_ANYTHING: Final = _Anything()
_MOST_SHOWN: Final = 5
_MOST_COMPARED: Final = 200


def assert_appended(
    bucket: Bucket | str, event: Any = _ANYTHING, *, count: int | None = None, **values: Any
) -> None:
    """Fail if this test has not appended the event to the bucket.

    `event` is compared as JSON: a ``Decimal`` or a date is equal to its text. It may contain
    ``unittest.mock.ANY``. `values` are keys that the event must have with these values, whatever
    else it has: ``assert_appended("orders", type="shop.order.created")``. `count` is how often the
    event was appended; without it, at least once.
    """
    events, name = appended_events(bucket), name_of(bucket)
    wanted, values = _as_json(event), _as_json(values)
    found = sum(_equals(each, wanted) and _has(each, values) for each in events)
    if found == count or (count is None and found):
        return
    sought = wanted if event is not _ANYTHING else values
    lines = [_summary(name, found, count, len(events)), *_others(name)]
    if (event is not _ANYTHING or values) and not found and events:
        lines += _difference(sought, events, is_part=event is _ANYTHING)
    elif events:
        lines += _listed(events)
    raise AssertionError("\n".join(lines))


def assert_nothing_appended(bucket: Bucket | str | None = None) -> None:
    """Fail if this test has appended an event to the bucket, or to any bucket without `bucket`."""
    if events := appended_events(bucket):
        where = "any bucket" if bucket is None else f"bucket {name_of(bucket)!r}"
        were = "1 was" if len(events) == 1 else f"{len(events)} were"
        lines = [f"No event should have been appended to {where}, but {were}:"]
        raise AssertionError("\n".join([*lines, *_listed(events)]))


def _as_json(value: Any) -> Any:
    """The value as it comes back from a bucket. What is not JSON stays, such as ``ANY``."""
    if isinstance(value, Mapping):
        return {_key(key): _as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(each) for each in value]
    if isinstance(value, str | int | float | None):
        return value
    encoder = current_encoder()
    try:
        return encoder.decode(b"[%b]" % encoder.encode(value))[0]
    except (JSONBufferError, TypeError, ValueError):
        return value


def _key(key: Any) -> Any:
    """A key as JSON has it: ``None`` is ``"null"``."""
    if isinstance(key, str):
        return key
    ((name, _),) = current_encoder().decode(b"[%b]" % current_encoder().encode({key: 0}))[0].items()
    return name


def _has(event: Any, values: Mapping[str, Any]) -> bool:
    return not values or (
        isinstance(event, dict)
        and all(key in event and _equals(event[key], value) for key, value in values.items())
    )


def _equals(event: Any, wanted: Any) -> bool:
    """Whether two JSON values are equal. To Python, True equals 1."""
    if isinstance(event, dict) and isinstance(wanted, dict):
        return event.keys() == wanted.keys() and _has(event, wanted)
    if isinstance(event, list) and isinstance(wanted, list):
        return len(event) == len(wanted) and all(map(_equals, event, wanted))
    if isinstance(wanted, int | float) and isinstance(event, bool) is not isinstance(wanted, bool):
        return False
    return bool(event == wanted)


def _summary(name: str, found: int, count: int | None, total: int) -> str:
    if not total:
        return f"Bucket {name!r} has no event: nothing was appended to it."
    appended = "1 event that was appended" if total == 1 else f"{total} events that were appended"
    if not found:
        return f"Bucket {name!r} has no such event among the {appended}."
    times = "once" if found == 1 else f"{found} times"
    return f"Bucket {name!r} has the event {times}, not {count} times, among the {appended}."


def _others(name: str) -> Iterable[str]:
    """The other buckets with events, in case that the name is wrong."""
    counts = Counter(stored.bucket for stored in journal().stored)
    if name not in counts and counts:
        others = get_text_list([f"{each!r} has {counts[each]}" for each in sorted(counts)], "and")
        yield f"Of the other buckets, {others}."


def _difference(sought: Any, events: list[Any], *, is_part: bool) -> list[str]:
    """The most similar event, compared line by line."""
    wanted = _pretty(sought)
    compared_to = events[-_MOST_COMPARED:]
    texts = [_pretty(_part(event, sought) if is_part else event) for event in compared_to]
    closest = max(texts, key=lambda text: SequenceMatcher(None, wanted, text).ratio())
    lines = ndiff(wanted.splitlines(), closest.splitlines())
    compared = [line for line in lines if not line.startswith("?")]
    return ["The most similar one (- expected, + appended):", *compared]


def _part(event: Any, sought: Mapping[str, Any]) -> Any:
    """The keys of the event that are sought."""
    if not isinstance(event, dict):
        return event
    return {key: event[key] for key in sought if key in event}


def _listed(events: list[Any]) -> Iterable[str]:
    lines = [f"  {json.dumps(event, default=repr)}" for event in events[:_MOST_SHOWN]]
    rest = len(events) - _MOST_SHOWN
    return [*lines, f"  … and {rest} more"] if rest > 0 else lines


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, default=repr)
