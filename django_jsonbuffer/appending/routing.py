"""When an append leaves: at once, at the commit, or at the end of ``gathered()``."""

from collections.abc import Sequence

from django.db import DEFAULT_DB_ALIAS, connections

from django_jsonbuffer.options import MAX_APPEND_BATCHES, MAX_APPEND_BYTES, Options
from django_jsonbuffer.store.store import Store

from . import commits, gathering
from .sending import Append, send


def append(
    store: Store,
    options: Options,
    events: Sequence[bytes],
    *,
    using: str | None = None,
    now: bool = False,
    is_late: bool = False,
) -> None:
    """Send encoded events when the transaction of the database `using` has been committed.

    Without `using`, this is the open transaction of the default database, or else of any other. If
    no transaction is open, send the events at the end of the surrounding ``gathered()``, or at
    once. With `now`, send them at once in any case. `is_late` says that no caller waits for an
    error of the append.
    """
    size = sum(map(len, events)) + len(events)
    # Fewer events cannot fill too many batches, because each batch has at least one.
    is_large = size > MAX_APPEND_BYTES or len(events) > MAX_APPEND_BATCHES
    append = Append(store, options, events, size, is_large, is_late)
    if not now:
        if _hold(append, using):
            return
        gathered = gathering.current.get()
        if gathered is not None and gathered.add([append]):
            return
    send([[append]])


def _hold(append: Append, using: str | None) -> bool:
    """Hold the append until the commit of the open transaction. False if none is open."""
    connection = connections[using or DEFAULT_DB_ALIAS]
    if connection.in_atomic_block and commits.hold(connection, append):
        return True
    if using is not None or len(connections.settings) == 1:
        return False
    return any(
        other.in_atomic_block and commits.hold(other, append)
        for other in connections.all(initialized_only=True)
    )
