"""Async code that sync code has called."""

from asgiref.sync import AsyncToSync


def is_called_by_sync_code() -> bool:
    """Whether sync code waits for the running coroutine, by ``async_to_sync()``.

    Only then may a transaction be open around the coroutine: in the thread of the sync code, where
    ``sync_to_async()`` runs its functions. A background task may go on when that code does not wait
    any more. Relies on ``AsyncToSync.executors``, where asgiref keeps that thread, ``_broken``,
    which is true when it does not wait any more, and ``_old_executor``, the thread that waits for
    the call of that thread. Older versions of asgiref have no ``_old_executor``.
    """
    executor = getattr(AsyncToSync.executors, "current", None)
    while executor is not None and executor._broken:
        executor = getattr(executor, "_old_executor", None)
    return executor is not None
