"""Events on their way to Redis: at once, after the commit, or at the end of ``gathered()``."""

import asyncio
import logging
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from datetime import timedelta
from functools import partial, wraps
from inspect import iscoroutinefunction
from itertools import groupby
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar, cast

from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from .breaker import breaker
from .exceptions import (
    AppendUndecided,
    BufferUnavailable,
    InvalidEvent,
    JSONBufferError,
    SpillUnavailable,
)
from .options import Options
from .producers import append_once
from .store import MAX_APPEND_BATCHES, MAX_APPEND_BYTES, Store, batches_of, size_of

logger = logging.getLogger("django_jsonbuffer")

F = TypeVar("F", bound=Callable[..., Any])


FORWARDED_BY_AN_APPEND: Final = 50
"""Spilled appends that one which succeeds takes along, so that no caller waits for long."""

_SAVEPOINT_ID: Final = re.compile(r".*_x(\d+)")
"""Of Django's, which counts them."""


class Append(NamedTuple):
    """The encoded events of one call, and where they go."""

    store: Store
    options: Options
    events: Sequence[bytes]

    is_late: bool
    """Whether nobody waits for an error any more: the call that appended them has returned, or what
    they tell of is done."""


def hand_over(
    store: Store,
    options: Options,
    events: Sequence[bytes],
    *,
    using: str | None,
    now: bool,
    is_late: bool,
) -> None:
    """Send the encoded events when the transaction of the database `using` has been committed.

    Without `using` that is the one which is open, the default database's if there are several.
    When none is open, they are sent at the end of the surrounding ``gathered()``, or at once; with
    `now` at once, whatever is open.
    """
    connection = None if now else _in_transaction(using)
    append = Append(store, options, events, is_late or connection is not None)
    if now or (connection is None and _open_gathering() is None):
        _send_portions([[append]])
        return
    # What could not be sent must fail here, where its caller hears of it.
    _batches(append)
    if connection is None:
        _leave([append])
    elif uncommitted := _Uncommitted.of(connection):
        uncommitted.add(append, savepoint=connection.savepoint_state)
    else:
        transaction.on_commit(partial(_leave, [append]), using=connection.alias)


def has_transaction(using: str | None) -> bool:
    """Whether what is handed over now would wait for a commit."""
    return _in_transaction(using) is not None


class _Uncommitted:
    """The events of one transaction, at the head of Django's list of its on-commit functions.

    That list is all the state there is. A rollback empties it, and a commit runs it: this one
    first, so that no other function that fails can keep the events back.

    Beside each function Django keeps the ids of the savepoints that were set when it was
    registered, and asks of a savepoint that is rolled back whether it is ``in`` them. This object
    stands in the place of these ids, and drops the events that were appended since.
    """

    def __init__(self) -> None:
        self._appends: list[tuple[int, Append]] = []

    @classmethod
    def of(cls, connection: BaseDatabaseWrapper) -> Self | None:
        """None in a test case, where each append is an on-commit function of its own."""
        functions: list[Any] = connection.run_on_commit
        if functions and isinstance(functions[0][0], cls):
            return functions[0][0]
        if _is_test_case(connection):
            return None
        uncommitted = cls()
        functions.insert(0, (uncommitted, uncommitted.leave, False))
        return uncommitted

    def add(self, append: Append, *, savepoint: int) -> None:
        """`savepoint` is the number of the last one that was set before."""
        self._appends.append((savepoint, append))

    def leave(self) -> None:
        _leave([append for _, append in self._appends])

    def __contains__(self, savepoint_id: str) -> bool:
        """Django's question, at a rollback to this savepoint: it undoes all that came since.

        Of a savepoint that was set by SQL, and not by Django, nothing is known.
        """
        if numbered := _SAVEPOINT_ID.fullmatch(savepoint_id):
            while self._appends and self._appends[-1][0] >= int(numbered[1]):
                self._appends.pop()
        return False


class gathered:  # noqa: N801  (used as a function)
    """Everything that is appended within leaves at the end, in one round trip a bucket.

    Also what is committed within. What is appended in a transaction that is still open at the end
    leaves at its commit. Within another ``gathered()``, all leaves at the end of the outer one. It
    holds for what runs in the same context, so for coroutines that are awaited or gathered, and
    not for threads and processes that are started within.

    When the block raises, what was appended before is sent all the same, as it would be without.
    For ``with``, in async code ``async with``, and as a decorator. Each call is entered once.
    """

    def __init__(self, *, is_late: bool = False) -> None:
        self._is_late = is_late
        """Whether nobody waits for an error at the end: an answer that is ready goes out."""
        self._outer: _Gathering | None = None
        self._own: _Gathering | None = None
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
            raise RuntimeError("This gathered() was entered before. Call gathered() anew.")
        self._is_entered = True
        self._outer = _gathering.get()
        if _open_gathering() is None:
            self._own = _Gathering()
            _gathering.set(self._own)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # An error of the block is not to be hidden by one of ours.
        _send(self._close(), may_raise=error is None)

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
        sending = asyncio.ensure_future(sync_to_async(_send)(appends, may_raise=error is None))
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            # A client that has gone does not undo what was committed.
            await sending
            raise

    def _close(self) -> list[Append]:
        if self._own is None:
            return []
        _gathering.set(self._outer)
        appends = self._own.close()
        return [append._replace(is_late=True) for append in appends] if self._is_late else appends


class _Gathering:
    """What one ``gathered()`` has gathered.

    Tasks that outlive it find it closed. So does a forked child, whose events the parent would not
    know of, and whose copy of the parent's events is the parent's to send.
    """

    def __init__(self) -> None:
        self._is_closed = False
        self._process = os.getpid()
        self._appends: list[Append] = []
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        return not self._is_closed and self._process == os.getpid()

    def add(self, appends: Iterable[Append]) -> bool:
        """False when it is closed."""
        if not self.is_open:
            return False
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


_gathering: Final[ContextVar[_Gathering | None]] = ContextVar("gathering", default=None)


def _open_gathering() -> _Gathering | None:
    gathering = _gathering.get()
    return gathering if gathering is not None and gathering.is_open else None


def _in_transaction(using: str | None) -> BaseDatabaseWrapper | None:
    connection = connections[using or DEFAULT_DB_ALIAS]
    if _will_commit(connection):
        return connection
    if using is None and len(connections.settings) > 1:
        return next(filter(_will_commit, connections.all(initialized_only=True)), None)
    return None


def _will_commit(connection: BaseDatabaseWrapper) -> bool:
    """Whether ``atomic()`` is to end its transaction. With autocommit off, the project does."""
    return connection.in_atomic_block and connection.commit_on_exit


def _is_test_case(connection: BaseDatabaseWrapper) -> bool:
    """Whether a ``TestCase`` has begun the transaction, to roll it back.

    ``captureOnCommitCallbacks`` takes the functions that were registered within its block, by their
    place in the list.
    """
    return any(block._from_testcase for block in connection.atomic_blocks)  # type: ignore[attr-defined]


def _leave(appends: list[Append]) -> None:
    gathering = _open_gathering()
    if gathering is None or not gathering.add(appends):
        _send(appends)


def _send(appends: Iterable[Append], *, may_raise: bool = True) -> None:
    """Hand the events to Redis, bucket by bucket, each in order."""
    by_bucket: dict[object, list[Append]] = {}
    for append in appends:
        by_bucket.setdefault(append.store.identity, []).append(append)
    portions = [
        portion
        for bucket in by_bucket.values()
        # Of two handles of a bucket, each has its own.
        for _, alike in groupby(bucket, key=lambda append: append.options)
        for portion in _portions([*alike])
    ]
    _send_portions(portions, may_raise=may_raise)


def _send_portions(portions: Sequence[Sequence[Append]], *, may_raise: bool = True) -> None:
    """Hand portions of events to Redis, each in one call.

    One bucket's failure does not hold up another's. At the end one error is raised, the first that
    somebody waits for or whose bucket says "raise". Events that are not told of by it are counted
    as lost.
    """
    to_raise: Exception | None = None
    for at, portion in enumerate(portions):
        try:
            if (error := _failure_of(portion)) is None:
                continue
            if may_raise and to_raise is None and _is_awaited(portion, error):
                to_raise = error
                _lose([append for append in portion if append.is_late], error)
            else:
                _lose(portion, error)
        except BaseException as end:
            for unsent in portions[at:]:
                _lose([append for append in unsent if append.is_late], end)
            raise
    if to_raise is not None:
        raise to_raise


def _failure_of(portion: Sequence[Append]) -> Exception | None:
    """None when the events are in Redis, or in the spill."""
    try:
        _send_portion(portion)
    except Exception as error:  # noqa: BLE001  (of a client that is misconfigured, anything)
        return _spilled(portion, error)
    return None


def _send_portion(portion: Sequence[Append]) -> None:
    store, options = portion[0].store, portion[0].options
    events = _events_of(portion)
    # What is undecided can be spilled at once: it keeps its stamp there.
    timeout = timedelta(0) if options.on_unavailable == "spill" else options.append_timeout
    send = partial(store.append, events, limits=options.limits)
    breaker(store.cache).guard(partial(append_once, send, timeout=timeout))
    _losses.report(store)
    if options.spill_dir is not None:
        _forward(store, options)


def _forward(store: Store, options: Options) -> None:
    from .spill import forward  # SQLite is for those alone who spill

    try:
        forward(store, options, limit=FORWARDED_BY_AN_APPEND)
    except JSONBufferError as error:
        # The append is done.
        logger.warning("Bucket %s: what was spilled still waits. %s", store.name, error)


def _events_of(portion: Sequence[Append]) -> Sequence[bytes]:
    if len(portion) == 1:
        return portion[0].events
    return [event for append in portion for event in append.events]


def _spilled(portion: Sequence[Append], error: Exception) -> Exception | None:
    """None when the events are in the spill, otherwise the error that is to be told."""
    store, options = portion[0].store, portion[0].options
    if options.on_unavailable != "spill" or not isinstance(error, BufferUnavailable):
        return error
    from .spill import spill

    try:
        spill(options.spill_dir or "").put(
            store.keys.open,
            _events_of(portion),
            stamp=error.stamp if isinstance(error, AppendUndecided) else None,
            max_bytes=options.max_spill_bytes,
        )
    except SpillUnavailable as failure:
        failure.__cause__ = error
        return error if isinstance(error, AppendUndecided) else failure
    return None


def _portions(appends: Sequence[Append]) -> Iterator[Sequence[Append]]:
    """The same in their order, as many at a time as one call may hold: nearly always all."""
    events = _events_of(appends)
    if len(events) <= MAX_APPEND_BATCHES and size_of(events) <= MAX_APPEND_BYTES:
        yield appends
        return
    portion: list[Append] = []
    size = batches = 0
    for append in appends:
        its_size, its_batches = size_of(append.events), _batches(append)
        size += its_size
        batches += its_batches
        if portion and (size > MAX_APPEND_BYTES or batches > MAX_APPEND_BATCHES):
            yield portion
            portion, size, batches = [], its_size, its_batches
        portion.append(append)
    yield portion


def _batches(append: Append) -> int:
    """That its events fill. Raises :class:`EventTooLarge` when they are too many for one call."""
    return batches_of(append.events, append.options.limits)


def _is_awaited(portion: Sequence[Append], error: Exception) -> bool:
    """Whether somebody waits for the error, or the bucket says "raise".

    After a commit nobody waits: the change stands, and an error would only tell the user of a
    success that it has failed.
    """
    is_outage = isinstance(error, BufferUnavailable)
    return any(
        policy == "raise" or not (append.is_late or (policy == "drop" and is_outage))
        for append in portion
        for policy in (append.options.on_unavailable,)
    )


def _lose(portion: Sequence[Append], error: BaseException) -> None:
    if portion:
        lose(portion[0].store, sum(len(append.events) for append in portion), error)


def lose(store: Store, count: int, error: BaseException) -> None:
    """Log and count events that nobody else can tell of."""
    _losses.add(store, count)
    is_known = isinstance(error, JSONBufferError)
    told: object = error if is_known else repr(error)
    if isinstance(error, InvalidEvent) and error.__cause__ is not None:
        # What that says may quote the event.
        kind = type(error.__cause__).__qualname__
        told = f"An event is refused, with {kind}, which is logged at level DEBUG."
        logger.debug("Bucket %s:", store.name, exc_info=error)
        logger.debug("Bucket %s:", store.name, exc_info=error)
    logger.error(
        "Bucket %s: %d events %s lost. %s",
        store.name,
        count,
        "may be" if isinstance(error, AppendUndecided) else "are",
        told,
        exc_info=None if is_known else error,
    )


class _Losses:
    """How many events of each bucket were lost, until Redis can be told."""

    def __init__(self) -> None:
        self._counts: Counter[object] = Counter()
        self._lock = threading.RLock()

    def add(self, store: Store, count: int) -> None:
        with self._lock:
            self._counts[store.identity] += count

    def report(self, store: Store) -> None:
        """Count them in the bucket. What fails here is no failure of the append before."""
        if not self._counts:
            return
        with self._lock:
            count = self._counts.pop(store.identity, 0)
        if count:
            try:
                store.count_lost(count)
            except Exception:  # noqa: BLE001  (whatever it is, the append is done)
                self.add(store, count)

    def forget(self) -> None:
        """In a forked child: what its parent lost, its parent reports."""
        self._counts.clear()
        self._lock = threading.RLock()


_losses: Final = _Losses()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_losses.forget)
