"""Events of bulk operations, which send no signals."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from django.db.models import Model

from django_jsonbuffer.exceptions import BufferMisconfigured, InvalidEvent

from . import declaring
from .destination import Destination
from .events import ACTIONS, Recording
from .values import Values


def bulk_events(
    destination: Destination, objects: Iterable[Model], action: str, *, using: str | None
) -> Iterator[Values]:
    """An event for each object, as the bucket records its model.

    A model that the bucket does not record is recorded with the default options.
    """
    if action not in ACTIONS:
        raise BufferMisconfigured(f"An action is one of {', '.join(ACTIONS)}, not {action!r}.")
    chosen: dict[type[Model], Recording] = {}

    def recording_and_alias(instance: Model) -> tuple[Recording, str | None]:
        if not isinstance(instance, Model):
            raise InvalidEvent(f"record_bulk() takes model instances, not {instance!r:.60}.")
        model = type(instance)
        if model not in chosen:
            chosen[model] = _recording_for(destination, model, action)
        return chosen[model], using or instance._state.db

    for (recording, alias), instances in groupby(objects, key=recording_and_alias):
        yield from recording.events_of_many(action, instances, using=alias)


def _recording_for(destination: Destination, model: type[Model], action: str) -> Recording:
    """The bucket's recording that fits best: with this action if possible, of the nearest class."""
    fitting = [
        recording
        for recording in declaring.recordings
        if recording.destination.name == destination.name and issubclass(model, recording.model)
    ]
    if not fitting:
        return declaring.checked_recording(destination, model)
    return min(fitting, key=lambda r: (action not in r.on, model.__mro__.index(r.model)))
