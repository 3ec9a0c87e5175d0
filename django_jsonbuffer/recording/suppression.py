"""Blocks of code whose changes are not recorded."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from django.apps import apps
from django.db.models import Model

from django_jsonbuffer.exceptions import BufferMisconfigured

_suppressed: Final[ContextVar[tuple[type[Model], ...]]] = ContextVar("suppressed", default=())


@contextmanager
def not_recorded(*models: type[Model] | str) -> Iterator[None]:
    """Within the block, no bucket records changes of these models: for imports and backfills.

    Give a class or a label such as ``"shop.Order"`` for each model. Its proxies and child models
    are not recorded either. Without a model, nothing is recorded. The block applies to the current
    thread or task, and to the tasks that it starts.

    Raises :class:`BufferMisconfigured` if an argument is not a model.
    """
    added = tuple(map(_class, models)) or (Model,)
    token = _suppressed.set(_suppressed.get() + added)
    try:
        yield
    finally:
        _suppressed.reset(token)


def is_suppressed(model: type[Model]) -> bool:
    """Whether a block keeps changes of instances of this class from being recorded."""
    return issubclass(model, _suppressed.get())


def _class(model: type[Model] | str) -> type[Model]:
    try:
        cls = apps.get_model(model) if isinstance(model, str) else model
    except (LookupError, ValueError) as error:
        raise BufferMisconfigured(
            f"not_recorded() takes models, and {model!r} is none. Use 'app.Model'."
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, Model)):
        raise BufferMisconfigured(
            f"not_recorded() takes models as separate arguments, not {cls!r:.60}."
        )
    return cls
