"""When an append leaves: at once, at the commit, or at the end of ``gathered()``."""

from collections.abc import Sequence

from django.db import DEFAULT_DB_ALIAS, connections

from django_jsonbuffer import tracing
from django_jsonbuffer.django_internals.transactions import allows_transactions_in_async_code
from django_jsonbuffer.options import Options
from django_jsonbuffer.store.appends import size_of
from django_jsonbuffer.store.store import Store

from . import gathering
from .commits import hold
from .groups import Append
from .sending import asend_all, send_all


def append(
    store: Store,
    options: Options,
    events: Sequence[bytes],
    *,
    using: str | None = None,
    now: bool = False,
    is_late: bool = False,
    shard: int | None = None,
) -> None:
    """Send encoded events when the transaction of the database `using` has been committed.

    Without `using`, this is the open transaction of the default database, or else of any other. If
    no transaction is open, send the events at the end of the surrounding ``gathered()``, or at
    once. With `now`, send them at once in any case. `is_late` says that no caller waits for an
    error of the append. `shard` is that of the ordering key, if there is one.
    """
    append = Append(store, options, events, size_of(events), is_late, shard)
    if (tracer := tracing.tracer) is None:
        _leave(append, using, now=now)
    else:
        with tracing.appending(tracer, store.name, len(events)) as append.context:
            _leave(append, using, now=now)


async def aappend(
    store: Store,
    options: Options,
    events: Sequence[bytes],
    *,
    using: str | None,
    now: bool,
    shard: int | None = None,
) -> None:
    """Like :func:`append`, in async code."""
    append = Append(store, options, events, size_of(events), shard=shard)
    if (tracer := tracing.tracer) is None:
        await _aleave(append, using, now=now)
    else:
        with tracing.appending(tracer, store.name, len(events)) as append.context:
            await _aleave(append, using, now=now)


def _leave(append: Append, using: str | None, *, now: bool) -> None:
    if now or not _is_held(append, using):
        send_all([append])


async def _aleave(append: Append, using: str | None, *, now: bool) -> None:
    if now or not (_is_held_in_async_code(append, using) or _is_gathered(append)):
        await asend_all([append])


def _is_held(append: Append, using: str | None) -> bool:
    """Hold the append for the commit of the open transaction, or for the end of ``gathered()``.

    False if there is neither.
    """
    connection = connections[using or DEFAULT_DB_ALIAS]
    if connection.in_atomic_block and hold(connection, append):
        return True
    if using is None and len(connections.settings) > 1:
        for other in connections.all(initialized_only=True):
            if other.in_atomic_block and hold(other, append):
                return True
    return _is_gathered(append)


def _is_held_in_async_code(append: Append, using: str | None) -> bool:
    """Hold the append for the commit of a transaction that async code has opened.

    Django has connections of their own for async code. No lookup may make one.
    """
    return allows_transactions_in_async_code() and any(
        each.in_atomic_block and using in (None, each.alias) and hold(each, append)
        for each in connections.all(initialized_only=True)
    )


def _is_gathered(append: Append) -> bool:
    gathered = gathering.current.get()
    return gathered is not None and gathered.add([append])
