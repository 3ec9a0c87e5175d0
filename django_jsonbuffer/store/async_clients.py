"""The asyncio client of a cache alias, one for each event loop."""

import asyncio
import atexit
import os
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Final
from weakref import WeakSet

from django.core.signals import setting_changed
from django.dispatch import receiver

from .asyncio_twins import asyncio_twin
from .clients import clients
from .redis_asyncio import AsyncClient, abandon, close, is_in_use

_PAUSE_SECONDS: Final = 0.05


def client_of_loop(alias: str) -> AsyncClient | None:
    """The client of an alias for the running event loop, made at its first use.

    It has the settings of ``clients[alias]``, and raises the same errors. It is closed with the
    event loop. None if redis-py has no asyncio client that does the same, or if the event loop is
    being closed. Then use the synchronous client in a thread.
    """
    loop = asyncio.get_running_loop()
    origin = clients[alias]
    lent = _lent.get((loop, alias))
    if lent is None or lent.origin is not origin:
        lent = _lend(loop, alias, origin)
    return lent.client


class _Lent:
    """A client and its event loop. Other threads may only call :meth:`retire`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, origin: Any, client: AsyncClient | None
    ) -> None:
        self.loop = loop
        self.origin = origin
        self.client = client
        """None if redis-py has no such client, or once the client is being closed."""
        self._closing: AsyncGenerator[None, None] = self._close_with_loop(client)
        if client is not None:
            _open[self] = client
            # The loop closes each asynchronous generator that has begun. So it begins here.
            with suppress(StopIteration):
                self._closing.asend(None).send(None)

    def retire(self) -> None:
        """Close the client as soon as no task uses it."""
        try:
            self.loop.call_soon_threadsafe(self._begin_to_close)
        except RuntimeError:  # the loop is closed
            self.abandon()

    def abandon(self) -> None:
        """Close the sockets of the client, whose loop no longer runs."""
        if client := self._end():
            abandon(client)

    async def _close_with_loop(self, client: AsyncClient | None) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            if client is not None and self in _open:
                self.client = None
                _closing_loops.add(self.loop)
                await close(client)
                _open.pop(self, None)

    def _begin_to_close(self) -> None:
        if client := _open.get(self):
            self._task = self.loop.create_task(self._close(client))

    async def _close(self, client: AsyncClient) -> None:
        while is_in_use(client):
            await asyncio.sleep(_PAUSE_SECONDS)
        await close(client)
        self._end()

    def _end(self) -> AsyncClient | None:
        """Its client if it was not closed. The loop has nothing to close afterwards."""
        client, self.client = _open.pop(self, None), None
        with suppress(StopIteration, RuntimeError):  # the loop may be closing it at this moment
            self._closing.aclose().send(None)
        return client


_lent: dict[tuple[asyncio.AbstractEventLoop, str], _Lent] = {}

_open: dict[_Lent, AsyncClient] = {}
"""The clients that are not closed, also those from before a change of settings."""

_closing_loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()


def _lend(loop: asyncio.AbstractEventLoop, alias: str, origin: Any) -> _Lent:
    _abandon_those_of_closed_loops()
    if old := _lent.pop((loop, alias), None):
        old.retire()
    if loop in _closing_loops:
        return _Lent(loop, origin, None)
    _lent[loop, alias] = lent = _Lent(loop, origin, asyncio_twin(origin))
    return lent


def _abandon_those_of_closed_loops() -> None:
    """A loop can be closed without the generators that it should close before."""
    for key in [key for key in [*_lent] if key[0].is_closed()]:
        _lent.pop(key, None)
    for lent in [*_open]:
        if lent.loop.is_closed():
            lent.abandon()


@receiver(setting_changed)
def _retire_all(**kwargs: object) -> None:
    _lent.clear()
    for lent in [*_open]:
        lent.retire()


def _abandon_all() -> None:
    """In a child process after a fork: the connections are those of the parent."""
    _lent.clear()
    _closing_loops.clear()
    for lent in [*_open]:
        lent.abandon()


@atexit.register
def _abandon_at_exit() -> None:
    for lent in [*_open]:
        if not lent.loop.is_running():
            lent.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
