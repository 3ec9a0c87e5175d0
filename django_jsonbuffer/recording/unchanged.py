"""Values that a database is known to store unchanged.

A save leaves them on the instance as the database has them, so no query is needed to read them. All
other values are read after the save: their field may prepare them, or the database may round or
normalize them.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.enums import Choices
from django.db.models.fields.files import FieldFile, ImageFieldFile

from django_jsonbuffer.django_internals.databases import (
    compares_text_exactly,
    stores_values_unchanged,
)
from django_jsonbuffer.django_internals.models import (
    has_plain_attribute,
    is_generated,
    own_class_of_django,
)

from .values import is_expression, plain

if TYPE_CHECKING:
    AnyField = models.Field[Any, Any]

_EXACT: Final = Context(prec=28)

UNKNOWN: Final[Any] = object()
"""Stands for a value that must be read from the database."""

Form = Callable[["AnyField", Any], Any]
"""Returns the form of a value in an event, or UNKNOWN."""


def _same(field: "AnyField", value: Any) -> Any:
    return value


def _float(field: "AnyField", value: float) -> Any:
    # SQLite stores -0.0 as 0.0, and NaN as NULL.
    is_negative_zero = value == 0 and math.copysign(1, value) < 0
    return UNKNOWN if is_negative_zero or not math.isfinite(value) else value


def _decimal(field: Any, value: Decimal) -> Any:
    places = field.decimal_places
    if places is None or not value.is_finite() or (not value and value.is_signed()):
        return UNKNOWN
    _, digits, exponent = value.as_tuple()
    spare = int(exponent) + places
    # SQLite stores decimals as floats, which keep 15 digits.
    if spare < 0 or len(digits) + spare > 15:
        return UNKNOWN
    return value.quantize(Decimal(1).scaleb(-places), context=_EXACT) if spare else value


def _datetime(field: "AnyField", value: datetime) -> Any:
    # Without a time zone, PostgreSQL moves a time that a change of clocks leaves out.
    if value.tzinfo is None or not settings.USE_TZ:
        return UNKNOWN
    try:
        return value.astimezone(UTC)
    except OverflowError:
        return UNKNOWN


def _time(field: "AnyField", value: time) -> Any:
    return value if value.tzinfo is None else UNKNOWN


def _json(field: Any, value: Any) -> Any:
    has_own_coding = field.decoder is not None or field.encoder not in (None, DjangoJSONEncoder)
    # A copy, because a mask may change it.
    return plain(field, value) if not has_own_coding and _is_plain_json(value) else UNKNOWN


def _is_plain_json(value: Any) -> bool:
    """Whether every database returns the value as it is. PostgreSQL and MySQL change floats."""
    kind = type(value)
    if kind is dict:
        return all(type(k) is str and _is_plain_json(each) for k, each in value.items())
    if kind is list:
        return all(map(_is_plain_json, value))
    if kind is int:
        return bool(-(2**63) <= value < 2**63)
    return kind in (str, bool, type(None))


def _file(field: "AnyField", value: FieldFile) -> Any:
    return UNKNOWN if value.name is None else value.name


_NULL: Final[Mapping[type, Form]] = {type(None): _same}
_TEXT: Final[Mapping[type, Form]] = {str: _same, **_NULL}
_NUMBER: Final[Mapping[type, Form]] = {int: _same, **_NULL}

_FORMS: Final[Mapping[type, Mapping[type, Form]]] = {
    models.AutoField: _NUMBER,
    models.BigAutoField: _NUMBER,
    models.SmallAutoField: _NUMBER,
    models.IntegerField: _NUMBER,
    models.BigIntegerField: _NUMBER,
    models.SmallIntegerField: _NUMBER,
    models.PositiveIntegerField: _NUMBER,
    models.PositiveBigIntegerField: _NUMBER,
    models.PositiveSmallIntegerField: _NUMBER,
    models.CharField: _TEXT,
    models.TextField: _TEXT,
    models.SlugField: _TEXT,
    models.EmailField: _TEXT,
    models.URLField: _TEXT,
    models.BooleanField: {bool: _same, **_NULL},
    models.FloatField: {float: _float, **_NULL},
    models.DecimalField: {Decimal: _decimal, **_NULL},
    models.DateField: {date: _same, **_NULL},
    models.TimeField: {time: _time, **_NULL},
    models.DateTimeField: {datetime: _datetime, **_NULL},
    models.DurationField: {timedelta: _same, **_NULL},
    models.UUIDField: {UUID: _same, **_NULL},
    models.BinaryField: {bytes: plain, **_NULL},
    models.JSONField: {dict: _json, list: _json, str: _json, int: _json, bool: _json, **_NULL},
    models.FileField: {FieldFile: _file},
    models.ImageField: {ImageFieldFile: _file},
}
"""For each field class of Django: the types whose values every supported database stores unchanged,
each with a function that returns the form of the value. A value of any other type is read back."""


class Column(NamedTuple):
    """A recorded field of one class of instances."""

    field: "AnyField"
    attname: str
    source: "AnyField"
    """The field whose values this one has: another one for a foreign key."""

    has_plain_attribute: bool
    forms: Mapping[type, Form]
    """Empty if the field's values are always read from the database."""

    def known(self, held: Mapping[str, Any], is_fresh: bool) -> Any:
        """The form of the value that an instance holds; UNKNOWN if only the database knows it.

        An instance that `is_fresh` has just been read, and not been changed.
        """
        value = held.get(self.attname, UNKNOWN)
        if is_fresh and self.has_plain_attribute and value is not UNKNOWN:
            return plain(self.field, value)
        form = self.forms.get(type(value))
        if form is None and isinstance(value, Choices):
            value = value.value
            form = self.forms.get(type(value))
        return UNKNOWN if form is None else form(self.source, value)


def columns(
    cls: type[models.Model],
    fields: tuple["AnyField", ...],
    *,
    using: str,
    read_back: bool = False,
) -> tuple[Column, ...]:
    """The fields, with the types of which instances of this class hold what is in the database."""
    are_known = not read_back and stores_values_unchanged(cls, using)
    return tuple(_column(cls, field, using, are_known) for field in fields)


def source_of(field: Any) -> Any:
    """The field whose values the field has: another one for a foreign key."""
    while own_class_of_django(field) in (models.ForeignKey, models.OneToOneField):
        field = field.target_field
    return field


def has_known_class(field: Any) -> bool:
    """Whether Django alone decides what is stored for values of this field, or foreign key."""
    return own_class_of_django(source_of(field)) in _FORMS


def guessed(field: "AnyField", value: Any) -> Any:
    """The likely form of a value that cannot be read from the database: its row is gone."""
    if is_expression(value):
        return None
    if has_known_class(field):
        with suppress(Exception):  # the instance may hold anything
            value = source_of(field).to_python(value)
    return plain(field, value)


def _column(cls: type[models.Model], field: "AnyField", using: str, are_known: bool) -> Column:
    source = source_of(field)
    is_plain = has_plain_attribute(cls, field)
    forms: Mapping[type, Form] = {}
    if are_known and is_plain and not is_generated(field):
        forms = _FORMS.get(own_class_of_django(source) or type(None), forms)
        # An UPDATE finds the row by its key, and leaves the key as it is.
        is_key = field.primary_key or field in field.model._meta.pk_fields
        if is_key and str in forms and not compares_text_exactly(source, using):
            forms = {}
    return Column(field, field.attname, source, is_plain, forms)
