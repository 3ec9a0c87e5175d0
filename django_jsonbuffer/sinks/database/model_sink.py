"""What the sinks that write rows of a model have in common."""

import random
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from django.core.checks import CheckMessage
from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_jsonbuffer.django_internals.databases import take_write_lock
from django_jsonbuffer.django_internals.transactions import is_in_atomic
from django_jsonbuffer.draining.batches import Batch
from django_jsonbuffer.sinks.isolation import process_or_reject, results_or_reject
from django_jsonbuffer.sinks.sink import Sink

from .mapping import EventMapping
from .rows import ROW_ERRORS, is_deadlock, savepoint
from .targets import Target

Values = Mapping[str, Any]
"""The values of one event, by the attname of their field."""


class ModelSink(Sink):
    """A sink that writes rows of one model, all rows of a batch in one transaction.

    If a statement fails because of a row, the sink halves the events under savepoints until the bad
    one stands alone, and rejects it.
    """

    def __init__(self, model: type[Model] | str, *, using: str | None) -> None:
        self._target = Target(model, using)

    def __call__(self, batch: Batch) -> None:
        values = results_or_reject(batch, self._values)
        connection, model = self._target.connection, self._target.model

        def write(places: Sequence[int]) -> None:
            with savepoint(connection):
                self._write([values[place] for place in places], model, connection)

        def write_all() -> None:
            with transaction.atomic(using=connection.alias):
                take_write_lock(connection, model)
                process_or_reject(batch, self._ordered(values), write, bad_event_errors=ROW_ERRORS)

        _try_again_after_deadlocks(write_all, connection)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._target.label!r})"

    def check(self) -> Iterator[CheckMessage]:
        faults = [*self._target.check()]
        yield from faults
        if not faults:
            yield from self._check_fields(self._target.model)

    def databases(self) -> Iterator[str]:
        yield from self._target.aliases()

    @cached_property
    def _mapping(self) -> EventMapping:
        return self._make_mapping(self._target.model)

    def _values(self, event: Any) -> Values:
        """The values that an event gives. Raises :class:`EventDoesNotFit` if it is bad."""
        return self._mapping.values(event)

    def _ordered(self, values: Mapping[int, Values]) -> Sequence[int]:
        """The places in the order in which their events are written."""
        return [*values]

    @abstractmethod
    def _make_mapping(self, model: type[Model]) -> EventMapping:
        """How this sink reads an event."""

    @abstractmethod
    def _write(
        self, events: Sequence[Values], model: type[Model], connection: BaseDatabaseWrapper
    ) -> None:
        """Write the events. Called in a savepoint."""

    @abstractmethod
    def _check_fields(self, model: type[Model]) -> Iterator[CheckMessage]:
        """Errors of the fields that the declaration names."""


_MOST_TRIES: Final = 5

_FIRST_PAUSE_SECONDS: Final = 0.05


def _try_again_after_deadlocks(
    write_all: Callable[[], None], connection: BaseDatabaseWrapper
) -> None:
    """Repeat a transaction that the database rolled back, unless it is a part of another one.

    Rows are locked in one order, but InnoDB also locks the gaps between them. And other code of the
    project may lock the same rows. It goes on meanwhile, so without a pause the two would meet
    again at once.
    """
    tries = 1 if is_in_atomic(connection) else _MOST_TRIES
    pause_seconds = _FIRST_PAUSE_SECONDS
    while True:
        tries -= 1
        try:
            return write_all()
        except OperationalError as error:
            if not tries or not is_deadlock(error):
                raise
        time.sleep(pause_seconds * random.uniform(0.5, 1))
        pause_seconds *= 2
