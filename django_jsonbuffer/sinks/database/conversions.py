"""A value of an event becomes the value of a model field."""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation, localcontext
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files import File
from django.db.models import (
    BooleanField,
    CharField,
    DateTimeField,
    DecimalField,
    FileField,
    FloatField,
    ForeignKey,
    IntegerField,
    TextField,
)
from django.utils import timezone

from django_jsonbuffer.django_internals.inserts import has_database_default
from django_jsonbuffer.exceptions import JSONBufferError

if TYPE_CHECKING:
    from django_jsonbuffer.django_internals.models import AnyField

Convert = Callable[[Any], Any]


class EventDoesNotFit(JSONBufferError, ValueError):
    """An event cannot become a row of the model. Nothing of this event was written."""


def conversion(field: "AnyField") -> Convert:
    """A function that turns a JSON value into a value of the field.

    It raises :class:`EventDoesNotFit` if the value is wrong. The error names the field and the
    reason.
    """
    final = final_field(field)
    plain = _PLAIN.get(getattr(type(final), "to_python", None))
    to_python = _to_python(final)
    may_be_null = field.null or field.primary_key

    def convert(value: Any) -> Any:
        if type(value) is plain:
            return value
        if value is None:
            if may_be_null:
                return None
            raise EventDoesNotFit(f"Field {field.name!r} must not be null.")
        try:
            return to_python(value)
        except (ValidationError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
            raise EventDoesNotFit(f"Field {field.name!r}: {_reason(error)}") from error

    return convert


def final_field(field: "AnyField") -> Any:
    """The field itself, or the field that a foreign key refers to, through all links."""
    found: Any = field
    while isinstance(found, ForeignKey):
        found = found.target_field
    return found


def is_required(field: "AnyField") -> bool:
    """Whether a new row needs a value for this field that the model itself does not give.

    Text fields without a default get the empty text.
    """
    return not (
        field.null
        or field.has_default()
        or has_database_default(field)
        or getattr(field, "auto_now", False)
        or getattr(field, "auto_now_add", False)
        or field.get_default() is not None
        or field.get_internal_type().endswith("AutoField")
    )


_PLAIN: Final[Mapping[object, type]] = {
    BooleanField.to_python: bool,
    CharField.to_python: str,
    FloatField.to_python: float,
    IntegerField.to_python: int,
    TextField.to_python: str,
}
"""Types whose values these methods return unchanged."""


def _to_python(field: Any) -> Convert:
    if isinstance(field, CharField | TextField):
        return lambda value: field.to_python(_not_nested(value))
    if isinstance(field, IntegerField):
        return lambda value: field.to_python(_whole(value))
    if isinstance(field, DecimalField):
        return lambda value: rounded(field, field.to_python(value))
    if isinstance(field, FileField):
        return lambda value: field.to_python(_name_of_file(value))
    if isinstance(field, DateTimeField):
        return lambda value: _in_the_right_zone(field.to_python(value))
    convert: Convert = field.to_python
    return convert


def _not_nested(value: Any) -> Any:
    if isinstance(value, dict | list):
        raise ValueError("must be text, not an object or a list.")
    return value


def _name_of_file(value: Any) -> Any:
    if not isinstance(value, str | File):
        raise ValueError("must be the name of a file.")
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value!r} is not a whole number.")
    return value


def rounded(field: "DecimalField[Any, Any]", value: Decimal | None) -> Decimal | None:
    """The number with the places of the column, as PostgreSQL rounds it.

    Raises ``ValueError`` if the column cannot have it. SQLite itself would store it, and Django
    could not read it.
    """
    if value is None or field.decimal_places is None or field.max_digits is None:
        return value
    place = Decimal(1).scaleb(-field.decimal_places)
    try:
        with localcontext(prec=max(field.max_digits, 1), rounding=ROUND_HALF_UP):
            return value.quantize(place)
    except InvalidOperation as error:
        raise ValueError(f"{value!s:.60} has too many digits.") from error


def _in_the_right_zone(value: datetime | None) -> datetime | None:
    """As Django does it: a time without a zone is a time in the time zone of the settings."""
    if value is None or timezone.is_aware(value) == bool(settings.USE_TZ):
        return value
    zone = timezone.get_default_timezone()
    return timezone.make_aware(value, zone) if settings.USE_TZ else timezone.make_naive(value, zone)


def _reason(error: Exception) -> str:
    text = " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"


_LONGEST_REASON: Final = 200
