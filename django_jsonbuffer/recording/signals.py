"""The signals of a recording.

Receivers are connected only to the recorded classes, so that changes of other models cost nothing.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save
from django.dispatch import Signal

from django_jsonbuffer.django_internals.models import (
    ReceiverId,
    have_one_table,
    model_with_table,
    run_first,
)

from .deletions import Deletions
from .events import Recording
from .links import Links, through
from .saves import Saves


class _Connection(NamedTuple):
    """One receiver of a recording."""

    signal: Signal
    receiver: Callable[..., None]
    sender: type[Model]


def connect(recording: Recording) -> None:
    """Connect the receivers to the signals that the recording needs, and to no more."""
    for field in recording.m2m:
        links = Links(recording, field)
        uid = ReceiverId(id(recording), field.name)
        m2m_changed.connect(links.on_change, through(field), weak=False, dispatch_uid=uid)
    connections: list[_Connection] = []
    # A proxy's child is deleted in the name of the child and of the proxy's model, never in the
    # name of the proxy.
    if recording.model._meta.proxy and "deleted" in recording.on:
        connections += _of_deletions(recording, model_with_table(recording.model))
    _connect(recording, connections)
    for cls in _with_subclasses(recording.model):
        connect_class(recording, cls)


def connect_class(recording: Recording, cls: type[Model]) -> None:
    """Connect the receivers for the recorded model itself, or for a subclass of it."""
    _connect(recording, [*_of_class(recording, cls)])


def disconnect(recording: Recording) -> None:
    """Disconnect all receivers of the recording."""
    for field in recording.m2m:
        m2m_changed.disconnect(
            sender=through(field), dispatch_uid=ReceiverId(id(recording), field.name)
        )
    for signal in (pre_save, post_save, pre_delete, post_delete):
        for sender in {*_with_subclasses(recording.model), model_with_table(recording.model)}:
            signal.disconnect(sender=sender, dispatch_uid=ReceiverId(id(recording)))


def _connect(recording: Recording, connections: list[_Connection]) -> None:
    for signal, receiver, sender in connections:
        signal.connect(receiver, sender=sender, weak=False, dispatch_uid=ReceiverId(id(recording)))
        if signal in (post_save, pre_delete):
            run_first(signal)


def _of_class(recording: Recording, cls: type[Model]) -> Iterator[_Connection]:
    saves = Saves(recording, cls)
    if saves.sees_before:
        yield _Connection(pre_save, saves.before_save, cls)
    if recording.on & {"created", "updated"}:
        yield _Connection(post_save, saves.after_save, cls)
    # When a child's row is deleted, Django sends the signal for each of its parents as well, so
    # child models need no receiver. A proxy is not among the parents.
    gets_signal = recording.model._meta.proxy or have_one_table(cls, recording.model)
    if "deleted" in recording.on and gets_signal:
        yield from _of_deletions(recording, cls)


def _of_deletions(recording: Recording, cls: type[Model]) -> list[_Connection]:
    deletions = Deletions(recording)
    return [
        _Connection(pre_delete, deletions.before_delete, cls),
        _Connection(post_delete, deletions.after_delete, cls),
    ]


def _with_subclasses(model: type[Model]) -> Iterator[type[Model]]:
    """The model, its proxies and its child models, at any depth."""
    if not model._meta.abstract:
        yield model
    for subclass in model.__subclasses__():
        yield from _with_subclasses(subclass)
