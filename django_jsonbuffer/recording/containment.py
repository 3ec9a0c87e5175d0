"""Functions of the project, kept from aborting an open transaction."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache
from typing import Any

from django.db import DatabaseError, connections, transaction


def contained() -> AbstractContextManager[object]:
    """A block whose failing queries abort no open transaction.

    PostgreSQL refuses every query after one that failed, up to a rollback. So a savepoint is set
    before the first query of the block. A block without queries costs nothing.
    """
    databases = tuple((alias, config["ENGINE"]) for alias, config in connections.settings.items())
    aliases = _on_postgresql(databases)
    if not any(connections[alias].in_atomic_block for alias in aliases):
        return nullcontext()
    stack = ExitStack()
    for alias in aliases:
        if connections[alias].in_atomic_block:
            stack.enter_context(_contained_in(alias))
    return stack


@cache
def _on_postgresql(databases: tuple[tuple[str, str], ...]) -> list[str]:
    """The aliases of PostgreSQL databases. `databases` are pairs of an alias and its engine."""
    return [alias for alias, _ in databases if connections[alias].vendor == "postgresql"]


@contextmanager
def _contained_in(using: str) -> Iterator[None]:
    savepoints: list[str] = []
    is_setting = False

    def set_savepoint(execute: Callable[..., Any], *args: Any) -> Any:
        nonlocal is_setting
        if not savepoints and not is_setting:
            is_setting = True  # the statement of the savepoint comes by here too
            savepoints.append(transaction.savepoint(using))
        return execute(*args)

    def roll_back() -> None:
        for savepoint in savepoints:
            transaction.savepoint_rollback(savepoint, using)
            transaction.set_rollback(False, using)

    with connections[using].execute_wrapper(set_savepoint):
        try:
            yield
        except Exception:
            roll_back()
            raise
        try:
            for savepoint in savepoints:
                transaction.savepoint_commit(savepoint, using)
        except DatabaseError:
            # The block has caught the error of a failed query.
            roll_back()
            raise
