"""The events of a transaction, held until its commit."""

import re
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple
from weakref import WeakSet

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_jsonbuffer.conf import active_isolation
from django_jsonbuffer.django_internals.transactions import (
    first_on_commit,
    is_in_test_case_alone,
    is_test_case,
    on_commit_functions,
    run_first_on_commit,
    watch_savepoints,
    will_commit,
)
from django_jsonbuffer.isolation import Isolation

from . import gathering
from .groups import Append
from .sending import send_all

_NAMED_BY_DJANGO: Final = re.compile(r"s\d+_x\d+")
"""The names that Django gives to savepoints. SQL of the project may use any other names."""


def hold(connection: BaseDatabaseWrapper, append: Append) -> bool:
    """Keep an append until the transaction is committed. A rollback drops it.

    Returns False if Django will not commit the transaction: with autocommit off, the project does
    that. Also returns False if only a test case has begun it, and buckets are isolated: outside of
    tests, none would be open. Within ``atomic()`` of a test case, each append is an on-commit
    function of its own, because ``captureOnCommitCallbacks`` runs only the functions that its block
    adds to Django's list.
    """
    held = held_by(connection)
    if held is None and not will_commit(connection):
        return False
    if is_in_test_case_alone(connection) and (isolated := active_isolation()) is not None:
        leave_test_cases(isolated)
        return False
    append.check_size()
    append.is_late = True
    if held is not None:
        held.appends.append(append)
    elif is_test_case(connection):
        _of_test_cases.add(connection)
        transaction.on_commit(partial(leave_once, [append]), using=connection.alias)
    else:
        held = Held([append])
        watch_savepoints(connection, find_watcher=held_by)
        run_first_on_commit(connection, held.leave)
    return True


def leave(appends: list[Append]) -> None:
    """Send the appends of a committed transaction, or hand them to the surrounding gathered()."""
    gathered = gathering.current.get()
    if gathered is None or not gathered.add(appends):
        send_all(appends)


def leave_once(appends: list[Append]) -> None:
    """As :func:`leave`. A second call with the same list sends nothing."""
    taken = [*appends]
    appends.clear()
    if taken:
        leave(taken)


_of_test_cases: Final[WeakSet[BaseDatabaseWrapper]] = WeakSet()
"""The connections of test cases in which appends have waited. Async tests run in another thread."""


def leave_test_cases(isolated: Isolation) -> None:
    """Send what waits for the commit of a test case, which never comes.

    What is appended within an ``atomic()`` block of the test itself goes on waiting.
    """
    functions = [
        function
        for connection in [*_of_test_cases]
        if is_in_test_case_alone(connection)
        for function in on_commit_functions(connection)
    ]
    waiting = [f.args[0] for f in functions if isinstance(f, partial) and f.func is leave_once]
    taken = [append for appends in waiting for append in appends]
    for appends in waiting:
        appends.clear()
    # setUpTestData may have appended to buckets that are gone.
    if left := [append for append in taken if append.store.identity[:2] in isolated.places]:
        leave(left)


def held_by(connection: BaseDatabaseWrapper) -> "Held | None":
    """The appends that wait for the commit of the open transaction."""
    if (function := first_on_commit(connection)) is None:
        return None
    if isinstance(held := getattr(function, "__self__", None), Held):
        return held
    # Other code has put a function before it.
    owners = (getattr(other, "__self__", None) for other in on_commit_functions(connection))
    return next((owner for owner in owners if isinstance(owner, Held)), None)


class _Savepoint(NamedTuple):
    name: str
    appends: int
    """How many appends were held when the savepoint was set."""


@dataclass(eq=False)
class Held:
    """The appends of one open transaction.

    Its method :meth:`leave` is the first of the transaction's on-commit functions, so that no other
    function that fails can keep it from running. A rollback of the transaction drops its on-commit
    functions, and so the appends.

    A rollback to a savepoint drops the appends since that savepoint was set. Django itself would
    drop on-commit functions only for savepoints of ``atomic()``, not for savepoints set by hand.
    """

    appends: list[Append]
    _savepoints: list[_Savepoint] = field(default_factory=list)
    """The savepoints that were set since the first append and still exist, the oldest first."""

    def leave(self) -> None:
        leave(self.appends)

    def was_set(self, savepoint: str) -> None:
        self._savepoints.append(_Savepoint(savepoint, len(self.appends)))

    def was_released(self, savepoint: str) -> None:
        """Forget the savepoint, and all savepoints that were set after it: they are gone."""
        if (place := self._place(savepoint)) is not None:
            del self._savepoints[max(place, 0) :]

    def was_rolled_back_to(self, savepoint: str) -> None:
        """Drop the appends since the savepoint was set. The savepoint itself still exists.

        If Django set the savepoint before the first append, all appends are dropped. If SQL of the
        project set it, nobody knows whether that was before or after the appends. Then nothing is
        dropped.
        """
        if (place := self._place(savepoint)) is None:
            return
        since = self._savepoints[place].appends if place >= 0 else 0
        del self.appends[since:]
        del self._savepoints[place + 1 :]

    def _place(self, savepoint: str) -> int | None:
        """The savepoint's place in the list, -1 if it is older, None if it is unknown.

        After ``transaction.clean_savepoints()`` Django may use a name again, so several savepoints
        may have one name. The newest of them counts.
        """
        for place in range(len(self._savepoints) - 1, -1, -1):
            if self._savepoints[place].name == savepoint:
                return place
        return -1 if _NAMED_BY_DJANGO.fullmatch(savepoint) else None
