"""Events that could not be handed to Redis and whose caller got no error: logged and counted.

They are also announced by a signal.
"""

import logging
import os
import threading
from collections import Counter
from typing import Final

from django_jsonbuffer.conf import configuration
from django_jsonbuffer.escapes import escape_invisible
from django_jsonbuffer.exceptions import AppendUndecided, InvalidEvent, JSONBufferError
from django_jsonbuffer.options import Options
from django_jsonbuffer.signals import events_dropped
from django_jsonbuffer.store.keys import Identity
from django_jsonbuffer.store.links import Link
from django_jsonbuffer.store.pending import count_lost
from django_jsonbuffer.store.store import Store
from django_jsonbuffer.summaries import is_ours, place_of, places_of, summary_of

logger = logging.getLogger("django_jsonbuffer")

unreported: Final[Counter[Identity]] = Counter()
"""Lost events of each bucket that are not yet counted in Redis."""

_lock = threading.RLock()


def lose(store: Store, options: Options, count: int, error: BaseException, *, of: str = "") -> None:
    """Log lost events in one line, and count them. `of` is the label of the recorded model, if any.

    The message of an exception that is not ours may quote an event. So the log has it only if
    ``LOG_ERRORS`` is on and the bucket has no ``redact``. Of a recorded model it is at level DEBUG
    alone, because it may quote a masked value. Level DEBUG also has its places.
    """
    _add(store, count)
    is_recorded = bool(of)
    cause = error.__cause__ if isinstance(error, InvalidEvent) else None
    if cause is not None:
        described = _described(cause, store, options, is_recorded=is_recorded)
        reason = f"An event {f'of {of} ' if of else ''}was refused with {described}"
    elif is_ours(error) or (isinstance(error, JSONBufferError) and error.__traceback__ is None):
        # The breaker refuses an append with an error that is never raised.
        reason = str(error)
    else:
        reason = _described(error, store, options, is_recorded=is_recorded)
    # An interrupt may come when the events are already stored.
    is_certain = isinstance(error, Exception) and not isinstance(error, AppendUndecided)
    logger.error(
        "Bucket %s: %d events %s lost. %s",
        store.name,
        count,
        "are" if is_certain else "may be",
        escape_invisible(" ".join(reason.split())),
        extra={"bucket": store.name},
    )
    events_dropped.announce(store.name, count=count, reason="lost", error=error)


def _described(error: BaseException, store: Store, options: Options, *, is_recorded: bool) -> str:
    """Summary and place of an exception that is not ours. Its places are logged at level DEBUG."""
    with_message = configuration().logs_messages(options)
    logger.debug(
        "Bucket %s: %s was raised here:\n%s",
        store.name,
        summary_of(error, with_message=with_message),
        places_of(error, with_source=with_message),
        extra={"bucket": store.name},
    )
    summary = summary_of(error, with_message=with_message and not is_recorded)
    return f"{summary} at {place_of(error)}."


async def report(store: Store, link: Link) -> None:
    """Count the lost events of a bucket in Redis, after an append to it.

    An error is not raised, because the append is done. Then the next report counts the events.
    """
    with _lock:
        count = unreported.pop(store.identity, 0)
    if count:
        try:
            await count_lost(store, count, link)
        except BaseException as error:  # also if the end of an event loop cancels this
            _add(store, count)
            if not isinstance(error, Exception):
                raise


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
