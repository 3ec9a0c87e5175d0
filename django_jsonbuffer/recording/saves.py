"""The receivers of saves."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import django
from django.db.models import Model

from django_jsonbuffer.django_internals.models import (
    concrete_fields,
    have_one_table,
    model_with_table,
)

from . import stash
from .events import Recording
from .rows import Rows
from .selects import Row
from .suppression import is_suppressed
from .values import Values

_M2M_SIGNAL_HAS_RAW: Final = django.VERSION >= (6, 1)
"""Whether m2m_changed says that ``loaddata`` made the link."""

_FROM_FIXTURE: Final = "_jsonbuffer_loaded"
"""Attribute of an instance that ``loaddata`` has just saved. The receiver of its links reads it."""

_NOT_SAVED: Final = ()
"""Stands for the saved fields if the signal was sent by hand, after a change of another kind. Then
the instance may have any value."""


def is_from_fixture(instance: Model) -> bool:
    """Whether ``loaddata`` has just saved the instance."""
    return bool(instance.__dict__.get(_FROM_FIXTURE))


@dataclass(frozen=True, eq=False)
class Saves:
    """The methods that Django calls. They keep the state of a save on its instance.

    Other code may send these signals by hand, and leave arguments out.
    """

    recording: Recording
    cls: type[Model]
    """The class of the instances: the recorded model, a proxy or a child of it."""

    by_hand: object = field(default_factory=object)
    """Owner of the rows that are kept for signals that are sent by hand."""

    @cached_property
    def sees_before(self) -> bool:
        """Whether something must be known of an instance before it is saved."""
        must_see_fixtures = self.recording.m2m and not self.recording.raw
        return self._keeps_row or bool(must_see_fixtures and not _M2M_SIGNAL_HAS_RAW)

    @cached_property
    def _keeps_row(self) -> bool:
        """Whether the row before a save counts: for its values, or to know whether there is one.

        A new instance of a child model may have a row of the recorded parent.
        """
        return self.recording.compares or (self._is_child and not self.recording.on <= {"deleted"})

    @cached_property
    def _is_child(self) -> bool:
        return not have_one_table(self.cls, self.recording.model)

    @cached_property
    def _rows_before(self) -> Rows:
        recording = self.recording
        return recording.rows("updated", compares=True) if recording.compares else recording.keys

    def before_save(
        self,
        instance: Model | None = None,
        raw: bool = False,
        using: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Read the row as it is before the save, if the event needs it."""
        recording = self.recording
        if not isinstance(instance, recording.model):
            return
        if raw and not _M2M_SIGNAL_HAS_RAW:
            instance.__dict__[_FROM_FIXTURE] = True
        else:
            instance.__dict__.pop(_FROM_FIXTURE, None)
        if not self._keeps_row:
            return
        before: list[Row | None] = [None]
        is_recorded = (recording.raw or not raw) and not is_suppressed(type(instance))
        if is_recorded and (recording.compares or instance._state.adding):
            alias = recording.database_of(instance, using)
            before = recording.attempt(
                lambda: [self._rows_before.before(instance, using=alias)], alias
            )
        stash.keep(instance, self._owner(kwargs), before)

    def after_save(
        self,
        instance: Model | None = None,
        created: bool = False,
        raw: bool = False,
        using: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Append the event of the save."""
        recording = self.recording
        if not isinstance(instance, recording.model):
            return
        kept = None
        if self._keeps_row:
            kept = stash.take(instance, self._owner(kwargs))
        before = kept[0] if kept else None
        # The row of a parent may have been there before the row of the child was created.
        has_row = self._is_child and before is not None
        action = "created" if created and not has_row else "updated"
        # A fixture has one object for the row of a child, and one for each row of its parents. So a
        # raw save is recorded only if the instance's class has the table of the recorded model.
        is_own = not raw or (recording.raw and not self._is_child)
        is_lost = kept == [] and not created
        if action not in recording.on or not is_own or is_lost:
            return
        alias = recording.database_of(instance, using)
        saved = _names_of_own_fields(instance) if raw else kwargs.get("update_fields", _NOT_SAVED)
        recording.append(self._events(action, instance, alias, before, saved), using=alias)

    def _owner(self, arguments: Mapping[str, Any]) -> object:
        """The owner of a stashed row. Signals that are sent by hand do not get one of a save."""
        return self if "update_fields" in arguments else self.by_hand

    def _events(
        self,
        action: str,
        instance: Model,
        using: str,
        before: Row | None,
        saved: Collection[str] | None,
    ) -> Iterator[Values]:
        recording = self.recording
        if recording.is_wanted(instance):
            rows = recording.rows(action, compares=recording.compares and before is not None)
            row = rows.after_save(instance, using=using, saved=saved)
            if before is not None and before.key != row.key:
                before = None  # another receiver has given the instance another key
            yield from recording.event_of_change(action, instance, row, using=using, before=before)


def _names_of_own_fields(instance: Model) -> set[str]:
    """The fields of the instance's own table. A raw save writes no field of its parents."""
    model = model_with_table(type(instance))
    return {f.attname for f in concrete_fields(model) if f.model is model}
