"""Events of bulk operations, which send no signals."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from django.db.models import Model

from django_jsonbuffer.django_internals.models import have_one_table
from django_jsonbuffer.exceptions import BufferMisconfigured, InvalidEvent

from . import declaring, registry
from .destination import Destination
from .events import ACTIONS, Recording
from .values import Values


def bulk_events(
    destination: Destination, objects: Iterable[Model], action: str, *, using: str | None
) -> Iterator[Values]:
    """An event for each object, as the bucket records its model.

    A model that the bucket does not record is recorded with the default options. Raises
    :class:`InvalidEvent` at once if an object is not an instance of a model, and
    :class:`BufferMisconfigured` for an unknown action.
    """
    if action not in ACTIONS:
        raise BufferMisconfigured(
            f"record_bulk() takes an action out of {', '.join(ACTIONS)}, not {action!r}."
        )
    if not isinstance(objects, Iterable):
        raise InvalidEvent(f"record_bulk() takes several instances, not one {_kind_of(objects)}.")
    instances = [*objects]
    for instance in instances:
        if not isinstance(instance, Model):
            raise InvalidEvent(
                f"record_bulk() takes model instances, not one {_kind_of(instance)}."
            )
    return _events(destination, instances, action, using)


def _events(
    destination: Destination, instances: Sequence[Model], action: str, using: str | None
) -> Iterator[Values]:
    chosen: dict[type[Model], Recording] = {}

    def recording_and_alias(instance: Model) -> tuple[Recording, str]:
        model = type(instance)
        if model not in chosen:
            chosen[model] = _recording_for(destination, model, action)
        return chosen[model], chosen[model].database_of(instance, using)

    for (recording, alias), group in groupby(instances, key=recording_and_alias):
        yield from recording.events_of_many(action, group, using=alias)


def _kind_of(value: object) -> str:
    """The name of the value's class. The value itself may be private."""
    return type(value).__qualname__


def _recording_for(destination: Destination, model: type[Model], action: str) -> Recording:
    """The bucket's recording that fits best: with this action if possible, of the nearest class."""
    own = [r for r in registry.recordings if r.destination.name == destination.name]
    fitting = [r for r in own if issubclass(model, r.model)]
    if fitting:
        return min(fitting, key=lambda r: (*_fit(r, action), model.__mro__.index(r.model)))
    # The recording of a proxy may mask values of the same table.
    of_proxies = [r for r in own if have_one_table(r.model, model)]
    if of_proxies:
        return min(of_proxies, key=lambda r: _fit(r, action))
    return declaring.checked_recording(destination, model)


def _fit(recording: Recording, action: str) -> tuple[bool, bool]:
    """Smaller is better: with the action, then with any action, and last for links alone."""
    return action not in recording.on, not recording.on
