"""``gathered()``: all appends of a block leave at its end, in one round trip a bucket."""

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial, wraps
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, Final, TypeVar, cast

from .groups import Append
from .sending import asend_all, send_all

F = TypeVar("F", bound=Callable[..., Any])


class gathered:  # noqa: N801  (used as a function)
    """Send everything that is appended in the block at its end, in one round trip a bucket.

    This includes events whose transaction is committed within the block. Events of a transaction
    that is still open at the end of the block leave at the commit. Inside another ``gathered()``,
    all events leave at the end of the outer block. The block covers code that runs in the same
    context: also coroutines that it awaits or gathers, but not threads or processes.

    If the block raises, the events that were appended before are sent nevertheless, as without
    ``gathered()``. Use ``gathered()`` as a context manager, in async code with ``async with``, or
    as a decorator. Each ``gathered()`` can be entered once.
    """

    def __init__(self, *, is_late: bool = False) -> None:
        self._is_late = is_late
        """Whether no caller waits for an error at the end, because a response is ready."""
        self._outer: Gathering | None = None
        self._own: Gathering | None = None
        self._is_entered = False

    def __call__(self, function: F) -> F:
        within = partial(gathered, is_late=self._is_late)
        if iscoroutinefunction(function):

            @wraps(function)
            async def async_wrapper(*args: Any, **kwargs: Any) -> Any:
                async with within():
                    return await function(*args, **kwargs)

            return cast(F, async_wrapper)

        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with within():
                return function(*args, **kwargs)

        return cast(F, wrapper)

    def __enter__(self) -> None:
        if self._is_entered:
            raise RuntimeError(
                "This gathered() was entered before. Call gathered() anew for each block."
            )
        self._is_entered = True
        self._outer = current.get()
        if self._outer is None or not self._outer.is_open:
            self._own = Gathering()
            current.set(self._own)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The error of an append must not hide an error of the block.
        send_all(self._close(), may_raise=error is None)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not (appends := self._close()):
            return
        sending = asyncio.ensure_future(asend_all(appends, may_raise=error is None))
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            # The client of the request has gone, but the changes are committed: send the events.
            await sending
            raise

    def _close(self) -> list[Append]:
        if self._own is None:
            return []
        current.set(self._outer)
        appends = self._own.close()
        for append in appends:
            append.is_late |= self._is_late
        return appends


class Gathering:
    """The appends of one ``gathered()`` block.

    A task that outlives the block finds it closed, so its appends leave at once. A forked child
    finds it closed as well, because the parent sends the events that were gathered before the fork,
    and would not know later events of the child.
    """

    def __init__(self) -> None:
        self._is_closed = False
        self._process = os.getpid()
        self._appends: list[Append] = []
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        return not self._is_closed and self._process == os.getpid()

    def add(self, appends: Sequence[Append]) -> bool:
        """Gather the appends. False if the block is closed."""
        if not self.is_open:
            return False
        for append in appends:
            append.check_size()
        with self._lock:
            if not self._is_closed:
                self._appends += appends
            return not self._is_closed

    def close(self) -> list[Append]:
        if not self.is_open:
            return []
        with self._lock:
            self._is_closed = True
        return self._appends


current: Final[ContextVar[Gathering | None]] = ContextVar("gathering", default=None)
"""The innermost block. It may be closed."""
