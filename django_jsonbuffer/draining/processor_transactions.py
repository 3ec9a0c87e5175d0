"""Database transactions around a processor. The processor must not leave a transaction open."""

from collections.abc import Callable
from inspect import isasyncgen, isawaitable, isgenerator

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_jsonbuffer.django_internals.transactions import (
    close_if_broken,
    is_in_atomic,
    open_transactions,
    roll_back,
    run_first_on_commit,
    run_smallest_query,
    will_commit,
)
from django_jsonbuffer.exceptions import BufferMisconfigured, TransactionLeftOpen

from .batches import Batch
from .event_loop import wait_for


def run_processor(
    function: Callable[[Batch], object],
    batch: Batch,
    *,
    atomic: str | None,
    confirm: Callable[[], object],
    on_late_error: Callable[[Exception], object],
) -> None:
    """Call the processor, and wait for it if it is a coroutine function.

    With `atomic`, the alias of a database, wrap the call in a transaction. Just before the commit,
    call `confirm`, which raises if the worker has lost its lease. Raise if there is no commit.
    Call `on_late_error` with the error of an on-commit function. This error is not raised, because
    the processor's writes are committed by then.

    Raises :class:`TransactionLeftOpen` if the processor began a transaction and left it open. That
    transaction is rolled back, because otherwise its writes would be lost later, after the batch
    was acknowledged.
    """
    before = open_transactions()
    try:
        if atomic is not None:
            _run_and_commit(function, batch, connections[atomic], confirm, on_late_error)
        elif (result := function(batch)) is not None:
            finish(result)
    finally:
        left = open_transactions() - before
        for alias in left:
            roll_back(connections[alias])
    if left:
        raise TransactionLeftOpen(
            f"The processor left a transaction of the database {', '.join(sorted(left))} open. "
            "The transaction was rolled back, and the batch is kept. Commit in the processor."
        )


def _run_and_commit(
    function: Callable[[Batch], object],
    batch: Batch,
    connection: BaseDatabaseWrapper,
    confirm: Callable[[], object],
    on_late_error: Callable[[Exception], object],
) -> None:
    is_outermost = not is_in_atomic(connection)
    commits: list[str] = []
    try:
        with transaction.atomic(using=connection.alias):
            finish(function(batch))
            _check_commit(connection)
            confirm()
            if is_outermost:
                run_first_on_commit(connection, lambda: commits.append("done"))
    except Exception as error:
        if not commits:
            raise
        on_late_error(error)


def finish(result: object) -> None:
    """Run the coroutine that a processor returned, if it did. Refuse a generator."""
    if isawaitable(result):
        wait_for(result)
    elif isgenerator(result) or isasyncgen(result):
        raise BufferMisconfigured(
            "The processor returned a generator, whose body has not been run. Take the yield out."
        )


def _check_commit(connection: BaseDatabaseWrapper) -> None:
    """Raises if ``atomic()`` would end without a commit and without an error.

    ``atomic()`` ends like this if autocommit is off, if the processor caught a database error, or
    if the processor closed the connection.
    """
    if not will_commit(connection):
        raise BufferMisconfigured(
            f"The database {connection.alias} has autocommit off, so that "
            f"atomic={connection.alias!r} commits nothing. Switch autocommit on, or commit in the "
            "processor and remove atomic=."
        )
    run_smallest_query(connection)


def close_broken_connections() -> None:
    """Let Django make a new connection where the database has ended the old one."""
    for connection in connections.all(initialized_only=True):
        close_if_broken(connection)
