"""Async variants of methods that block."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

P = ParamSpec("P")
R = TypeVar("R")


def asynchronous(
    method: Callable[P, R], *, uses_database: bool = False
) -> Callable[P, Coroutine[Any, Any, R]]:
    """The method as a coroutine function, which calls it in a thread.

    With `uses_database`, that is the thread of Django's ORM. Otherwise it is another one, so that
    no slow query delays the call.
    """

    @wraps(method)
    async def coroutine(*args: P.args, **kwargs: P.kwargs) -> R:
        return await sync_to_async(method, thread_sensitive=uses_database)(*args, **kwargs)

    coroutine.__name__ = f"a{method.__name__}"
    coroutine.__doc__ = f"Like :meth:`{method.__name__}`, in async code."
    return coroutine
