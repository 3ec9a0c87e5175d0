"""Django's own fields."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from django.core.files.storage import InMemoryStorage
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.functions import Now

from tests.differential.forms import (
    BOOLEANS,
    BYTES,
    CODED_DOCUMENTS,
    DATES,
    DECIMALS,
    DOCUMENTS,
    DURATIONS,
    FILES,
    FLOATS,
    INTEGERS,
    IPS,
    MOMENTS,
    TEXTS,
    TIMES,
    UUIDS,
    Grade,
    Status,
)
from tests.differential.kinds import Form, Kind


def kind(name: str, make: Callable[..., Any], forms: Mapping[str, Form], **options: Any) -> Kind:
    return Kind(name=name, make=make, forms=forms, **options)


def _stored(cls: Any) -> Callable[..., Any]:
    """Its files are kept in memory."""
    return lambda **options: cls(storage=InMemoryStorage(), **options)


_char = partial(models.CharField, max_length=100)
_short = partial(models.DecimalField, max_digits=8, decimal_places=2)

SCALARS: Final = [
    *(
        kind(cls.__name__, cls, INTEGERS, base="default db_default generated")
        for cls in (
            *(models.IntegerField, models.SmallIntegerField, models.BigIntegerField),
            *(models.PositiveIntegerField, models.PositiveSmallIntegerField),
            models.PositiveBigIntegerField,
        )
    ),
    kind("IntegerField(choices)", models.IntegerField, INTEGERS, options={"choices": Grade}),
    kind("FloatField", models.FloatField, FLOATS, base="default db_default"),
    kind("DecimalField", _short, DECIMALS, base="default db_default"),
    kind("DecimalField(0)", partial(_short, decimal_places=0), DECIMALS, base="default"),
    kind("CharField", _char, TEXTS, base="default db_default generated"),
    kind("CharField(choices)", _char, TEXTS, options={"choices": Status}),
    kind("TextField", models.TextField, TEXTS, base="default generated"),
    kind("SlugField", models.SlugField, TEXTS, base="default"),
    kind("EmailField", models.EmailField, TEXTS),
    kind("URLField", models.URLField, TEXTS),
    kind("FilePathField", partial(models.FilePathField, path="/"), TEXTS),
    kind("BooleanField", models.BooleanField, BOOLEANS, base="default db_default"),
    kind("DateField", models.DateField, DATES, base="default db_default"),
    kind("TimeField", models.TimeField, TIMES, base="default"),
    kind("DateTimeField", models.DateTimeField, MOMENTS, base="default db_default"),
    kind("DurationField", models.DurationField, DURATIONS, base="default"),
    kind("UUIDField", models.UUIDField, UUIDS, base="default"),
    kind("JSONField", models.JSONField, DOCUMENTS, base="default"),
    kind(
        "JSONField(encoder)",
        partial(models.JSONField, encoder=DjangoJSONEncoder),
        CODED_DOCUMENTS,
    ),
    kind("BinaryField", models.BinaryField, BYTES),
    *(
        kind(cls.__name__, _stored(cls), FILES, is_volatile=True)
        for cls in (models.FileField, models.ImageField)
    ),
    kind("GenericIPAddressField", models.GenericIPAddressField, IPS),
    kind(
        "GenericIPAddressField(unpack)",
        partial(models.GenericIPAddressField, unpack_ipv4=True),
        IPS,
    ),
    *(
        kind(
            f"{cls.__name__}({option})",
            partial(cls, **options),
            forms,
            is_volatile=True,
            is_unset=True,
        )
        for option in ("auto_now", "auto_now_add")
        for options in [dict[str, Any]({option: True})]
        for cls, forms in (
            *((models.DateTimeField, MOMENTS), (models.DateField, DATES)),
            (models.TimeField, TIMES),
        )
    ),
    kind(
        "DateTimeField(db_default=Now())",
        partial(models.DateTimeField, db_default=Now()),
        MOMENTS,
        is_volatile=True,
        is_unset=True,
    ),
]
