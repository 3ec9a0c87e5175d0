"""The options of a bucket, as text for its page."""

from dataclasses import fields
from datetime import timedelta
from typing import Any

from django_jsonbuffer.figures import Age, format_count
from django_jsonbuffer.options import Options


def describe_options(options: Options) -> list[tuple[str, str]]:
    """Name and text of each option."""
    return [(field.name, _describe(getattr(options, field.name))) for field in fields(options)]


def _describe(value: Any) -> str:
    if isinstance(value, timedelta):
        age = Age.of(value)
        return age.words if value >= timedelta(seconds=1) else age.exact
    if isinstance(value, int):
        return format_count(value)
    if isinstance(value, tuple):
        return ", ".join(kind.__qualname__ for kind in value) or "–"
    if value is None:
        return "–"
    if callable(value):  # its repr may contain secrets, such as the arguments of a partial
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    return str(value)
