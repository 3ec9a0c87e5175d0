"""Events that a function of the project makes of any signal."""

from collections.abc import Callable, Mapping
from inspect import iscoroutinefunction, isgenerator
from typing import Any, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections
from django.dispatch import Signal

from .destination import Destination

F = TypeVar("F", bound=Callable[..., Any])


def hook(destination: Destination, signal: Signal, function: F, *, sender: Any = None) -> F:
    """Append the events that the function returns for each signal: one, a list, or None."""

    def append(result: Any, using: str | None) -> None:
        if result is not None:
            are_several = isinstance(result, list | tuple) or isgenerator(result)
            its_events = [*result] if are_several else [result]
            destination.append_recorded(its_events, using=using, by_subject=False)

    def receive(**kwargs: Any) -> None:
        append(function(**kwargs), _alias(kwargs))

    async def areceive(**kwargs: Any) -> None:
        await sync_to_async(append)(await function(**kwargs), _alias(kwargs))

    signal.connect(
        areceive if iscoroutinefunction(function) else receive,
        sender=sender,
        weak=False,
        dispatch_uid=(destination.name, function),
    )
    return function


def _alias(kwargs: Mapping[str, Any]) -> str | None:
    """The database that the signal names as ``using``; None if it names none."""
    using = kwargs.get("using")
    # A list, because a value that is not hashable cannot be looked up in the connections.
    return using if using in [*connections] else None
