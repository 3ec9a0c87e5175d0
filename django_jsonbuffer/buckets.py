"""Bucket, and the register of declared buckets."""

import logging
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from inspect import isasyncgenfunction, isgeneratorfunction
from itertools import chain, islice
from typing import Any, Final, NamedTuple, TypeVar, overload

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.db.models import Model
from django.dispatch import Signal

from . import commits, encoding, receivers, store
from .conf import Configuration, configuration
from .dead_letters import DeadLetters
from .draining import Batch, Drain, DrainReport, Processor
from .encoding import JSONEncoder
from .exceptions import BufferMisconfigured, InvalidEvent, JSONBufferError, NoProcessor
from .keys import is_valid_name, validated_name
from .options import Options, checked_options
from .store import BucketStatus, Deliveries, Sample, Store

logger = logging.getLogger("django_jsonbuffer")

P = TypeVar("P", bound=Callable[[Batch], object])
F = TypeVar("F", bound=Callable[..., Any])

_SINGLE_VALUES: Final = (Mapping, str, bytes, bytearray, memoryview)
"""That can be iterated, and yet are no series of events."""


class Bucket:
    """A handle of the bucket of that name.

    Two handles of one name are one bucket. In an app's ``buckets.py`` the call declares it, with
    its options; elsewhere ``Bucket(name)`` is the bucket that was declared. An option given here
    wins over the declaration's, and one in ``JSONBUFFER["BUCKETS"]`` over both.

    Raises :class:`InvalidBucketName` and :class:`BufferMisconfigured`: at once, or in a declaration
    at the first use, since there a system check reports it with its place.
    """

    def __init__(self, name: str, **options: Any) -> None:
        self.name = name
        self.given_options: Final[Mapping[str, Any]] = options
        self.fault: JSONBufferError | None = None
        self._wiring: Wiring | None = None
        try:
            self.name = validated_name(name)
            checked_options(self.name, options)
        except JSONBufferError as fault:
            if apps.ready:
                raise
            self.fault = fault
        if not apps.ready:
            register.declare(self, place=_place_of_caller())

    def __repr__(self) -> str:
        return f"Bucket({self.name!r})"

    @property
    def key(self) -> str:
        """The key of the open batch, for clients that append to it or take it themselves."""
        return self.wiring.store.keys.open

    @property
    def options(self) -> Options:
        """The options in force."""
        return self.wiring.options

    def append(self, event: Any, *, using: str | None = None, now: bool = False) -> None:
        """Append one event: any JSON value.

        Within ``atomic()`` it waits for the commit, and a rollback drops it: that of the database
        `using`, by default the one whose transaction is open. Within ``gathered()`` it waits for
        the end. With `now`, and outside of both, it goes to Redis at once.

        Raises :class:`InvalidEvent` when it could not be read back, is too large or the schema
        refuses it, and :class:`BufferUnavailable` when it goes at once and Redis is away, unless
        the option ``on_unavailable`` has it logged.
        """
        self.hand_over((event,), using=using, now=now)

    def extend(self, events: Iterable[Any], *, using: str | None = None, now: bool = False) -> None:
        """Append events in their order, all or none, in one round trip. As append does."""
        if _is_single(events):
            raise InvalidEvent("extend() takes a series of events. For a single one use append().")
        self.hand_over(events, using=using, now=now)

    async def aappend(self, event: Any, *, using: str | None = None, now: bool = False) -> None:
        await sync_to_async(self.append)(event, using=using, now=now)

    async def aextend(
        self, events: Iterable[Any], *, using: str | None = None, now: bool = False
    ) -> None:
        await sync_to_async(self.extend)(events, using=using, now=now)

    def hand_over(
        self,
        events: Iterable[Any],
        *,
        using: str | None = None,
        now: bool = False,
        is_late: bool = False,
    ) -> None:
        """As extend. `is_late` says that nobody waits for an error. For this package only."""
        wiring = self.wiring
        events = [*events]
        try:
            encoded = self._encoded(events, wiring)
        except InvalidEvent as error:
            must_raise = not is_late or wiring.options.on_unavailable == "raise"
            if must_raise or commits.has_transaction(using):
                raise
            # The change is committed: it is too late to refuse it.
            commits.lose(wiring.store, len(events), error)
            return
        if encoded:
            commits.hand_over(
                wiring.store, wiring.options, encoded, using=using, now=now, is_late=is_late
            )

    def record(
        self,
        model: type[Model] | str,
        *,
        on: Collection[str] = receivers.ACTIONS,
        fields: Collection[str] | None = None,
        exclude: Collection[str] = (),
        m2m: Collection[str] = (),
        when: Callable[[Any], object] | None = None,
        payload: Callable[[Any], Any] | None = None,
        changes: bool = False,
        raw: bool = False,
        actor: bool = False,
    ) -> None:
        """Append an event for each change of the model's instances: when committed, or never.

        The event is a CloudEvent of the type ``app.model.action``, whose subject is the primary
        key and whose data are the fields by attname.

        `model` is a class, or a label such as ``"shop.Order"``. `on` are actions out of
        ``created``, ``updated`` and ``deleted``. `fields` and `exclude` choose the fields by name;
        all are taken by default, but for one named ``password``. `m2m` names many-to-many fields,
        whose changes become events of the type ``app.model.field.added`` and ``….removed``. `when`
        is called with the instance, and decides. `payload` is called with it, and returns the data.

        With `changes`, the data of an update have old and new values of what has changed, for one
        query more, and an update that changed nothing is not recorded. With `raw`, what
        ``loaddata`` does is recorded. With `actor`, the event tells the user of the request, which
        takes ``actor_middleware``.

        Raises :class:`BufferMisconfigured`; before all models are loaded, not until they are.
        """
        receivers.record(
            self,
            model,
            on=on,
            fields=fields,
            exclude=exclude,
            m2m=m2m,
            when=when,
            payload=payload,
            changes=changes,
            raw=raw,
            actor=actor,
        )

    def record_bulk(
        self, objects: Iterable[Model], action: str, *, using: str | None = None
    ) -> None:
        """Append an event for each object, as `record` does for what sends signals.

        For ``bulk_create()`` and ``QuerySet.update()``, which send none. `action` is ``created``,
        ``updated`` or ``deleted``; fields, payload and condition are those of the recording of the
        objects' model. What has changed is not told.
        """
        self.hand_over(
            receivers.bulk_events(self, objects, action, using=using), using=using, is_late=True
        )

    def hook(self, signal: Signal, *, sender: Any = None) -> Callable[[F], F]:
        """Let a function make events of a signal. A decorator.

        It is called as a receiver is, and returns an event, a list of events, or None. They wait
        for the commit of the database that the signal names, as one that is sent for a model does,
        or of the one whose transaction is open. It may be a coroutine function.
        """

        def connect(function: F) -> F:
            receivers.hook(self, signal, function, sender=sender)
            return function

        return connect

    @property
    def has_processor(self) -> bool:
        return self.name in register.processors

    @overload
    def processor(self, function: P, *, atomic: str | None = None) -> P: ...
    @overload
    def processor(self, *, atomic: str | None = None) -> Callable[[P], P]: ...
    def processor(
        self, function: P | None = None, *, atomic: str | None = None
    ) -> P | Callable[[P], P]:
        """Let this function process the bucket's batches. A decorator, or a plain call.

        It gets a :class:`~django_jsonbuffer.draining.Batch` a call, and each event at least once.
        When it returns, the batch is removed; when it raises, the batch comes again, after a
        backoff. It may be a coroutine function.

        `atomic` is the alias of a database: each call is wrapped in a transaction of it, which is
        rolled back when the function raises, or when the worker has lost its lease meanwhile.
        """
        if function is None:
            return lambda function: self.processor(function, atomic=atomic)
        if not callable(function):
            raise BufferMisconfigured(
                f"The processor of bucket {self.name!r} must be callable, unlike {function!r}."
            )
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise BufferMisconfigured(
                f"The processor of bucket {self.name!r} is a generator, whose body a call does not "
                "run. Take the yield out of it."
            )
        if atomic is not None and atomic not in settings.DATABASES:
            raise BufferMisconfigured(
                f"The processor of bucket {self.name!r} is to run in a transaction of the database "
                f"{atomic!r}, which DATABASES does not have."
            )
        if atomic is not None and not settings.DATABASES[atomic].get("AUTOCOMMIT", True):
            raise BufferMisconfigured(
                f"The processor of bucket {self.name!r} is to run in a transaction of the database "
                f"{atomic!r}, whose AUTOCOMMIT is off: nothing would commit it. Leave atomic= "
                "away, and let the processor commit."
            )
        if self.fault is None or is_valid_name(self.name):
            register.add_processor(self.name, Processor(function, atomic))
        return function

    def drain(self) -> DrainReport:
        """Process everything that is pending by now, the open batch too, and return.

        What the processor raises is logged and counted in the report, not raised. Raises
        :class:`NoProcessor`, and :class:`BufferUnavailable` when Redis is away. A paused bucket is
        left alone.

        Within ``atomic()`` a batch is acknowledged before its rows are committed, and a rollback
        loses them: drain outside of it.
        """
        with self.drain_steps() as drain:
            while drain.step():
                pass
        return drain.report

    def drain_steps(self, *, watch: bool = False) -> Drain:
        """The same batch by batch, for callers that want to stop in between, or to go on for ever.

        With `watch`, batches that are sealed later count as well, and an open one when it has
        lingered.
        """
        processor = register.processors.get(self.name)
        if processor is None:
            raise NoProcessor(
                f"Bucket {self.name!r} has no processor. Declare one with @bucket.processor in a "
                "buckets.py of an installed app."
            )
        wiring = self.wiring
        return Drain(
            self.name,
            store=wiring.store,
            options=wiring.options,
            decode=wiring.encoder.decode,
            processor=processor,
            watch=watch,
        )

    @property
    def dead(self) -> DeadLetters:
        """The dead letters: to be looked at, replayed, discarded."""
        wiring = self.wiring
        return DeadLetters(wiring.store, wiring.options, wiring.encoder.decode)

    def status(self) -> BucketStatus:
        """Events pending, in flight and dead, batches, bytes and age, all of one moment."""
        return self.wiring.store.status()

    def pause(self) -> bool:
        """Let no worker claim a batch until :meth:`resume`. Appends go on.

        What a worker holds already it finishes. Returns whether this call did it: False when the
        bucket was paused before.
        """
        return self.wiring.store.pause()

    def resume(self) -> bool:
        """Let workers drain the bucket again. Returns whether it was paused."""
        return self.wiring.store.resume()

    def deliveries(self, limit: int = 100) -> Deliveries:
        """The workers, and the oldest batches that they hold or have given back."""
        return self.wiring.store.deliveries(limit)

    def leading_events(self, limit: int, *, most_bytes: int) -> list[tuple[bytes, bool]]:
        """The oldest pending events as JSON, and whether each is whole. They stay."""
        arrays = self.wiring.store.peek(limit, most_bytes=most_bytes)
        return [*islice(chain.from_iterable(map(encoding.leading_events, arrays)), limit)]

    def redacted(self, raw: bytes) -> bytes:
        """What the option ``redact`` makes of an event, as JSON. Raises what that raises."""
        redact, encoder = self.options.redact, self.wiring.encoder
        (event,) = encoder.decode(b"[%b]" % raw)
        return encoder.encode(redact(event) if redact else event)

    def peek(self, limit: int = 10) -> list[Any]:
        """The oldest pending events, at most `limit` of them. They stay where they are."""
        if limit < 1:
            return []
        events, _ = self._decoded(self.wiring.store.peek(limit))
        return events[:limit]

    def take(self) -> list[Any]:
        """Remove everything pending in one atomic step and return it, oldest first: at most once.

        A caller that dies after this has lost the events, which a processor never does. Batches
        that a worker holds are not taken.
        """
        store = self.wiring.store
        events, unreadable = self._decoded(store.take())
        if unreadable:
            try:
                store.set_aside(unreadable, error="The batch was no JSON array of events.")
            except JSONBufferError:
                # What was taken is this caller's, whatever becomes of what nobody can read.
                logger.exception(
                    "Bucket %s: what is no JSON array of events was taken and is lost: %d.",
                    self.name,
                    len(unreadable),
                )
        return events

    def purge(self) -> int:
        """Discard everything pending, and return how many events that were.

        Batches that a worker holds, and dead letters, stay.
        """
        return self.wiring.store.purge()

    @property
    def wiring(self) -> "Wiring":
        """What the handle works with under the settings of this moment. For this package only."""
        if self.fault is not None:
            # Another one each time: an error that is raised again keeps every frame it has seen.
            raise type(self.fault)(str(self.fault))
        current = configuration()
        if self._wiring is None or self._wiring.configuration is not current:
            wiring = Wiring(
                current,
                checked_options(
                    self.name,
                    {
                        **register.declared_options(self.name),
                        **self.given_options,
                        **current.buckets.get(self.name, {}),
                    },
                ),
                Store(self.name, current),
                encoding.encoder(current.encoder),
            )
            if not apps.ready:
                return wiring  # the declaration may be still to come
            self._wiring = wiring
        return self._wiring

    def _decoded(self, arrays: Iterable[bytes]) -> tuple[list[Any], list[bytes]]:
        """The events, and the arrays that a foreign client made unreadable."""
        decode = self.wiring.encoder.decode
        events: list[Any] = []
        unreadable: list[bytes] = []
        for array in arrays:
            try:
                events += decode(array)
            except Exception:  # noqa: BLE001  (of the project's own encoder, anything)
                unreadable.append(array)
        return events, unreadable

    def _encoded(self, events: Iterable[Any], wiring: "Wiring") -> list[bytes]:
        if wiring.options.schema is not None:
            events = [self._validated(event, wiring.options.schema) for event in events]
        encoded = [*map(wiring.encoder.encode, events)]
        encoding.check_sizes(encoded, wiring.options.max_event_bytes)
        return encoded

    def _validated(self, event: Any, schema: Callable[[Any], object]) -> object:
        try:
            return schema(event)
        except Exception as error:
            raise InvalidEvent(
                f"The schema of bucket {self.name!r} refuses the event: {encoding.told(error)}"
            ) from error


class Wiring(NamedTuple):
    """A bucket's parts, as the settings make them."""

    configuration: Configuration
    options: Options
    store: Store
    encoder: JSONEncoder


class Declaration(NamedTuple):
    """One declaring call of Bucket."""

    bucket: Bucket
    place: str
    """File and line."""


class Register:
    """The buckets that were declared while the apps were loaded, and all processors.

    A bucket that is opened later, ad hoc, is not kept here, so that any number of names may pass.
    """

    def __init__(self) -> None:
        self.declarations: list[Declaration] = []
        self.processors: dict[str, Processor] = {}
        self.rivals: dict[str, list[Processor]] = {}
        """All processors that were declared for one name, where there are several."""

    def declare(self, bucket: Bucket, *, place: str) -> None:
        self.declarations.append(Declaration(bucket, place))

    def add_processor(self, name: str, processor: Processor) -> None:
        earlier = self.processors.get(name)
        if earlier not in (None, processor) and not apps.ready:
            self.rivals.setdefault(name, [earlier]).append(processor)
        self.processors[name] = processor

    def declared_options(self, name: str) -> Mapping[str, Any]:
        """Those of all declarations of the name. A system check sees to it that they agree."""
        options: dict[str, Any] = {}
        for bucket, _ in self.declarations:
            if bucket.name == name:
                options |= bucket.given_options
        return options


register: Final = Register()


def declared_buckets() -> list[Bucket]:
    """A handle of each bucket that was declared, under a name that can be, or has a processor."""
    names = [bucket.name for bucket, _ in register.declarations] + [*register.processors]
    return [Bucket(name) for name in sorted(set(filter(is_valid_name, names)))]


def known_buckets() -> list[Bucket]:
    """The declared buckets, and all that were ever appended to, by name."""
    names = {bucket.name for bucket in declared_buckets()}
    names |= {name for name in store.registered_names(configuration()) if is_valid_name(name)}
    return [Bucket(name) for name in sorted(names)]


def statuses(buckets: Sequence[Bucket]) -> list[BucketStatus | JSONBufferError]:
    """The status of each bucket, or what is wrong with that one, in one round trip for all."""
    return store.statuses([bucket.name for bucket in buckets], configuration())


def histories(buckets: Sequence[Bucket]) -> list[list[Sample]]:
    """The samples of each bucket, oldest first, in one round trip for all."""
    return store.histories([bucket.name for bucket in buckets], configuration())


def _is_single(events: object) -> bool:
    """Whether it is an event, and no series of them."""
    if isinstance(events, list | tuple):
        return False
    is_value = isinstance(events, _SINGLE_VALUES) or not isinstance(events, Iterable)
    return is_value or hasattr(events, "model_dump")


def _place_of_caller() -> str:
    frame = sys._getframe(2)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
