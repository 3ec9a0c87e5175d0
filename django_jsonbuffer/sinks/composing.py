"""Sinks that hand events on to other processors: Latest, Tee and ByType."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from django.core.checks import CheckMessage

from django_jsonbuffer.draining.batches import Batch
from django_jsonbuffer.exceptions import BufferMisconfigured

from .event_keys import Key, Version, key_function, version_function
from .faults import checks_of_inner, databases_of_inner, fault, faults_of_inner, refuse_faulty
from .isolation import results_or_reject
from .parts import Processor, accepted, hand_on
from .sink import Sink


class Latest(Sink):
    """Passes on only the newest event of each key, for a processor that needs the state.

    ``Latest(index, key="subject")`` passes the last event of each subject in append order. The
    passed events keep their order. The other events of a key count as processed when the newest one
    is. If the processor rejects the newest one, only this one becomes a dead letter. If events of
    the batch are left out, the processor gets another id, which depends on what is left out.

    `key` names a value of the event, or is a list of such names. In a CloudEvent, a name is looked
    up in ``data`` first, then in the envelope. Or `key` is a function of the event, whose results
    are compared as keys of a dict. An event without the key is rejected. The processor may be a
    coroutine function or another sink.

    `version` tells which event of a key is the newest: the name of a value, or a function of the
    event. The event with the greatest version is passed, and of equal ones the last. An event
    without a version is rejected, also if it is None or NaN. Without `version`, the last event in
    append order is the newest. After a replay, this may be an old one.
    """

    def __init__(self, processor: Processor, *, key: Key, version: Version | None = None) -> None:
        self._processor = processor
        self._key = key
        self._version = version

    def __call__(self, batch: Batch) -> None:
        refuse_faulty(self._faults())
        keys = results_or_reject(batch, key_function(self._key))
        places = [*keys]
        if self._version is not None:
            version_of = version_function(self._version)
            versions = results_or_reject(batch, version_of, places=places)
            places = _by_version(versions)
        newest = {keys[place]: place for place in places}
        chosen = sorted(newest.values())
        hand_on(batch, chosen, self._processor, id=_id_of_part(batch, chosen))

    def check(self) -> Iterator[CheckMessage]:
        yield from self._faults()
        yield from checks_of_inner([self._processor])

    def databases(self) -> Iterator[str]:
        yield from databases_of_inner([self._processor])

    def _faults(self) -> Iterator[CheckMessage]:
        yield from faults_of_inner("Latest", [self._processor])
        if not callable(self._key) and not _are_names(self._key):
            yield fault(
                f"Latest has the key {self._key!r:.200}.",
                hint="Write key='subject', key=['tenant', 'sku'], or a function of the event.",
            )
        version = self._version
        if version is not None and not callable(version) and not _is_name(version):
            yield fault(
                f"Latest has the version {version!r:.200}.",
                hint="Write version='time', or a function of the event.",
            )


class Tee(Sink):
    """Passes each batch to several processors, one after the other.

    An event that one processor rejects is not passed to the following ones. So processors that may
    reject events come first. If a processor fails, the following ones are not called, and the batch
    comes again to all. So each processor must accept a repeated batch. Use several buckets for
    destinations that are to fail independently of each other.

    Each processor gets the id of the batch. A processor that gets less than the whole batch gets
    another id, which depends on what is left out.
    """

    def __init__(self, *processors: Processor) -> None:
        self._processors = processors

    def __call__(self, batch: Batch) -> None:
        refuse_faulty(self._faults())
        for processor in self._processors:
            places = accepted(batch)
            hand_on(batch, places, processor, id=_id_of_part(batch, places))

    def check(self) -> Iterator[CheckMessage]:
        yield from self._faults()
        yield from checks_of_inner(self._processors)

    def databases(self) -> Iterator[str]:
        yield from databases_of_inner(self._processors)

    def _faults(self) -> Iterator[CheckMessage]:
        yield from faults_of_inner("Tee", self._processors)
        if not self._processors:
            yield fault("Tee has no processor.", hint="Write Tee(first, second).")


class ByType(Sink):
    """Routes events to processors by their ``type``.

    ``ByType({"shop.order.*": index, "shop.*": log})``: the first pattern that matches wins. A
    pattern is compared as :func:`fnmatch.fnmatchcase` does. `default` gets the events that match no
    pattern. Without it, these events are rejected.

    Each processor is called once for each batch that has events for it, in the order of the
    patterns. It gets them under an id of their own: the id of the batch and the number of the
    pattern. If a processor fails, the following ones are not called, and the batch comes again to
    all.
    """

    def __init__(
        self, routes: Mapping[str, Processor], *, default: Processor | None = None
    ) -> None:
        self._routes = routes
        self._default = default

    def __call__(self, batch: Batch) -> None:
        refuse_faulty(self._faults())
        processors = self._processors()
        routes = results_or_reject(batch, self._route_of)
        is_any_processed = False
        for route, processor in enumerate(processors):
            places = [place for place, own in routes.items() if own == route]
            is_any_processed |= hand_on(
                batch,
                places,
                processor,
                id=f"{batch.id}_{route}",
                others_processed=is_any_processed,
            )

    def check(self) -> Iterator[CheckMessage]:
        yield from self._faults()
        yield from checks_of_inner(self._processors())

    def databases(self) -> Iterator[str]:
        yield from databases_of_inner(self._processors())

    def _route_of(self, event: Any) -> int:
        """The number of the event's processor. Raises ``LookupError`` if there is none."""
        type_ = event.get("type") if isinstance(event, Mapping) else None
        if isinstance(type_, str):
            for number, pattern in enumerate(self._routes):
                if fnmatchcase(type_, pattern):
                    return number
        if self._default is not None:
            return len(self._routes)
        if not isinstance(type_, str):
            raise LookupError("The event has no type, and ByType has no default.")
        raise LookupError(f"ByType has no route for the type {type_!r:.200}, and no default.")

    def _processors(self) -> list[Processor]:
        routes = self._routes.values() if isinstance(self._routes, Mapping) else ()
        return [*routes, *([] if self._default is None else [self._default])]

    def _faults(self) -> Iterator[CheckMessage]:
        routes = self._routes
        if not isinstance(routes, Mapping) or not all(isinstance(key, str) for key in routes):
            yield fault(
                f"ByType has routes that are not a dict of processors by type: {routes!r:.200}.",
                hint="Write ByType({'shop.order.*': processor}).",
            )
            return
        if not self._processors():
            yield fault("ByType has no route.", hint="Write ByType({'shop.order.*': processor}).")
        yield from faults_of_inner("ByType", self._processors())


def _are_names(key: object) -> bool:
    """Whether a key is a name or a list of names."""
    names = [key] if isinstance(key, str) else key
    return isinstance(names, list | tuple) and bool(names) and all(map(_is_name, names))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _by_version(versions: Mapping[int, Any]) -> list[int]:
    """These places, those of the lowest versions first, and those of equal ones in order."""
    try:
        return sorted(versions, key=versions.__getitem__)
    except TypeError as error:
        raise BufferMisconfigured(
            f"Latest cannot compare the versions of the events: {error}. Give it a version that "
            "has the same type in all events."
        ) from error


def _id_of_part(batch: Batch, places: Sequence[int]) -> str:
    """The id of the batch, or one that says which of its events are left.

    A receiver that knows the id takes the part for a repeat, and ignores it. So two parts must have
    the same id only if they have the same events.
    """
    if len(places) == len(batch):
        return batch.id
    digest = hashlib.sha256(repr(places).encode()).hexdigest()
    return f"{batch.id}_{digest[:12]}"
