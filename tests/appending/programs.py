"""Programs of one transaction: any use of blocks and savepoints, with appends in between.

Each append also writes a row into the same database, so the rows that are left after the program
say which events must be left.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from django.contrib.auth.models import Group, Permission
from django.db import DatabaseError, connections, transaction
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from django_jsonbuffer import Bucket
from tests.appending.transactions import Undo
from tests.server import Redis, appends


def new_buckets() -> list[Bucket]:
    """Two buckets, on a server that then knows the scripts."""
    buckets = [Bucket("first"), Bucket("second")]
    for bucket in buckets:
        bucket.append("warm")
        bucket.take()
    return buckets


def compare(
    server: Redis, buckets: list[Bucket], program: "Block", *, using: str = "default"
) -> None:
    """Run the program. Each bucket must then have the events whose rows exist, by one call."""
    server.config_resetstat()
    program.run(Run(buckets, using))
    assert not connections[using].in_atomic_block
    calls, expected = appends(server), _events_of_rows(using)
    Group.objects.using(using).all().delete()
    assert [bucket.take() for bucket in buckets] == expected
    assert calls == sum(map(bool, expected))


def _events_of_rows(using: str) -> list[list[int]]:
    """The events of both buckets, in the order of their appends."""
    names = Group.objects.using(using).values_list("name", flat=True)
    found = sorted((int(event), int(bucket)) for bucket, event in map(str.split, names))
    return [[event for event, of in found if of == bucket] for bucket in (0, 1)]


@dataclass
class Run:
    """A program that runs, and what it has done so far."""

    buckets: Sequence[Bucket]
    using: str = "default"
    events: int = 0
    savepoints: list[str] = field(default_factory=list)
    """Names of the savepoints that were set by hand. They may be gone."""

    def append(self, bucket: int) -> None:
        self.events += 1
        self.buckets[bucket].append(self.events, using=self.using)
        Group.objects.using(self.using).create(name=f"{bucket} {self.events}")

    def by_hand(self, function: Callable[..., None], which: int) -> None:
        """Call a function of ``transaction`` for the newest name of a savepoint but `which`.

        An error of PostgreSQL aborts the transaction. Django does not notice it, so a caller that
        catches the error has to tell Django.
        """
        names = [*dict.fromkeys(reversed(self.savepoints))]
        if not names:
            return
        try:
            function(names[which % len(names)], using=self.using)
        except DatabaseError:
            if connections[self.using].vendor != "sqlite":
                transaction.set_rollback(True, using=self.using)
            raise


class Step(Protocol):
    def run(self, run: Run) -> None: ...


class Append(NamedTuple):
    bucket: int

    def run(self, run: Run) -> None:
        run.append(self.bucket)


class Set(NamedTuple):
    """Set a savepoint."""

    def run(self, run: Run) -> None:
        run.savepoints.append(str(connections[run.using].savepoint()))


class SetAgain(NamedTuple):
    """Set a savepoint under a name that another one may have: that of the k-th one, from 1."""

    number: int

    def run(self, run: Run) -> None:
        connection = connections[run.using]
        connection.clean_savepoints()
        for _ in range(self.number - 1):
            connection.savepoint_commit(str(connection.savepoint()))
        Set().run(run)


class RollBackTo(NamedTuple):
    """Roll back to the newest name of a savepoint but `which`."""

    which: int

    def run(self, run: Run) -> None:
        run.by_hand(transaction.savepoint_rollback, self.which)


class Release(NamedTuple):
    """Commit the newest name of a savepoint but `which`."""

    which: int

    def run(self, run: Run) -> None:
        run.by_hand(transaction.savepoint_commit, self.which)


class Clean(NamedTuple):
    """Let the names of savepoints come again."""

    def run(self, run: Run) -> None:
        transaction.clean_savepoints(using=run.using)


class Break(NamedTuple):
    """Let the innermost block be rolled back at its end. It then takes no statement."""

    def run(self, run: Run) -> None:
        transaction.set_rollback(True, using=run.using)


class Mend(NamedTuple):
    """Roll back to a savepoint, and let a broken block go on."""

    which: int

    def run(self, run: Run) -> None:
        was_broken = transaction.get_rollback(using=run.using)
        transaction.set_rollback(False, using=run.using)
        try:
            run.by_hand(transaction.savepoint_rollback, self.which)
        except DatabaseError:
            transaction.set_rollback(True, using=run.using)
            raise
        if not run.savepoints:
            transaction.set_rollback(was_broken, using=run.using)


class Violate(NamedTuple):
    """Write a row that lets the commit fail."""

    def run(self, run: Run) -> None:
        run.events += 1
        Permission.objects.using(run.using).create(
            content_type_id=1_000_000, codename=str(run.events)
        )


class Block(NamedTuple):
    """An ``atomic()`` block. Each step may fail, and the next one goes on."""

    steps: Sequence[Step]
    has_savepoint: bool = True
    is_durable: bool = False
    fails: bool = False

    def run(self, run: Run) -> None:
        block: Any = transaction.atomic(
            using=run.using, savepoint=self.has_savepoint, durable=self.is_durable
        )
        # A durable block refuses to be nested. The end of a block may fail, if its savepoint is
        # gone or its commit refused.
        with suppress(Undo, DatabaseError, RuntimeError), block:
            for step in self.steps:
                with suppress(DatabaseError):
                    step.run(run)
            if self.fails:
                raise Undo


WHICH = st.integers(0, 2)
APPENDS = st.builds(Append, st.integers(0, 1))
SETS = st.builds(SetAgain, st.integers(1, 3))
ROLLBACKS = st.builds(RollBackTo, WHICH)
RELEASES = st.builds(Release, WHICH)

BY_HAND: SearchStrategy[Step] = APPENDS | SETS | SETS | ROLLBACKS | RELEASES
"""Steps of a program without further blocks, whose savepoints share few names."""

ANY: SearchStrategy[Step] = st.one_of(
    *(APPENDS, APPENDS, SETS, st.builds(Set), ROLLBACKS, RELEASES),
    *(st.builds(Clean), st.builds(Mend, WHICH), st.builds(Break), st.builds(Violate)),
)


def _blocks(steps: SearchStrategy[Step]) -> SearchStrategy[Step]:
    is_durable = st.sampled_from([False, False, False, True])
    return st.builds(
        Block, st.lists(steps, max_size=6), st.booleans(), is_durable, fails=st.booleans()
    )


PROGRAMS = st.builds(
    Block,
    st.lists(BY_HAND, min_size=10, max_size=30)
    | st.lists(st.recursive(ANY, _blocks, max_leaves=12), max_size=16),
    is_durable=st.booleans(),
    fails=st.sampled_from([False, False, False, True]),
)
