"""Async code that sync code has called."""

from asgiref.sync import AsyncToSync


def is_called_by_sync_code() -> bool:
    """Whether sync code waits for the running coroutine, by ``async_to_sync()``.

    Only then may a transaction be open around the coroutine: in the thread of the sync code, where
    ``sync_to_async()`` runs its functions. A background task may go on when that code does not wait
    any more. Relies on ``AsyncToSync.executors``, where asgiref keeps that thread, and on
    ``_broken``, which is true when it does not wait any more.
    """
    executor = getattr(AsyncToSync.executors, "current", None)
    return executor is not None and not executor._broken
