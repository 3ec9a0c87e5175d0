"""Bucket: the API of this app."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar, overload

from django.apps import apps
from django.db.models import Model
from django.dispatch import Signal

from .appending import intake
from .appending.sharding import OrderingKey
from .async_methods import asynchronous
from .contents import Contents
from .declarations import Definition, declared
from .draining.batches import Batch
from .draining.drain import Drain
from .draining.report import DrainReport
from .draining.turns import Turns, drains_of
from .processors import Processor
from .recording import bulk, hooks, registry
from .recording.destination import Destination
from .recording.events import ACTIONS
from .recording.presentation import Mask
from .shards import stores_of

P = TypeVar("P", bound=Callable[[Batch], object])
F = TypeVar("F", bound=Callable[..., Any])


class Bucket(Contents):
    """A handle of the bucket with this name.

    All handles with one name refer to the same bucket. In an app's ``buckets.py``, the call
    declares the bucket. A handle's own options win over those of the declaration, and
    ``JSONBUFFER["BUCKETS"]`` wins over both. The option `processor` is short for a call of
    :meth:`processor`.

    Raises :class:`InvalidBucketName` and :class:`BufferMisconfigured` at once. A declaration raises
    them only at its first use, because a system check reports them before, with file and line.
    """

    def __init__(
        self, name: str, *, processor: Callable[[Batch], object] | None = None, **options: Any
    ) -> None:
        self._definition = Definition(name, options)
        if not apps.ready:
            declared.declare(self._definition)
        if processor is not None:
            self.processor(processor)

    def __repr__(self) -> str:
        return f"Bucket({self.name!r})"

    @property
    def name(self) -> str:
        return self._definition.name

    @property
    def key(self) -> str:
        """The key of the open batch, for clients that append to it or take it themselves."""
        return self._definition.parts.store.keys.open

    def append(
        self,
        event: Any,
        *,
        using: str | None = None,
        now: bool = False,
        ordering_key: OrderingKey = None,
    ) -> None:
        """Append one event: any JSON value.

        Within ``atomic()`` the event waits for the commit, and a rollback drops it. `using` names
        the database; by default it is the one whose transaction is open. Within ``gathered()`` the
        event waits for the end. With `now`, or outside of both, the event goes to Redis at once.

        If the bucket has several shards, events with the same `ordering_key` stay in order. The
        others go to any shard.

        Raises :class:`InvalidEvent` if the event cannot be stored as JSON, is too large, or the
        schema refuses it. An event that goes at once raises :class:`BufferUnavailable` if Redis is
        unavailable, unless ``on_unavailable`` is ``"spill"`` or ``"drop"``.
        """
        how = intake.How(using, now, ordering_key)
        intake.append(self._definition.parts, (event,), how)

    def extend(
        self,
        events: Iterable[Any],
        *,
        using: str | None = None,
        now: bool = False,
        ordering_key: OrderingKey = None,
    ) -> None:
        """Append events in their order, all or none, in one round trip. Otherwise like append."""
        how = intake.How(using, now, ordering_key)
        intake.append(self._definition.parts, intake.several(events), how)

    async def aappend(
        self,
        event: Any,
        *,
        using: str | None = None,
        now: bool = False,
        ordering_key: OrderingKey = None,
    ) -> None:
        """Like :meth:`append`, in async code: it waits for Redis in the event loop."""
        how = intake.How(using, now, ordering_key)
        await intake.aappend(self._definition.parts, (event,), how)

    async def aextend(
        self,
        events: Iterable[Any],
        *,
        using: str | None = None,
        now: bool = False,
        ordering_key: OrderingKey = None,
    ) -> None:
        """Like :meth:`extend`, in async code: it waits for Redis in the event loop."""
        how = intake.How(using, now, ordering_key)
        await intake.aappend(self._definition.parts, intake.several(events), how)

    def record(
        self,
        model: type[Model] | str,
        *,
        on: Collection[str] = ACTIONS,
        fields: Collection[str] | None = None,
        exclude: Collection[str] = (),
        m2m: Collection[str] = (),
        when: Callable[[Any], object] | None = None,
        payload: Callable[..., Any] | None = None,
        mask: Collection[str] | Mapping[str, Callable[[Any], Any]] | Mask | None = None,
        labels: bool | Collection[str] = False,
        changes: bool = False,
        count_auto_now: bool = False,
        read_back: bool = False,
        raw: bool = False,
        actor: bool = False,
    ) -> None:
        """Append an event for each change of the model's instances, once it is committed.

        The event is a CloudEvent of the type ``app.model.action``. Its subject is the primary key,
        and its data are the fields by attname, as the database has them. An event that cannot be
        made is lost, which is logged and counted. The change itself does not fail.

        `model` is a class, or a label such as ``"shop.Order"``. `on` are actions out of
        ``created``, ``updated`` and ``deleted``. `fields` and `exclude` choose fields by name. The
        default is all fields except one named ``password``. `m2m` names many-to-many fields, whose
        changes become events of the types ``app.model.field.added`` and ``….removed``. `when` and
        `payload` get the instance: `when` returns whether to record the change, `payload` the data.
        `mask` hides fields: names, a function of the value for each name, or a function of name and
        value. `labels` adds the display text of choices and foreign keys.

        With `changes`, an update has the old and new values too, and is not recorded if no field
        changed. `count_auto_now` lets fields with ``auto_now`` count. With `read_back`, a query
        reads all values after a save, for tables with triggers. With `raw`, changes by ``loaddata``
        are recorded. With `actor`, events name the user of the request or of ``acting_as()``.
        Raises :class:`BufferMisconfigured` at once, or as soon as all models are loaded.
        """
        options = {name: value for name, value in locals().items() if name not in ("self", "model")}
        registry.record(Destination(self._definition), model, **options)

    def unrecord(self, model: type[Model] | str) -> None:
        """End every recording of this model by this bucket.

        Raises :class:`BufferMisconfigured` if there is none, or if the models are not yet loaded.
        """
        registry.unrecord(Destination(self._definition), model)

    def record_bulk(
        self, objects: Iterable[Model], action: str, *, using: str | None = None
    ) -> None:
        """Append an event for each object of a bulk operation, which sends no signals.

        `action` is ``created``, ``updated`` or ``deleted``. The options with which the bucket
        records the objects' model apply. The events have no old values.
        """
        destination = Destination(self._definition)
        events = bulk.bulk_events(destination, objects, action, using=using)
        destination.append_recorded(events, using=using)

    def hook(self, signal: Signal, *, sender: Any = None) -> Callable[[F], F]:
        """A decorator for a function that makes events of a signal.

        The function is called like a receiver, and returns an event, a list of events, or None. It
        may be a coroutine function. The events wait for the commit of the database that the signal
        names as ``using``, or else of the database whose transaction is open.
        """
        return partial(hooks.hook, Destination(self._definition), signal, sender=sender)

    @overload
    def processor(self, function: P, *, atomic: str | None = None) -> P: ...
    @overload
    def processor(self, *, atomic: str | None = None) -> Callable[[P], P]: ...
    def processor(
        self, function: P | None = None, *, atomic: str | None = None
    ) -> P | Callable[[P], P]:
        """Let this function process the bucket's batches. Use it as a decorator, or call it.

        The function gets a :class:`~django_jsonbuffer.Batch`, and each event at least once. It may
        be a coroutine function. When it returns, the batch is removed. When it raises, the batch
        comes again after a backoff. `atomic` is the alias of a database: each batch is processed in
        a transaction of it, which is rolled back if the function raises, or if a check just before
        the commit finds that the worker has lost its lease.
        """
        if function is None:
            return lambda function: self.processor(function, atomic=atomic)
        declared.add_processor(self.name, Processor(function, atomic))
        return function

    def drain(self) -> DrainReport:
        """Process the batches that can be claimed at this moment, the open batch too, and return.

        Batches that wait for their next attempt stay. Exceptions of the processor are logged and
        counted in the report, not raised. In an outage, this tries a few times within about seven
        seconds. Shards take turns, batch by batch. Raises :class:`NoProcessor`, and
        :class:`BufferUnavailable` if Redis is unavailable. Does nothing if the bucket is paused. Do
        not call it within ``atomic()``: a batch is acknowledged before its rows are committed, so a
        rollback would lose them.
        """
        with self.drain_steps() as drain:
            while drain.step() or drain.wait():
                pass
        return drain.report

    def drain_steps(
        self,
        *,
        watch: bool = False,
        on_timeout: Callable[[], object] | None = None,
        skip_busy: bool = False,
    ) -> Drain | Turns:
        """A drain whose ``step()`` processes one batch, for callers that stop in between.

        With `watch`, it never ends: it also takes later batches, and open ones after ``linger``.
        Another thread calls `on_timeout` after a call of the processor has reached its timeout.
        With `skip_busy`, it processes nothing if another worker of the bucket is alive.
        """
        parts, processor = self._definition.parts, declared.processor_of(self.name)
        options = {"watch": watch, "on_timeout": on_timeout, "skip_busy": skip_busy}
        drains = drains_of(parts, processor, stores_of(parts), **options)
        return Turns(drains, watch=watch) if len(drains) > 1 else drains[0]

    adrain = asynchronous(drain, uses_database=True)
