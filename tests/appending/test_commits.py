from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import hypothesis
import pytest
from django.contrib.auth.models import Group, Permission
from django.db import IntegrityError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import TestCase
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from django_jsonbuffer import Bucket, gathered, isolation
from django_jsonbuffer.appending import groups
from django_jsonbuffer.django_internals.transactions import run_first_on_commit
from django_jsonbuffer.exceptions import BufferUnavailable, EventTooLarge, InvalidEvent
from django_jsonbuffer.limits import MAX_APPEND_BATCHES
from django_jsonbuffer.store import appends as calls
from django_jsonbuffer.testing import redis_away
from tests.appending.programs import PROGRAMS, Block, compare, new_buckets
from tests.appending.transactions import Undo, rolled_back
from tests.server import Redis, appends

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class TestTransaction:
    def test_events_wait_for_the_commit(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1)
            bucket.extend([2, 3])
            assert bucket.peek() == []
        assert bucket.peek() == [1, 2, 3]

    def test_rollback_drops_them(self, bucket: Bucket) -> None:
        rolled_back(appending=lambda: bucket.append(1))
        bucket.append(2)
        assert bucket.peek() == [2]

    def test_rollback_that_is_asked_for_drops_them(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1)
            transaction.set_rollback(True)
        assert bucket.peek() == []

    def test_commit_that_fails_drops_them(self, bucket: Bucket) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            bucket.append(1)
            Permission.objects.create(content_type_id=1_000_000, codename="x")
        bucket.append(2)
        assert bucket.peek() == [2]

    def test_transactions_follow_each_other(self, bucket: Bucket) -> None:
        for number in range(3):
            with transaction.atomic():
                bucket.append(number)
            rolled_back(appending=lambda: bucket.append("never"))
        assert bucket.peek() == [0, 1, 2]

    def test_hundred_saves_are_one_command_a_bucket_in_order(self, private_server: Redis) -> None:
        first, second = Bucket("first"), Bucket("second")
        first.append("warm")
        second.append("warm")
        private_server.config_resetstat()
        with transaction.atomic():
            for number in range(100):
                with transaction.atomic():
                    Group.objects.create(name=str(number))
                    first.append(number)
                    second.extend([number, -number])
        assert appends(private_server) == 2
        assert first.peek(200) == ["warm", *range(100)]
        assert second.peek(300)[1:] == [n for number in range(100) for n in (number, -number)]

    def test_event_that_is_refused_is_refused_in_the_transaction(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1)
            with pytest.raises(InvalidEvent):
                bucket.append(float("nan"))
            with pytest.raises(EventTooLarge):
                Bucket("orders", batch_size=1).extend([0] * (MAX_APPEND_BATCHES + 1))
        assert bucket.peek() == [1]

    def test_event_is_as_it_was_when_it_was_appended(self, bucket: Bucket) -> None:
        event = {"status": "new"}
        with transaction.atomic():
            bucket.append(event)
            event["status"] = "paid"
        assert bucket.peek() == [{"status": "new"}]

    def test_functions_on_commit_find_them_sent_in_order(self, bucket: Bucket) -> None:
        found: list[list[Any]] = []
        with transaction.atomic():
            transaction.on_commit(lambda: found.append(bucket.peek()))
            transaction.on_commit(lambda: found.append(bucket.peek()))
            bucket.append(1)
            transaction.on_commit(lambda: found.append(bucket.peek()))
            bucket.append(2)
        assert found == [[1, 2]] * 3

    def test_event_that_no_call_may_hold_is_refused_when_it_is_appended(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (calls, groups):
            monkeypatch.setattr(module, "MAX_APPEND_BYTES", 10)
        with transaction.atomic():
            with pytest.raises(EventTooLarge, match="10"):
                bucket.append(1_234_567_890)
            bucket.append(123_456_789)
        assert bucket.peek() == [123_456_789]


class TestSavepoint:
    def test_rolled_back_drops_exactly_its_own(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1)
            rolled_back(appending=lambda: bucket.append("a"))
            bucket.append(2)
            with transaction.atomic():
                bucket.append(3)
                rolled_back(appending=lambda: bucket.append("b"))
                bucket.append(4)
            rolled_back(appending=lambda: bucket.append("c"))
        assert bucket.peek() == [1, 2, 3, 4]

    def test_rolled_back_drops_what_was_nested_in_it(self, bucket: Bucket) -> None:
        def nest() -> None:
            bucket.append("a")
            with transaction.atomic():
                bucket.append("b")
            bucket.append("c")

        with transaction.atomic():
            bucket.append(1)
            rolled_back(appending=nest)
        assert bucket.peek() == [1]

    def test_first_event_in_one_that_is_rolled_back(self, bucket: Bucket) -> None:
        with transaction.atomic():
            rolled_back(appending=lambda: bucket.append("a"))
            bucket.append(1)
        assert bucket.peek() == [1]

    def test_set_by_sql_is_unknown_to_django(self, bucket: Bucket) -> None:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SAVEPOINT mine")
            bucket.append(1)
            transaction.savepoint_rollback("mine")
        assert bucket.peek() == [1]

    def test_block_without_savepoint_rolls_back_all(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1)
            with pytest.raises(Undo), transaction.atomic(savepoint=False):
                bucket.append(2)
                raise Undo
        assert bucket.peek() == []

    def test_set_by_hand(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1)
            savepoint = str(connection.savepoint())
            bucket.append("a")
            transaction.savepoint_rollback(savepoint)
            bucket.append("b")
            transaction.savepoint_rollback(savepoint)
            bucket.append(2)
            kept = str(connection.savepoint())
            bucket.append(3)
            transaction.savepoint_commit(kept)
        assert bucket.peek() == [1, 2, 3]

    def test_rolled_back_to_after_newer_ones_of_its_name_are_gone(self, bucket: Bucket) -> None:
        """``clean_savepoints()`` lets a name come again. A release ends all newer savepoints."""
        with transaction.atomic():
            transaction.clean_savepoints()
            name, older = str(connection.savepoint()), str(connection.savepoint())
            transaction.clean_savepoints()
            bucket.append("a")
            for _ in range(2):
                assert connection.savepoint() == name
                transaction.clean_savepoints()
            transaction.savepoint_commit(older)
            transaction.savepoint_rollback(name)
            bucket.append(1)
        assert bucket.peek() == [1]

    def test_rolled_back_drops_its_own_although_other_code_has_put_a_function_first(
        self, bucket: Bucket
    ) -> None:
        with transaction.atomic():
            bucket.append(1)
            run_first_on_commit(connection, lambda: None)
            rolled_back(appending=lambda: bucket.append("a"))
            bucket.append(2)
        assert bucket.peek() == [1, 2]

    def test_other_functions_on_commit_are_dropped_as_ever(self, bucket: Bucket) -> None:
        ran: list[str] = []
        with transaction.atomic():
            transaction.on_commit(lambda: ran.append("outer"))
            bucket.append(1)
            rolled_back(appending=lambda: transaction.on_commit(lambda: ran.append("inner")))
        assert ran == ["outer"]


class Nest(NamedTuple):
    """An ``atomic()`` block. A step of it appends a number, or is a nested block."""

    steps: list[Any]
    has_savepoint: bool
    fails: bool

    def run(self, bucket: Bucket) -> None:
        with suppress(Undo), transaction.atomic(savepoint=self.has_savepoint):
            for step in self.steps:
                if isinstance(step, Nest):
                    step.run(bucket)
                else:
                    bucket.append(step)
            if self.fails:
                raise Undo

    def kept(self) -> tuple[list[int], bool]:
        """The events that must be left, and whether the block around it must be rolled back."""
        events: list[int] = []
        is_broken = self.fails
        for step in self.steps:
            if isinstance(step, Nest):
                kept, breaks = step.kept()
                events += kept
                is_broken = is_broken or breaks
            else:
                events.append(step)
        return [] if is_broken else events, is_broken and not self.has_savepoint


BLOCKS = st.recursive(
    st.integers(0, 9),
    lambda steps: st.builds(Nest, st.lists(steps, max_size=5), st.booleans(), st.booleans()),
    max_leaves=25,
)


@given(steps=st.lists(BLOCKS, max_size=5))
@hypothesis.settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_nest_of_blocks_leaves_what_it_commits(steps: list[Any]) -> None:
    bucket = Bucket("orders")
    whole = Nest(steps, has_savepoint=True, fails=False)
    whole.run(bucket)
    assert bucket.take() == whole.kept()[0]


@pytest.fixture
def new_connection() -> Iterator[Callable[[], None]]:
    """Makes a connection that has never been used the one of the default database."""
    original, made = connections["default"], []

    def renew() -> None:
        connections["default"] = connections.create_connection("default")
        made.append(connections["default"])

    yield renew
    connections["default"] = original
    for each in made:
        BaseDatabaseWrapper.close(each)  # close() of a database in memory does nothing


class TestProgram:
    """Any use of blocks and savepoints, compared with what the database keeps of it."""

    @given(program=PROGRAMS, earlier=st.none() | PROGRAMS)
    @hypothesis.settings(
        max_examples=300,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    def test_leaves_the_events_whose_rows_it_leaves(
        self,
        private_server: Redis,
        new_connection: Callable[[], None],
        program: Block,
        earlier: Block | None,
    ) -> None:
        new_connection()
        buckets = new_buckets()
        if earlier is not None:
            compare(private_server, buckets, earlier)
        compare(private_server, buckets, program)


@pytest.fixture
def test_case() -> Iterator[type[TestCase]]:
    class Case(TestCase):
        databases = {"default", "other"}

        def runTest(self) -> None: ...  # noqa: N802

    Case.setUpClass()
    try:
        yield Case
    finally:
        Case.doClassCleanups()
        Case.tearDownClass()


class TestTestCase:
    """A project's own tests, in a TestCase that rolls its transaction back."""

    def test_captured_callbacks_send_what_was_appended_within(
        self, bucket: Bucket, test_case: type[TestCase]
    ) -> None:
        bucket.append("before the class' tests")
        with test_case.captureOnCommitCallbacks() as callbacks:
            bucket.append("never sent")
        assert len(callbacks) == 1
        for events in ([1], [2, 3]):
            bucket.append("outside")
            with test_case.captureOnCommitCallbacks(execute=True):
                for event in events:
                    with transaction.atomic():
                        bucket.append(event)
                rolled_back(appending=lambda: bucket.append("rolled back"))
        assert bucket.peek() == [1, 2, 3]

    def test_captured_callbacks_are_those_of_the_database(
        self, bucket: Bucket, test_case: type[TestCase]
    ) -> None:
        with test_case.captureOnCommitCallbacks(using="other", execute=True):
            bucket.append(1, using="other")
        assert bucket.peek() == [1]


class TestIsolatedTestCase:
    """A TestCase in a test run, where its transaction counts as none."""

    @pytest.fixture(autouse=True)
    def isolated_test_case(self, test_case: type[TestCase]) -> Iterator[None]:
        with isolation.isolated("memory"):
            yield

    def test_append_outside_of_atomic_leaves_at_once(self, bucket: Bucket) -> None:
        bucket.append(1)
        assert bucket.peek() == [1]

    def test_error_reaches_the_caller(self, bucket: Bucket) -> None:
        with redis_away(), pytest.raises(BufferUnavailable):
            bucket.append(1)

    def test_append_within_atomic_waits_for_the_next_one_outside(self, bucket: Bucket) -> None:
        with transaction.atomic():
            bucket.append(1)
            assert bucket.peek() == []
        bucket.append(2)
        assert bucket.peek() == [1, 2]

    def test_rollback_drops(self, bucket: Bucket) -> None:
        rolled_back(appending=lambda: bucket.append(1))
        bucket.append(2)
        assert bucket.peek() == [2]

    def test_gathered(self, bucket: Bucket) -> None:
        with gathered():
            bucket.append(1)
            assert bucket.peek() == []
        assert bucket.peek() == [1]


class TestFailure:
    def test_of_another_function_on_commit_does_not_keep_events_back(self, bucket: Bucket) -> None:
        def fail() -> None:
            raise Undo

        with pytest.raises(Undo), transaction.atomic():
            transaction.on_commit(fail)
            bucket.append(1)
        assert bucket.peek() == [1]
