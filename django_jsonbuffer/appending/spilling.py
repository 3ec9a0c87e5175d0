"""How an append uses the spill: it puts its events there, or forwards what waits there."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from django_jsonbuffer.exceptions import AppendUndecided, BufferUnavailable, JSONBufferError
from django_jsonbuffer.options import Options
from django_jsonbuffer.store.links import Link
from django_jsonbuffer.store.store import Store

if TYPE_CHECKING:
    from .spill import Spill

logger = logging.getLogger("django_jsonbuffer")

FORWARDED_BY_AN_APPEND: Final = 50
"""How many spilled appends one append forwards at most, so that no caller waits for long."""


async def put(
    store: Store, options: Options, events: Sequence[bytes], error: BufferUnavailable, link: Link
) -> bool:
    """Spill the events of an append that has failed with `error`.

    True if the spill had no events of the bucket before: then :func:`report` it.
    """
    stamp = error.stamp if isinstance(error, AppendUndecided) else None
    file, key, most = _spill_of(options), store.keys.open, options.max_spill_bytes
    is_first: bool = await link.work(partial(file.put, key, events, stamp=stamp, max_bytes=most))
    return is_first


async def report(store: Store, options: Options, link: Link) -> None:
    """Log that the bucket spills now."""
    logger.warning("Events of %s are spilled to %s.", store.keys.open, _spill_of(options).path)


async def forward_some(store: Store, options: Options, link: Link) -> None:
    """Forward some spilled appends. A failure is logged, because the append itself is done."""
    key, limit, folder = store.keys.open, FORWARDED_BY_AN_APPEND, options.spill_dir or ""
    limits, patience = options.limits, options.append_timeout
    send = partial(store.append, limits=limits, patience=patience, is_spilled=True)
    try:
        from .spill import forward, spill  # imports SQLite, which only buckets that spill need

        if spill(folder).may_hold(key):
            await link.work(partial(forward, folder, key, send, bucket=store.name, limit=limit))
    except Exception as error:  # noqa: BLE001  (no error may fail the append)
        reason = error if isinstance(error, JSONBufferError) else type(error).__qualname__
        text = "Bucket %s: spilled events still wait. %s"
        logger.warning(text, store.name, reason, extra={"bucket": store.name})


def _spill_of(options: Options) -> "Spill":
    from .spill import spill  # imports SQLite, which only buckets that spill need

    return spill(options.spill_dir or "")
