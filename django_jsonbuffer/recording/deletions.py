"""The receivers of deletions."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Model, QuerySet

from django_jsonbuffer.django_internals.models import have_one_table, model_with_table

from . import stash
from .events import Recording
from .suppression import is_suppressed
from .values import Values


@dataclass(frozen=True)
class _Deletion:
    """One call of ``delete()``, which may delete many rows and send several signals for each."""

    recorded_as: dict[Any, type[Model]] = field(default_factory=dict)
    """The class of the first signal for each row, by primary key."""

    children: dict[Any, Model] = field(default_factory=dict)
    """Instances of child models of a recorded proxy, by primary key."""


@dataclass(frozen=True, eq=False, slots=True)
class Deletions:
    """The methods that Django calls. They keep the event of a deletion on its instance.

    Other code may send these signals by hand, and leave arguments out.
    """

    recording: Recording

    def before_delete(
        self,
        instance: Model | None = None,
        using: str | None = None,
        origin: Any = None,
        **kwargs: Any,
    ) -> None:
        """Make the event of the deletion, while the values can still be read."""
        recording = self.recording
        if not isinstance(instance, model_with_table(recording.model)):
            return
        origin = _known(origin)
        alias = recording.database_of(instance, using)
        deleted = self._recorded_instance(instance, self._deletion(origin))
        events = None
        if deleted is not None:
            events = recording.attempt(lambda: self._events(deleted, origin, alias), alias)
        stash.keep(instance, self, events)

    def after_delete(
        self,
        instance: Model | None = None,
        using: str | None = None,
        origin: Any = None,
        **kwargs: Any,
    ) -> None:
        """Append the event that was made before the deletion."""
        recording = self.recording
        if not isinstance(instance, model_with_table(recording.model)):
            return
        events = stash.take(instance, self)
        if events is not None:
            origin = _known(origin)
            deletion = self._deletion(origin)
            deletion.recorded_as.pop(recording.keys.key_of(instance), None)
            if not deletion.recorded_as and origin is not None:
                origin.__dict__.pop(self._attribute_of_origin, None)
            recording.append(events, using=recording.database_of(instance, using))

    def _recorded_instance(self, instance: Model, deletion: "_Deletion") -> Model | None:
        """The instance that the event is about. None if this signal makes no event."""
        model = self.recording.model
        pk = self.recording.keys.key_of(instance)
        if isinstance(instance, model) and not have_one_table(type(instance), model):
            # A child of a proxy. The signal for the row that the proxy shows follows.
            deletion.children[pk] = instance
            return None
        deleted = instance if isinstance(instance, model) else deletion.children.pop(pk, None)
        if deleted is None:
            return None
        # Django may send the signal twice for one row: for the model, and for its proxy. Only the
        # first signal makes an event.
        is_first = deletion.recorded_as.setdefault(pk, type(instance)) is type(instance)
        return deleted if is_first else None

    def _events(self, instance: Model, origin: Any, using: str) -> Iterator[Values]:
        recording = self.recording
        rows = recording.rows("deleted")
        is_origin = isinstance(origin, recording.model) and (
            rows.key_of(origin) == rows.key_of(instance)
        )
        if _is_of_suppressed(origin) or not recording.is_wanted(origin if is_origin else instance):
            return
        row = None
        if is_origin:
            # The instance may have values that were set and never saved.
            row = rows.before(instance, using=using)
        if row is None:
            # Django itself has just read the rows that are deleted with the origin.
            [row] = rows.of_many([instance], using=using, are_fresh=origin is not None)
        yield from recording.event_of_change("deleted", instance, row, using=using)

    def _deletion(self, origin: Any) -> _Deletion:
        """The state that is kept on `origin`, the instance or queryset that is deleted."""
        if origin is None:
            return _Deletion()
        found: _Deletion = origin.__dict__.setdefault(self._attribute_of_origin, _Deletion())
        return found

    @property
    def _attribute_of_origin(self) -> str:
        return f"_jsonbuffer_deleted_{id(self.recording)}"


def _known(origin: Any) -> Any:
    """The instance or queryset that is deleted. None if a signal sent by hand has another value."""
    return origin if isinstance(origin, Model | QuerySet) else None


def _is_of_suppressed(origin: Any) -> bool:
    """Whether a block keeps deletions of the origin's class from being recorded.

    The row of a parent is deleted in the name of the parent, and not of the child.
    """
    cls = origin.model if isinstance(origin, QuerySet) else type(origin)
    return origin is not None and is_suppressed(cls)
