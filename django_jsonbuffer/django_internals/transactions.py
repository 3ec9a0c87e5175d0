"""Transactions and savepoints of a database connection."""

import os
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final, Protocol

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

# Transactions


def is_in_atomic(connection: BaseDatabaseWrapper) -> bool:
    """Whether an ``atomic()`` block is open.

    Relies on ``in_atomic_block``. Django has no public function for this.
    """
    return connection.in_atomic_block


def allows_transactions_in_async_code() -> bool:
    """Whether this project may open transactions where an event loop runs.

    Relies on the environment variable that Django documents for this. Without it, Django raises
    ``SynchronousOnlyOperation`` there.
    """
    return "DJANGO_ALLOW_ASYNC_UNSAFE" in os.environ


def will_commit(connection: BaseDatabaseWrapper) -> bool:
    """Whether an ``atomic()`` block is open that Django commits at its end.

    Relies on ``in_atomic_block`` and ``commit_on_exit``. With autocommit off, ``atomic()`` sets
    only savepoints, and the project commits. On-commit functions do not run at that commit, but
    later, when autocommit is switched on again.
    """
    return connection.in_atomic_block and connection.commit_on_exit


def is_test_case(connection: BaseDatabaseWrapper) -> bool:
    """Whether a ``TestCase`` has begun the transaction, to roll it back at its end.

    Relies on ``atomic_blocks`` and ``_from_testcase``. ``captureOnCommitCallbacks`` finds the
    functions that were registered in its block by their place in the list of on-commit functions.
    So no function may be inserted before them in a test case.
    """
    return any(block._from_testcase for block in connection.atomic_blocks)  # type: ignore[attr-defined]


def is_in_test_case_alone(connection: BaseDatabaseWrapper) -> bool:
    """Whether the transaction of a ``TestCase`` is open, and no ``atomic()`` block within it.

    Relies on ``atomic_blocks`` and ``_from_testcase``.
    """
    blocks: list[Any] = connection.atomic_blocks
    return bool(blocks) and all(block._from_testcase for block in blocks)


def on_commit_functions(connection: BaseDatabaseWrapper) -> list[Callable[[], object]]:
    """The on-commit functions of the open transaction, in the order in which they will run.

    Relies on ``run_on_commit``, a list that a commit runs and a rollback empties.
    """
    functions: list[Any] = connection.run_on_commit
    return [function for _, function, _ in functions]


def first_on_commit(connection: BaseDatabaseWrapper) -> Callable[[], object] | None:
    """The on-commit function that runs first; None if there is none. Cheap, however many there are.

    Relies on ``run_on_commit``, as :func:`on_commit_functions` does.
    """
    functions: list[Any] = connection.run_on_commit
    return functions[0][1] if functions else None


def run_first_on_commit(connection: BaseDatabaseWrapper, function: Callable[[], object]) -> None:
    """Run the function at the commit, before all others, so that no other function can fail first
    and keep it from running. Only within ``atomic()``.

    Relies on ``run_on_commit`` and its tuples: savepoint ids, function, robust. Without
    savepoint ids, only a rollback of the whole transaction removes the function.
    ``transaction.on_commit()`` can only append.
    """
    functions: list[Any] = connection.run_on_commit
    functions.insert(0, (set(), function, False))


def open_transactions() -> set[str]:
    """Aliases of the databases on which this thread has an open transaction.

    Relies on ``in_atomic_block``, ``connection`` (the driver's, or None), ``settings_dict`` and
    ``autocommit``. The public ``get_autocommit()`` would connect to each database.
    """
    found: set[str] = set()
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block or (
            not connection.autocommit
            and connection.connection is not None
            and connection.settings_dict["AUTOCOMMIT"]
        ):
            found.add(connection.alias)
    return found


def roll_back(connection: BaseDatabaseWrapper) -> None:
    """Roll back, and return to the state outside any ``atomic()`` block.

    Relies on the attributes in which ``atomic()`` keeps its state. Its ``__exit__`` cannot be used,
    because an interrupt may have stopped its ``__enter__`` half-way, and then these attributes
    contradict each other.
    """
    connection.in_atomic_block = False
    connection.atomic_blocks = []
    connection.savepoint_ids = []
    connection.closed_in_transaction = False
    try:
        connection.rollback()
        connection.set_autocommit(True)
    except Error:
        connection.close()


def run_smallest_query(connection: BaseDatabaseWrapper) -> None:
    """Send a query without a table. Raises what any query of the transaction would raise.

    Relies on ``features.bare_select_suffix``: Oracle needs a FROM.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT 1{connection.features.bare_select_suffix}")


def close_if_broken(connection: BaseDatabaseWrapper) -> None:
    """If the connection has had an error, close it if it is unusable, or older than
    ``CONN_MAX_AGE``. Django connects again at the next query.

    Relies on ``errors_occurred`` and ``close_if_unusable_or_obsolete()``, which Django itself calls
    at the start and the end of each request. A worker has no requests. Without an error, the
    connection is not tested, because a test would cost a query.
    """
    if connection.errors_occurred:
        connection.close_if_unusable_or_obsolete()


class SavepointWatcher(Protocol):
    """Is told of each savepoint that a connection has set, released or rolled back to."""

    def was_set(self, savepoint: str) -> None: ...
    def was_released(self, savepoint: str) -> None: ...
    def was_rolled_back_to(self, savepoint: str) -> None: ...


FindWatcher = Callable[[BaseDatabaseWrapper], SavepointWatcher | None]


def watch_savepoints(connection: BaseDatabaseWrapper, *, find_watcher: FindWatcher) -> None:
    """Tell a watcher of everything that happens to savepoints of this connection.

    Django has no signal for savepoints, and it drops on-commit functions only when a savepoint of
    ``atomic()`` is rolled back. Relies on the methods ``savepoint()``, ``savepoint_commit()`` and
    ``savepoint_rollback()`` of a connection: ``atomic()`` and the functions of ``transaction`` call
    them. `find_watcher` is a function. It is called each time, and returns the
    :class:`SavepointWatcher` to tell, or None.
    """
    for name, notice in _NOTICES.items():
        method = getattr(connection, name)
        # The mark survives if another library wraps the method once more with functools.wraps.
        if getattr(method, _MARK, None) is not True:
            vars(connection)[name] = _watched(method, notice, connection, find_watcher)


def _watched(
    method: Callable[..., str | None],
    notice: str,
    connection: BaseDatabaseWrapper,
    find_watcher: FindWatcher,
) -> Callable[..., str | None]:
    @wraps(method)
    def watched(*args: str, **kwargs: str) -> str | None:
        result = method(*args, **kwargs)
        savepoint = next(iter((*args, *kwargs.values())), result)
        # It is None where the database has no savepoints, or no transaction is open.
        if savepoint is not None and (watcher := find_watcher(connection)) is not None:
            getattr(watcher, notice)(savepoint)
        return result

    setattr(watched, _MARK, True)
    return watched


_MARK: Final = "_jsonbuffer_watches"

_NOTICES: Final[Mapping[str, str]] = {
    "savepoint": "was_set",
    "savepoint_commit": "was_released",
    "savepoint_rollback": "was_rolled_back_to",
}
"""Methods of a connection, and what their watcher is told."""
