"""A change becomes an event."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from django.db import router
from django.db.models import Field, ManyToManyField, Model

from django_jsonbuffer.cloudevents import cloud_event
from django_jsonbuffer.conf import configuration

from .actors import actor
from .changes import changes
from .containment import contained
from .destination import Destination
from .presentation import Presentation
from .rows import Rows
from .selects import Row
from .suppression import is_suppressed
from .values import Values

if TYPE_CHECKING:
    AnyField = Field[Any, Any]
    AnyManyToManyField = ManyToManyField[Any, Any]

T = TypeVar("T")

ACTIONS: Final = ("created", "updated", "deleted")

_INSTANCES_PER_QUERY: Final = 200
"""Number of instances whose missing values one query reads."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """How one bucket records one model.

    A recording covers the instances of the model, as ``isinstance()`` does. Instances of its
    proxies and child models count as well, because their rows are also rows of the model. Each
    change makes one event.
    """

    destination: Destination
    model: type[Model]

    on: frozenset[str]
    """The recorded actions, out of ACTIONS."""

    fields: tuple["AnyField", ...]
    m2m: tuple["AnyManyToManyField", ...]
    presentation: Presentation

    when: Callable[[Any], object] | None = None
    """Called with the instance. If the result is false, the change is not recorded."""

    changes: bool = False
    """Whether the event of an update has the old and new values. An update that changed nothing
    then makes no event."""

    count_auto_now: bool = False
    """Whether an update counts if only fields with ``auto_now`` changed."""

    read_back: bool = False
    """Whether all values are read after a save, because triggers of the database change them."""

    raw: bool = False
    """Whether changes by ``loaddata`` are recorded."""

    actor: bool = False
    """Whether the event names who made the change."""

    @property
    def compares(self) -> bool:
        """Whether the values before a save must be read."""
        return self.changes and "updated" in self.on

    def rows(self, action: str, *, compares: bool = False) -> Rows:
        """The rows with the fields that an event of this action needs."""
        needs_values = self.presentation.payload is None or (compares and action == "updated")
        return self._rows if needs_values else self.keys

    @cached_property
    def _rows(self) -> Rows:
        return Rows(self.model, self.fields, read_back=self.read_back)

    @cached_property
    def keys(self) -> Rows:
        """The rows without any field but the key."""
        return Rows(self.model, ())

    @cached_property
    def _fields_that_do_not_count(self) -> frozenset[str]:
        is_timestamp = [f for f in self.fields if getattr(f, "auto_now", False)]
        return frozenset(() if self.count_auto_now else (f.attname for f in is_timestamp))

    def database_of(self, instance: Model, using: str | None) -> str:
        """The alias that a signal names, or else the one that a save would write to."""
        return using or router.db_for_write(type(instance), instance=instance)

    def is_wanted(self, instance: Model) -> bool:
        if is_suppressed(type(instance)):
            return False
        if self.when is None:
            return True
        with contained():
            return bool(self.when(instance))

    def _if_wanted(self, instance: Model) -> Iterator[Model]:
        if self.is_wanted(instance):
            yield instance

    def append(self, events: Iterable[Values], *, using: str | None) -> None:
        self.destination.append_recorded(events, using=using, model=self.model)

    def event(self, action: str, row: Row, data: Any) -> Values:
        return cloud_event(
            f"{self.model._meta.label_lower}.{action}",
            data,
            subject=row.subject,
            **(actor() if self.actor else {}),
        )

    def event_of_change(
        self,
        action: str,
        instance: Model,
        row: Row,
        *,
        using: str,
        before: Row | None = None,
    ) -> Iterator[Values]:
        """The event of one change. Yields nothing for an update that changed nothing.

        `row` is the row after the change, and `before` the row before it, if that was read.
        """
        difference = None
        if before is not None and self.changes and action == "updated":
            difference = changes(before.values, row.values)
            if difference.keys() <= self._fields_that_do_not_count:
                return
        with contained() if self._runs_code else nullcontext():
            data = self.presentation.of_change(instance, row.values, difference, using=using)
            event = self.event(action, row, data)
        yield event

    @property
    def _runs_code(self) -> bool:
        """Whether functions of the project take part in an event, which may send queries."""
        return self.actor or self.presentation.runs_code or callable(configuration().source)

    def events_of_many(
        self,
        action: str,
        instances: Iterable[Model],
        *,
        using: str,
        before: Mapping[Any, Row | None] | None = None,
        are_fresh: bool = False,
    ) -> Iterator[Values]:
        """The events of these instances. A query per 200 reads the values that they do not hold.

        `before` are the rows before the change, by primary key. Instances that `are_fresh` have
        just been read. An event that cannot be made is lost.
        """
        wanted = [
            found
            for instance in instances
            for found in self.attempt(partial(self._if_wanted, instance), using)
        ]
        are_gone = action == "deleted"
        rows = self.rows(action, compares=before is not None)
        # After an update, an instance may have values that it was not saved with.
        are_stale = action == "updated" and not are_fresh
        read = partial(
            rows.of_many, using=using, are_fresh=are_fresh, are_stale=are_stale, are_gone=are_gone
        )
        for start in range(0, len(wanted), _INSTANCES_PER_QUERY):
            some = wanted[start : start + _INSTANCES_PER_QUERY]
            for instance, row in self._rows_or_lost(read, some, using):
                old = before.get(instance.pk) if before else None
                make = partial(self.event_of_change, action, instance, row, using=using, before=old)
                yield from self.attempt(make, using)

    def _rows_or_lost(
        self, read: Callable[[Sequence[Model]], list[Row]], instances: Sequence[Model], using: str
    ) -> list[tuple[Model, Row]]:
        """The instances with their rows. A row that cannot be read does not lose the others."""
        try:
            return [*zip(instances, read(instances), strict=True)]
        except Exception as error:  # noqa: BLE001  (a field may raise anything)
            if len(instances) == 1:
                self.lose(error, using)
                return []
            return [each for i in instances for each in self._rows_or_lost(read, [i], using)]

    def attempt(self, make: Callable[[], Iterable[T]], using: str) -> list[T]:
        """The results of the function. Empty if it fails: then an event is lost."""
        try:
            return [*make()]
        except Exception as error:  # noqa: BLE001  (the project's functions raise anything)
            self.lose(error, using)
            return []

    def lose(self, error: Exception, using: str) -> None:
        """Lose one event: see :meth:`Destination.lose`."""
        self.destination.lose(error, using=using, model=self.model)
