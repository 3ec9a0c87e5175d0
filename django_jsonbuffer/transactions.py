"""What a processor must not leave behind in the database."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error, connections

from .exceptions import TransactionLeftOpen


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
