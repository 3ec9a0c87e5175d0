"""The display text of a value: of one of the field's choices, or of the row it points to."""

from contextlib import suppress
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import BinaryField, Model

from .unchanged import has_known_class, source_of
from .values import is_expression, plain


def label(field: Any, value: Any, *, using: str, instance: Model | None = None) -> str | None:
    """The text for users of a value in an event. None if the value is None, or has no text.

    `instance` may hold the row that the value points to. Otherwise a query reads it.
    """
    if value is None:
        return None
    if not field.is_relation:
        return next(
            (str(text) for key, text in field.flatchoices if plain(field, key) == value), None
        )
    related = _held(field, value, instance)
    if related is None and has_known_class(field) and not isinstance(source_of(field), BinaryField):
        # The base manager finds rows that the default manager hides.
        rows = field.remote_field.model._base_manager.using(using)
        related = rows.filter(**{field.target_field.attname: value}).first()
    return None if related is None else str(related)


def _held(field: Any, value: Any, instance: Model | None) -> Any:
    """The row that the instance points to, if it points to the one with this value."""
    held = None if instance is None else instance.__dict__.get(field.attname)
    if held is None or is_expression(held) or plain(source_of(field), held) != value:
        return None
    with suppress(ObjectDoesNotExist):
        return getattr(instance, field.name)
    return None
