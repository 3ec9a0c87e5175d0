"""Model signals in, events out.

A recording connects to the classes that it is about and to no other, so that a model which nobody
records pays nothing.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from inspect import iscoroutinefunction, isgenerator
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, Final, cast

import django
from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import connections
from django.db.models import Field, ManyToManyField, Model, QuerySet
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save
from django.dispatch import Signal

from . import middleware
from .cloudevents import cloud_event
from .exceptions import BufferMisconfigured, InvalidEvent
from .values import Values, is_told_by, plain, stored, stored_row

if TYPE_CHECKING:
    from .buckets import Bucket

    AnyField = Field[Any, Any]
    AnyManyToManyField = ManyToManyField[Any, Any]

ACTIONS: Final = ("created", "updated", "deleted")

_LEFT_OUT: Final = ("password",)
"""Fields that are recorded only when they are named: users have their password's hash there."""

_STASH: Final = "_jsonbuffer"
"""Attribute of an instance between the signal before a change and the one after it."""

_LOADED: Final = "_jsonbuffer_loaded"
"""Attribute of an instance that a fixture made."""

_LINKS_TELL_RAW: Final = django.VERSION >= (6, 1)
"""Whether the signal of a link says that a fixture made it."""

_PORTION: Final = 200
"""Instances that are looked at together, so that one query reads what they do not know."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """What one bucket records of one model.

    That is what happens to instances of that class as ``isinstance`` has it: of its proxies and
    child models too, whose rows are also its own. Each change is one event of this recording.
    """

    bucket: "Bucket"
    model: type[Model]
    on: frozenset[str]
    fields: tuple["AnyField", ...]
    m2m: tuple["AnyManyToManyField", ...]
    when: Callable[[Any], object] | None
    payload: Callable[[Any], Any] | None
    changes: bool
    raw: bool
    actor: bool

    def connect(self) -> None:
        classes = list(_with_subclasses(self.model))
        # When a child's row is deleted, Django sends the signal for each of its parents as well.
        siblings = [c for c in classes if _is_sibling(c, self.model)]
        saved = classes if self.on & {"created", "updated"} else []
        deleted = siblings if "deleted" in self.on else []
        linked = [_through(field) for field in self.m2m]
        must_know_before = self._tells_changes or (
            self.m2m and not self.raw and not _LINKS_TELL_RAW
        )
        for signal, receiver, senders in (
            (pre_save, self.before_save, classes if must_know_before else []),
            (post_save, self.after_save, saved),
            (pre_delete, self.before_delete, deleted),
            (post_delete, self.after_delete, deleted),
            (m2m_changed, self.on_m2m_change, linked),
        ):
            for sender in senders:
                signal.connect(receiver, sender=sender, weak=False, dispatch_uid=id(self))

    def before_save(self, instance: Model, raw: bool, using: str, **kwargs: Any) -> None:
        if raw and not _LINKS_TELL_RAW:
            instance.__dict__[_LOADED] = True
        else:
            instance.__dict__.pop(_LOADED, None)
        if not self._tells_changes:
            return
        pk = self._pk(instance)
        is_wanted = pk is not None and (self.raw or not raw)
        self._stash(
            instance, stored_row(self.model, pk, self.fields, using=using) if is_wanted else None
        )

    def after_save(
        self,
        instance: Model,
        created: bool,
        raw: bool,
        using: str,
        update_fields: Collection[str] | None,
        **kwargs: Any,
    ) -> None:
        before = self._unstash(instance) if self._tells_changes else None
        action = "created" if created else "updated"
        # A fixture has an object for each row of a child and of its parents.
        is_own = not raw or (self.raw and _is_sibling(type(instance), self.model))
        if action in self.on and is_own:
            events = self.events(action, instance, using=using, saved=update_fields, before=before)
            self.append(events, using=using)

    def before_delete(self, instance: Model, using: str, origin: Any = None, **kwargs: Any) -> None:
        """Make the event while what it tells can still be read.

        A row may be deleted as one of the model and as one of its proxy, in one deletion.
        """
        pk = self._pk(instance)
        tells = self._tells_in_deletion(origin).setdefault(pk, type(instance))
        if tells is not type(instance):
            self._stash(instance, None)
            return
        values = None
        if isinstance(origin, self.model) and self._pk(origin) == pk and self.payload is None:
            # What was set on it and never saved is not what is deleted.
            values = stored_row(self.model, pk, self.fields, using=using)
        self._stash(instance, [*self.events("deleted", instance, using=using, values=values)])

    def after_delete(self, instance: Model, using: str, origin: Any = None, **kwargs: Any) -> None:
        events = self._unstash(instance)
        if events is not None:
            tells = self._tells_in_deletion(origin)
            tells.pop(self._pk(instance), None)
            if not tells and origin is not None:
                origin.__dict__.pop(self._deleted, None)
            self.append(events, using=using)

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
        if (raw or instance.__dict__.get(_LOADED)) and not self.raw:
            return
        field = next(field for field in self.m2m if _through(field) is sender)
        if action in ("pre_remove", "pre_clear"):
            # A removal names what may not have been there, and a clearing names nothing.
            linked = _linked(field, instance, reverse=reverse, using=using)
            if pk_set is not None:
                # Keys are here as the caller gave them: "3" for the number 3.
                linked &= {_other_side(field, reverse=reverse).to_python(pk) for pk in pk_set}
            self._stash(instance, linked)
        elif action == "post_add":
            self._record_links(field, "added", instance, pk_set or set(), reverse, using)
        elif action in ("post_remove", "post_clear"):
            pks = self._unstash(instance) or set()
            self._record_links(field, "removed", instance, pks, reverse, using)

    def _record_links(
        self,
        field: "AnyManyToManyField",
        what: str,
        instance: Model,
        pks: set[Any],
        reverse: bool,
        using: str,
    ) -> None:
        owners: Iterable[Model] = [instance]
        if reverse:
            owners = QuerySet(self.model, using=using).filter(pk__in=pks).order_by("pk")
            pks = {instance.pk}
        action = f"{field.name}.{what}"
        events = [
            self._event(action, owner, {field.name: sorted(pks)})
            for owner in owners
            if pks and isinstance(owner, self.model) and self._is_wanted(owner)
        ]
        self.append(events, using=using)

    def events(
        self,
        action: str,
        instance: Model,
        *,
        using: str | None,
        saved: Collection[str] | None = None,
        before: Mapping[str, Any] | None = None,
        values: Values | None = None,
    ) -> Iterator[Values]:
        """The event of one change: none if it is not wanted, or is no change.

        `saved` are the names of the fields that were, all for None; `before` and `values` are
        those of the row before and after, as far as they are known.
        """
        if not self._is_wanted(instance):
            return
        tells_changes = self.changes and action == "updated" and before is not None
        if values is None and (self.payload is None or tells_changes):
            values = self.values(instance, using=using, saved=saved, before=before)
        data = values if self.payload is None else self.payload(instance)
        if tells_changes and before is not None and values is not None:
            changes = {
                attname: {"old": before[attname], "new": value}
                for attname, value in values.items()
                if before[attname] != value
            }
            if not changes:
                return
            if not isinstance(data, Mapping):
                raise InvalidEvent(
                    f"The payload of {self.model._meta.label} must be a dict, since changes=True "
                    f"adds to it. It is a {type(data).__name__}."
                )
            data = {**data, "changes": changes}
        yield self._event(action, instance, data)

    def values(
        self,
        instance: Model,
        *,
        using: str | None,
        saved: Collection[str] | None = None,
        before: Mapping[str, Any] | None = None,
    ) -> Values:
        """The chosen fields as the database has them.

        What the instance cannot tell is read: a field that is deferred, computed by the database,
        or not among those that were `saved`, unless it is known from `before`.
        """
        values: Values = {}
        unknown = []
        for field in self.fields:
            attname = field.attname
            is_saved = saved is None or attname in saved or field.name in saved
            if not is_told_by(instance, field):
                unknown.append(field)
            elif is_saved:
                values[attname] = plain(field, instance.__dict__[attname])
            elif before:
                values[attname] = before[attname]
            else:
                unknown.append(field)
        if unknown:
            read = stored_row(self.model, self._pk(instance), unknown, using=using) or {}
            values = self._in_order({**values, **read})
        return values

    def values_of_rows(self, instances: Iterable[Model]) -> dict[Any, Values]:
        """Those of instances that have just been read, by primary key, without a query."""
        return {
            instance.pk: {f.attname: plain(f, instance.__dict__[f.attname]) for f in self.fields}
            for instance in instances
        }

    def events_of_many(
        self, action: str, instances: Iterable[Model], *, using: str | None
    ) -> Iterator[Values]:
        """The events of each, with one query for all that they do not know, not one for each."""
        remaining = iter(instances)
        while some := [*islice(remaining, _PORTION)]:
            read: dict[Any, Values] = {}
            unknown = [
                field
                for field in ([] if self.payload else self.fields)
                if any(not is_told_by(instance, field) for instance in some)
            ]
            if unknown:
                pks = [pk for instance in some if (pk := self._pk(instance)) is not None]
                read = stored(self.model, pks, unknown, using=using)
            for instance in some:
                told = {
                    field.attname: plain(field, instance.__dict__[field.attname])
                    for field in self.fields
                    if field.attname in instance.__dict__
                    and not hasattr(instance.__dict__[field.attname], "resolve_expression")
                }
                values = self._in_order({**told, **read.get(self._pk(instance), {})})
                yield from self.events(action, instance, using=using, values=values)

    def events_of_rows(
        self, rows: Collection[Model], *, using: str, before: Mapping[Any, Values]
    ) -> Iterator[Values]:
        """Of rows that were updated, and read anew. `before` are the old values by primary key."""
        values = self.values_of_rows(rows)
        for row in rows:
            yield from self.events(
                "updated", row, using=using, before=before.get(row.pk), values=values[row.pk]
            )

    def _in_order(self, values: Values) -> Values:
        return {f.attname: values[f.attname] for f in self.fields if f.attname in values}

    def _event(self, action: str, instance: Model, data: Any) -> Values:
        pk = self._pk(instance)
        return cloud_event(
            f"{self.model._meta.label_lower}.{action}",
            data,
            subject=_as_text(pk),
            **(middleware.actor() if self.actor else {}),
        )

    def append(self, events: Iterable[Values], *, using: str) -> None:
        # What the events tell of is done, or will be: nobody waits for an error.
        self.bucket.hand_over(events, using=using, is_late=True)

    def _is_wanted(self, instance: Model) -> bool:
        return self.when is None or bool(self.when(instance))

    def _stash(self, instance: Model, found: Any) -> None:
        """Keep what a signal before the change has found for the one after it."""
        # A stack, since a receiver may change the same instance in between.
        instance.__dict__.setdefault(_STASH, {}).setdefault(id(self), []).append(found)

    def _unstash(self, instance: Model) -> Any:
        stash = instance.__dict__.get(_STASH, {})
        stack = stash.get(id(self))
        found = stack.pop() if stack else None
        if not stack:
            stash.pop(id(self), None)
        if not stash:
            instance.__dict__.pop(_STASH, None)
        return found

    @property
    def _tells_changes(self) -> bool:
        """Whether what was before a save has to be known after it."""
        return self.changes and "updated" in self.on

    @property
    def _deleted(self) -> str:
        """Attribute of what a deletion began with: as which class each row in it is recorded."""
        return f"_jsonbuffer_deleted_{id(self)}"

    def _tells_in_deletion(self, origin: Any) -> dict[Any, type[Model]]:
        """By the key of a row in this deletion, the class as whose instance it is recorded."""
        if origin is None:
            return {}
        tells: dict[Any, type[Model]] = origin.__dict__.setdefault(self._deleted, {})
        return tells

    def _pk(self, instance: Model) -> Any:
        """Of the recorded model's row. A child with several parents has a key for each."""
        return getattr(instance, self.model._meta.pk.attname)


recordings: Final[list[Recording]] = []
_waiting: Final[list[tuple["Bucket", type[Model] | str, Mapping[str, Any]]]] = []


def record(bucket: "Bucket", model: type[Model] | str, **options: Any) -> None:
    """Begin a recording, as soon as all models are loaded. Raises :class:`BufferMisconfigured`."""
    if not apps.models_ready:
        _waiting.append((bucket, model, options))
        return
    recording = _recording(bucket, model, **options)
    for other in recordings:
        if other.bucket.name != bucket.name or other.model is not recording.model:
            continue
        if twice := sorted(other.on & recording.on) or sorted(
            field.name for field in {*other.m2m} & {*recording.m2m}
        ):
            raise BufferMisconfigured(
                f"Bucket {bucket.name!r} records {recording.model._meta.label} twice: "
                f"{', '.join(twice)}. Leave one out, or use two buckets."
            )
    recordings.append(recording)
    recording.connect()


def record_waiting() -> None:
    """Begin the recordings that were asked for before all models were loaded."""
    while _waiting:
        bucket, model, options = _waiting.pop(0)
        record(bucket, model, **options)


def hook(
    bucket: "Bucket", signal: Signal, function: Callable[..., Any], *, sender: Any = None
) -> None:
    """Append what the function makes of each signal."""

    def append(result: Any, using: str | None) -> None:
        if result is not None:
            several = isinstance(result, list | tuple) or isgenerator(result)
            bucket.hand_over(result if several else [result], using=using, is_late=True)

    def receive(**kwargs: Any) -> None:
        append(function(**kwargs), _alias(kwargs))

    async def areceive(**kwargs: Any) -> None:
        await sync_to_async(append)(await function(**kwargs), _alias(kwargs))

    signal.connect(
        areceive if iscoroutinefunction(function) else receive,
        sender=sender,
        weak=False,
        dispatch_uid=(bucket.name, function),
    )


def _alias(kwargs: Mapping[str, Any]) -> str | None:
    """The database that a signal is about, if it is about one."""
    using = kwargs.get("using")
    return using if using in [*connections] else None


def recordings_of(model: type[Model], action: str) -> list[Recording]:
    return [r for r in recordings if issubclass(model, r.model) and action in r.on]


def bulk_events(
    bucket: "Bucket", objects: Iterable[Model], action: str, *, using: str | None
) -> Iterator[Values]:
    """As the bucket records their model, and with all of its fields if it does not."""
    if action not in ACTIONS:
        raise BufferMisconfigured(f"An action is one of {', '.join(ACTIONS)}, not {action!r}.")
    chosen: dict[type[Model], Recording] = {}

    def recording_and_alias(instance: Model) -> tuple[Recording, str | None]:
        if not isinstance(instance, Model):
            raise InvalidEvent(f"record_bulk() takes model instances, not {instance!r:.60}.")
        model = type(instance)
        if model not in chosen:
            own = [r for r in recordings if r.bucket.name == bucket.name]
            fitting = [r for r in own if issubclass(model, r.model)]
            fitting.sort(key=lambda r: (action not in r.on, model.__mro__.index(r.model)))
            chosen[model] = fitting[0] if fitting else _recording(bucket, model)
        return chosen[model], using or instance._state.db

    for (recording, alias), instances in groupby(objects, key=recording_and_alias):
        yield from recording.events_of_many(action, instances, using=alias)


def _recording(
    bucket: "Bucket",
    model: type[Model] | str,
    *,
    on: Collection[str] = ACTIONS,
    fields: Collection[str] | None = None,
    exclude: Collection[str] = (),
    m2m: Collection[str] = (),
    when: Callable[[Any], object] | None = None,
    payload: Callable[[Any], Any] | None = None,
    changes: bool = False,
    raw: bool = False,
    actor: bool = False,
) -> Recording:
    cls = _model(bucket, model)
    actions = frozenset([on] if isinstance(on, str) else on)
    if unknown := sorted(actions - {*ACTIONS}):
        raise BufferMisconfigured(
            f"Bucket {bucket.name!r} cannot record {cls._meta.label} on "
            f"{', '.join(map(repr, unknown))}. Use {', '.join(ACTIONS)}."
        )
    chosen = _fields(bucket, cls, "fields", fields, cls._meta.concrete_fields)
    if fields is None:
        chosen = [field for field in chosen if field.name not in _LEFT_OUT]
    left_out = _fields(bucket, cls, "exclude", exclude, cls._meta.concrete_fields)
    recording = Recording(
        bucket=bucket,
        model=cls,
        on=actions,
        fields=tuple(field for field in chosen if field not in left_out),
        m2m=tuple(_fields(bucket, cls, "m2m", m2m, cls._meta.many_to_many)),
        when=when,
        payload=payload,
        changes=changes,
        raw=raw,
        actor=actor,
    )
    for option, function in (("when", when), ("payload", payload)):
        if function is not None and not callable(function):
            raise BufferMisconfigured(
                f"Bucket {bucket.name!r} cannot record {cls._meta.label} with {option}="
                f"{function!r}. It takes a function of an instance."
            )
    if changes and any(field.attname == "changes" for field in recording.fields):
        raise BufferMisconfigured(
            f"{cls._meta.label} has a field 'changes', where changes=True puts its own. Exclude it."
        )
    return recording


def _model(bucket: "Bucket", model: type[Model] | str) -> type[Model]:
    try:
        cls = apps.get_model(model) if isinstance(model, str) else model
    except (LookupError, ValueError) as error:
        raise BufferMisconfigured(
            f"Bucket {bucket.name!r} cannot record {model!r}: {error} Name it as 'app.Model'."
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, Model)):
        raise BufferMisconfigured(f"Bucket {bucket.name!r} can record a model, and not {cls!r}.")
    if cls._meta.swapped:
        raise BufferMisconfigured(
            f"Bucket {bucket.name!r} cannot record {cls._meta.label}, which the settings have "
            f"swapped for {cls._meta.swapped}: record that."
        )
    if cls._meta.abstract:
        raise BufferMisconfigured(
            f"Bucket {bucket.name!r} cannot record the abstract {cls._meta.label}: record the "
            "models that derive from it."
        )
    return cls


def _fields(
    bucket: "Bucket",
    model: type[Model],
    option: str,
    names: Collection[str] | None,
    candidates: Collection[Any],
) -> list[Any]:
    """The fields of these names or attnames; all candidates for None."""
    if names is None:
        return [*candidates]
    known = {name: field for field in candidates for name in (field.name, field.attname)}
    if isinstance(names, str) or (unknown := [name for name in names if name not in known]):
        raise BufferMisconfigured(
            f"Bucket {bucket.name!r} cannot record {model._meta.label} with {option}="
            f"{names if isinstance(names, str) else unknown!r}. It takes a list of "
            f"{', '.join(field.name for field in candidates) or 'nothing: there are none'}."
        )
    return [known[name] for name in names]


def _with_subclasses(model: type[Model]) -> Iterator[type[Model]]:
    if not model._meta.abstract:
        yield model
    for subclass in model.__subclasses__():
        yield from _with_subclasses(subclass)


def _is_sibling(model: type[Model], other: type[Model]) -> bool:
    """Whether both have the same table: as a proxy and its model, or two proxies."""
    return model._meta.concrete_model is other._meta.concrete_model


def _through(field: "AnyManyToManyField") -> type[Model]:
    return cast(type[Model], field.remote_field.through)


def _linked(field: "AnyManyToManyField", instance: Model, *, reverse: bool, using: str) -> set[Any]:
    """Keys of what is linked with the instance, which is on the other side of it if `reverse`."""
    own, other = field.m2m_field_name(), field.m2m_reverse_field_name()
    if reverse:
        own, other = other, own
    links: QuerySet[Any] = QuerySet(_through(field), using=using).filter(**{own: instance})
    return {*links.values_list(f"{other}_id", flat=True)}


def _other_side(field: "AnyManyToManyField", *, reverse: bool) -> "AnyField":
    """The through model's field for what is linked with the instance."""
    name = field.m2m_field_name() if reverse else field.m2m_reverse_field_name()
    return cast("AnyField", _through(field)._meta.get_field(name))


def _as_text(pk: Any) -> str | None:
    """None for a key that is not known: not every database tells those of bulk_create()."""
    if isinstance(pk, tuple):
        return ",".join(map(str, pk))
    return None if pk is None else str(pk)
