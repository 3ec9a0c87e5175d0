"""Events that could not be handed to Redis and whose caller got no error: logged and counted."""

import logging
import os
import threading
import traceback
from collections import Counter
from typing import Final

from django_jsonbuffer.exceptions import AppendUndecided, InvalidEvent, JSONBufferError
from django_jsonbuffer.store.keys import Identity
from django_jsonbuffer.store.pending import count_lost
from django_jsonbuffer.store.store import Store

logger = logging.getLogger("django_jsonbuffer")

unreported: Final[Counter[Identity]] = Counter()
"""Lost events of each bucket that are not yet counted in Redis."""

_lock = threading.RLock()


def lose(store: Store, count: int, error: BaseException, *, of: str = "") -> None:
    """Log lost events in one line, and count them. `of` is the label of the recorded model, if any.

    Level DEBUG also has the traceback of an error that is not ours.
    """
    _add(store, count)
    cause = error.__cause__ if isinstance(error, InvalidEvent) else None
    if cause is not None:
        # The message of the cause may quote the event.
        reason = (
            f"An event {f'of {of} ' if of else ''}was refused with {type(cause).__qualname__} at "
            f"{_place(cause)}. The error itself is logged at level DEBUG."
        )
    elif isinstance(error, JSONBufferError):
        reason = str(error)
    else:
        reason = f"{error!r} at {_place(error)}. Its traceback is logged at level DEBUG."
    if cause is not None or not isinstance(error, JSONBufferError):
        logger.debug("Bucket %s:", store.name, exc_info=error)
    logger.error(
        "Bucket %s: %d events %s lost. %s",
        store.name,
        count,
        "may be" if isinstance(error, AppendUndecided) else "are",
        " ".join(reason.split()),
    )


def report(store: Store) -> None:
    """Count the lost events of a bucket in Redis, after an append to it.

    An error is not raised, because the append is done. Then the next report counts the events.
    """
    with _lock:
        count = unreported.pop(store.identity, 0)
    if count:
        try:
            count_lost(store, count)
        except Exception:  # noqa: BLE001  (no error may fail the append)
            _add(store, count)


def _place(error: BaseException) -> str:
    """The file and the line that raised the error."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"


def _add(store: Store, count: int) -> None:
    with _lock:
        unreported[store.identity] += count


def _forget() -> None:
    """Run in a forked child, because the parent reports its lost events itself."""
    global _lock
    unreported.clear()
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
