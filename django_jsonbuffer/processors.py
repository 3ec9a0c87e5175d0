"""The function that processes the batches of a bucket."""

from collections.abc import Callable
from inspect import isasyncgenfunction, isgeneratorfunction
from typing import Any, NamedTuple

from django.conf import settings

from .exceptions import BufferMisconfigured


class Processor(NamedTuple):
    """The function that processes a bucket's batches."""

    function: Callable[[Any], object]
    """Called with a :class:`~django_jsonbuffer.Batch`."""

    atomic: str | None
    """Alias of a database. Each batch is processed in a transaction of that database."""


def check_processor(name: str, function: object, atomic: str | None) -> None:
    """Raise :class:`BufferMisconfigured` if the processor could not work."""
    wrong = ""
    if not callable(function):
        wrong = f"must be callable, not {function!r}."
    elif isinstance(function, type):
        wrong = f"is the class {function.__name__}. Give it an instance: {function.__name__}(…)."
    elif isgeneratorfunction(function) or isasyncgenfunction(function):
        wrong = "is a generator function, and a call does not run its body. Take the yield out."
    elif atomic is not None and atomic not in settings.DATABASES:
        wrong = f"has atomic={atomic!r}, but DATABASES has no such alias. Correct the alias."
    elif atomic is not None and not settings.DATABASES[atomic].get("AUTOCOMMIT", True):
        wrong = (
            f"has atomic={atomic!r}, but AUTOCOMMIT of this database is off, so Django would not "
            "commit the transaction. Leave atomic= out, and let the processor commit."
        )
    if wrong:
        raise BufferMisconfigured(f"The processor of bucket {name!r} {wrong}")
