"""What a processor must not leave behind in the database."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import Error, connections, transaction

from .exceptions import BufferMisconfigured, TransactionLeftOpen

logger = logging.getLogger("django_jsonbuffer")


@contextmanager
def committed(alias: str, *, confirm: Callable[[], None]) -> Iterator[None]:
    """A transaction around the block, which ends with `confirm`, and raises unless it commits.

    What an on-commit function raises is logged: what the block has written is there.
    """
    connection = connections[alias]
    is_outermost, is_committed = not connection.in_atomic_block, False

    def note() -> None:
        nonlocal is_committed
        is_committed = True

    try:
        with transaction.atomic(using=alias):
            yield
            _check_commit(alias)
            confirm()
            if is_outermost:
                # In Django's form, and before all others: none runs behind one that raises.
                functions: list[Any] = connection.run_on_commit
                functions.insert(0, (set(), note, False))
    except Exception:
        if not is_committed:
            raise
        logger.exception(
            "What a processor has written to the database %s is committed, and a function that "
            "was to run at this commit failed. Those behind it were not run.",
            alias,
        )


def _check_commit(alias: str) -> None:
    """Raises where ``atomic()`` would roll back without a word, or leave it to somebody to commit:
    after an error that was caught within, on a connection that was closed, without autocommit.
    """
    connection = connections[alias]
    if not connection.commit_on_exit:
        raise BufferMisconfigured(
            f"The database {alias} has autocommit off, so that atomic={alias!r} commits nothing. "
            "Switch it on, or commit in the processor and leave atomic= away."
        )
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT 1{connection.features.bare_select_suffix}")


@contextmanager
def no_transaction_left_open() -> Iterator[None]:
    """Raises :class:`TransactionLeftOpen` for a transaction that began within and did not end.

    What was written in it would be lost after the batch has been acknowledged.
    """
    before = _open_transactions()
    try:
        yield
    finally:
        left = _open_transactions() - before
        for alias in left:
            _roll_back(alias)
    if left:
        raise TransactionLeftOpen(
            f"The processor left a transaction of the database {', '.join(sorted(left))} open, "
            "and it was rolled back."
        )


def close_broken_connections() -> None:
    """Let Django make a new connection where the database ended the one that there was."""
    for connection in connections.all(initialized_only=True):
        if connection.errors_occurred:
            connection.close_if_unusable_or_obsolete()


def _open_transactions() -> set[str]:
    return {
        connection.alias
        for connection in connections.all(initialized_only=True)
        if connection.in_atomic_block
        or (
            connection.connection is not None
            and connection.settings_dict["AUTOCOMMIT"]
            and not connection.autocommit
        )
    }


def _roll_back(alias: str) -> None:
    """By hand: an interrupt may have hit ``atomic`` half-way, with its lists and flag at odds."""
    connection = connections[alias]
    connection.in_atomic_block = False
    connection.atomic_blocks = []
    connection.savepoint_ids = []
    connection.run_on_commit = []
    connection.needs_rollback = False
    connection.closed_in_transaction = False
    try:
        connection.rollback()
        connection.set_autocommit(True)
    except Error:
        connection.close()
