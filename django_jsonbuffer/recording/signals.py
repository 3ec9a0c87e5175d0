"""The receivers of a recording.

They are connected only to the recorded classes, so that changes of other models cost nothing.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

import django
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save

from django_jsonbuffer.django_internals.models import have_one_table

from . import stash
from .events import Recording
from .links import Links, through
from .stored_rows import read_row

_M2M_SIGNAL_HAS_RAW: Final = django.VERSION >= (6, 1)
"""Whether m2m_changed says that ``loaddata`` made the link."""

_FROM_FIXTURE: Final = "_jsonbuffer_loaded"
"""Attribute that marks an instance as saved by ``loaddata``, for the signals of its links."""


def connect(recording: Recording) -> None:
    """Connect the receivers to the signals that the recording needs, and to no more."""
    receivers = _Receivers(recording)
    classes = list(_with_subclasses(recording.model))
    # When a child's row is deleted, Django sends the signal for each of its parents as well, so
    # child models need no receiver.
    siblings = [c for c in classes if have_one_table(c, recording.model)]
    saved = classes if recording.on & {"created", "updated"} else []
    deleted = siblings if "deleted" in recording.on else []
    linked = [through(field) for field in recording.m2m]
    must_see_fixtures = recording.m2m and not recording.raw and not _M2M_SIGNAL_HAS_RAW
    to_be_saved = classes if recording.compares or must_see_fixtures else []
    for signal, receiver, senders in (
        (pre_save, receivers.before_save, to_be_saved),
        (post_save, receivers.after_save, saved),
        (pre_delete, receivers.before_delete, deleted),
        (post_delete, receivers.after_delete, deleted),
        (m2m_changed, receivers.on_m2m_change, linked),
    ):
        for sender in senders:
            signal.connect(receiver, sender=sender, weak=False, dispatch_uid=id(recording))


@dataclass(frozen=True, eq=False, slots=True)
class _Receivers:
    """The methods that Django calls. They keep the state of a change on its instance."""

    recording: Recording

    def before_save(self, instance: Model, raw: bool, using: str, **kwargs: Any) -> None:
        """Read the row as it is before the save, if the event needs the old values."""
        recording = self.recording
        if raw and not _M2M_SIGNAL_HAS_RAW:
            instance.__dict__[_FROM_FIXTURE] = True
        else:
            instance.__dict__.pop(_FROM_FIXTURE, None)
        if recording.compares:
            before = None
            pk = recording.pk_of(instance)
            if pk is not None and (recording.raw or not raw):
                before = read_row(recording.model, pk, recording.fields, using=using)
            stash.keep(instance, recording, before)

    def after_save(
        self,
        instance: Model,
        created: bool,
        raw: bool,
        using: str,
        update_fields: Collection[str] | None,
        **kwargs: Any,
    ) -> None:
        """Append the event of the save."""
        recording = self.recording
        before = stash.take(instance, recording) if recording.compares else None
        action = "created" if created else "updated"
        # A fixture has one object for the row of a child, and one for each row of its parents. So a
        # raw save is recorded only if the instance's class has the table of the recorded model.
        is_own = not raw or (recording.raw and have_one_table(type(instance), recording.model))
        if action in recording.on and is_own:
            events = recording.events_of_change(
                action, instance, using=using, saved=update_fields, before=before
            )
            recording.append(events, using=using)

    def before_delete(self, instance: Model, using: str, origin: Any = None, **kwargs: Any) -> None:
        """Make the event of the deletion, while the values can still be read.

        Django may send the signal twice for one row: for the model, and for its proxy. Only the
        first signal makes an event.
        """
        recording = self.recording
        pk = recording.pk_of(instance)
        recorded_as = self._classes_in_deletion(origin).setdefault(pk, type(instance))
        if recorded_as is not type(instance):
            stash.keep(instance, recording, None)
            return
        values = None
        is_origin = isinstance(origin, recording.model) and recording.pk_of(origin) == pk
        if is_origin and recording.payload is None:
            # The instance may have values that were set and never saved, so read the row.
            values = read_row(recording.model, pk, recording.fields, using=using)
        events = recording.events_of_change("deleted", instance, using=using, values=values)
        stash.keep(instance, recording, [*events])

    def after_delete(self, instance: Model, using: str, origin: Any = None, **kwargs: Any) -> None:
        """Append the event that was made before the deletion."""
        recording = self.recording
        events = stash.take(instance, recording)
        if events is not None:
            classes = self._classes_in_deletion(origin)
            classes.pop(recording.pk_of(instance), None)
            if not classes and origin is not None:
                origin.__dict__.pop(self._attribute_of_origin, None)
            recording.append(events, using=using)

    def on_m2m_change(
        self,
        sender: type[Model],
        instance: Model,
        action: str,
        reverse: bool,
        pk_set: set[Any] | None,
        using: str,
        raw: bool = False,
        **kwargs: Any,
    ) -> None:
        """Append the events of links that were added or removed."""
        recording = self.recording
        if not recording.raw and (raw or instance.__dict__.get(_FROM_FIXTURE)):
            return
        field = next(field for field in recording.m2m if through(field) is sender)
        links = Links(field, instance, reverse, using)
        if action in ("pre_remove", "pre_clear"):
            keys = links.keys()
            if pk_set is not None:  # clear() names no keys, and remove() may name unlinked ones
                keys &= links.normalized(pk_set)
            stash.keep(instance, recording, keys)
        elif action == "post_add":
            self._append_links("added", links, pk_set or set())
        elif action in ("post_remove", "post_clear"):
            self._append_links("removed", links, stash.take(instance, recording) or set())

    def _append_links(self, change: str, links: Links, pks: set[Any]) -> None:
        recording = self.recording
        name = links.field.name
        events = [
            recording.event(f"{name}.{change}", owner, {name: linked})
            for owner, linked in links.by_owner(pks, model=recording.model)
            if isinstance(owner, recording.model) and recording.is_wanted(owner)
        ]
        recording.append(events, using=links.using)

    def _classes_in_deletion(self, origin: Any) -> dict[Any, type[Model]]:
        """The class that each row of this deletion is recorded as, by the key of the row.

        The dict is kept on `origin`, the instance or queryset whose ``delete()`` was called.
        """
        if origin is None:
            return {}
        classes: dict[Any, type[Model]] = origin.__dict__.setdefault(self._attribute_of_origin, {})
        return classes

    @property
    def _attribute_of_origin(self) -> str:
        return f"_jsonbuffer_deleted_{id(self.recording)}"


def _with_subclasses(model: type[Model]) -> Iterator[type[Model]]:
    """The model, its proxies and its child models, at any depth."""
    if not model._meta.abstract:
        yield model
    for subclass in model.__subclasses__():
        yield from _with_subclasses(subclass)
