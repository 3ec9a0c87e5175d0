"""Real use of each undocumented part of Django, so that a test fails when Django changes it."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, connections, transaction
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.db.transaction import TransactionManagementError

from django_jsonbuffer.appending.commits import _NAMED_BY_DJANGO
from django_jsonbuffer.django_internals.transactions import (
    _NOTICES,
    close_if_broken,
    first_on_commit,
    is_in_atomic,
    is_test_case,
    open_transactions,
    roll_back,
    run_first_on_commit,
    run_smallest_query,
    watch_savepoints,
    will_commit,
)

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class Undo(Exception):
    """Raised to roll back."""


@pytest.fixture
def autocommit_off() -> Iterator[None]:
    transaction.set_autocommit(False)
    yield
    transaction.rollback()
    transaction.set_autocommit(True)


@pytest.fixture
def of_a_file(tmp_path: Path) -> Iterator[DatabaseWrapper]:
    """A connection that close() closes. It leaves one to a database in memory open."""
    database = {
        **connection.settings_dict,
        "NAME": tmp_path / "database",
        "CONN_MAX_AGE": None,
    }
    with closing(DatabaseWrapper(database, "of a file")) as wrapper:
        yield wrapper


class TestAtomic:
    def test_is_one_that_django_commits(self) -> None:
        assert not is_in_atomic(connection)
        assert not will_commit(connection)
        with transaction.atomic(), transaction.atomic():
            assert is_in_atomic(connection)
            assert will_commit(connection)
            assert not is_in_atomic(connections["other"])
        assert not is_in_atomic(connection)
        assert not will_commit(connection)

    @pytest.mark.usefixtures("autocommit_off")
    def test_with_autocommit_off_is_one_that_the_project_commits(self) -> None:
        assert not will_commit(connection)
        with transaction.atomic():
            assert is_in_atomic(connection)
            assert not will_commit(connection)

    def test_of_a_project_is_not_one_of_a_test_case(self) -> None:
        assert not is_test_case(connection)
        with transaction.atomic():
            assert not is_test_case(connection)

    @pytest.mark.django_db(transaction=False)
    def test_of_a_test_case(self) -> None:
        assert is_test_case(connection)
        with transaction.atomic():
            assert is_test_case(connection)


class TestOnCommit:
    def test_first_runs_first_and_once(self) -> None:
        ran: list[int] = []
        with transaction.atomic():
            assert first_on_commit(connection) is None
            transaction.on_commit(lambda: ran.append(2))

            def first() -> None:
                ran.append(1)

            run_first_on_commit(connection, first)
            assert first_on_commit(connection) is first
        assert ran == [1, 2]
        assert first_on_commit(connection) is None

    def test_first_one_that_was_registered_is_found(self) -> None:
        def registered() -> None: ...

        with transaction.atomic():
            transaction.on_commit(registered)
            transaction.on_commit(lambda: None)
            assert first_on_commit(connection) is registered

    def test_first_runs_though_a_later_one_fails(self) -> None:
        ran: list[int] = []

        def fail() -> None:
            raise Undo

        with pytest.raises(Undo), transaction.atomic():
            transaction.on_commit(fail)
            run_first_on_commit(connection, lambda: ran.append(1))
        assert ran == [1]

    def test_error_of_the_first_is_raised(self) -> None:
        def fail() -> None:
            raise Undo

        with pytest.raises(Undo), transaction.atomic():
            run_first_on_commit(connection, fail)

    def test_rollback_removes_all(self) -> None:
        ran: list[int] = []
        with pytest.raises(Undo), transaction.atomic():
            run_first_on_commit(connection, lambda: ran.append(1))
            raise Undo
        assert first_on_commit(connection) is None
        with transaction.atomic():
            pass
        assert ran == []

    def test_rollback_to_a_savepoint_keeps_it(self) -> None:
        ran: list[int] = []
        with transaction.atomic():
            savepoint = str(connection.savepoint())
            with pytest.raises(Undo), transaction.atomic():
                run_first_on_commit(connection, lambda: ran.append(1))
                raise Undo
            transaction.savepoint_rollback(savepoint)
        assert ran == [1]


class Watcher:
    """Notes what it learns."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def was_set(self, savepoint: str) -> None:
        self.seen.append(("set", savepoint))

    def was_released(self, savepoint: str) -> None:
        self.seen.append(("released", savepoint))

    def was_rolled_back_to(self, savepoint: str) -> None:
        self.seen.append(("rolled back", savepoint))


class TestSavepoints:
    @pytest.fixture
    def watcher(self) -> Iterator[Watcher]:
        """Watches a connection that no test before has watched."""
        attributes, methods = vars(connections["default"]), [*_NOTICES]
        before = {name: attributes.pop(name) for name in methods if name in attributes}
        watcher = Watcher()
        watch_savepoints(connections["default"], find_watcher=lambda connection: watcher)
        yield watcher
        for name in methods:
            del attributes[name]
        attributes.update(before)

    def test_of_functions_of_transaction_are_seen(self, watcher: Watcher) -> None:
        with transaction.atomic():
            first, second = str(connection.savepoint()), str(connection.savepoint())
            transaction.savepoint_rollback(second)
            transaction.savepoint_commit(first)
        assert watcher.seen == [
            ("set", first),
            ("set", second),
            ("rolled back", second),
            ("released", first),
        ]

    def test_of_blocks_are_seen(self, watcher: Watcher) -> None:
        with transaction.atomic():
            with transaction.atomic():
                pass
            with pytest.raises(Undo), transaction.atomic():
                raise Undo
        kinds = [kind for kind, _ in watcher.seen]
        assert kinds == ["set", "released", "set", "rolled back", "released"]
        (first, _), (_, second) = watcher.seen[1], watcher.seen[3]
        assert first == "released"
        assert {name for _, name in watcher.seen[2:]} == {second}

    def test_names_are_of_the_form_that_tells_them_from_others(self, watcher: Watcher) -> None:
        with transaction.atomic():
            savepoint = str(connection.savepoint())
        assert _NAMED_BY_DJANGO.fullmatch(savepoint)

    def test_names_come_again_after_they_were_cleaned(self, watcher: Watcher) -> None:
        with transaction.atomic():
            transaction.clean_savepoints()
            first = connection.savepoint()
            transaction.clean_savepoints()
            assert connection.savepoint() == first

    def test_that_the_database_refuses_are_not_seen(self, watcher: Watcher) -> None:
        with pytest.raises(DatabaseError), transaction.atomic():
            transaction.savepoint_rollback("s1_x99")
        assert watcher.seen == []

    def test_are_watched_once(self, watcher: Watcher) -> None:
        another = Watcher()
        watch_savepoints(connections["default"], find_watcher=lambda connection: another)
        with transaction.atomic():
            connection.savepoint()
        assert (len(watcher.seen), another.seen) == (1, [])

    def test_may_be_named_by_keyword(self, watcher: Watcher) -> None:
        with transaction.atomic():
            savepoint = str(connection.savepoint())
            connection.savepoint_rollback(sid=savepoint)
            connection.savepoint_commit(sid=savepoint)
        kinds = [kind for kind, _ in watcher.seen]
        assert kinds == ["set", "rolled back", "released"]
        assert {name for _, name in watcher.seen} == {savepoint}

    def test_are_seen_where_other_code_has_replaced_a_method(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As tests do, and libraries that trace queries."""
        for method in _NOTICES:
            original = getattr(type(connections["default"]), method).__get__(connections["default"])
            monkeypatch.setitem(vars(connections["default"]), method, partial(original))
        watcher = Watcher()
        for _ in range(2):
            watch_savepoints(connections["default"], find_watcher=lambda connection: watcher)
        with transaction.atomic(), transaction.atomic():
            pass
        assert [kind for kind, _ in watcher.seen] == ["set", "released"]

    def test_are_not_seen_without_a_transaction(self, watcher: Watcher) -> None:
        assert connection.savepoint() is None
        assert watcher.seen == []

    def test_on_commit_functions_of_blocks_are_dropped_but_not_those_of_others(self) -> None:
        """The reason why this app does not leave it to Django."""
        ran: list[str] = []
        with transaction.atomic():
            savepoint = str(connection.savepoint())
            transaction.on_commit(lambda: ran.append("by hand"))
            transaction.savepoint_rollback(savepoint)
            with pytest.raises(Undo), transaction.atomic():
                transaction.on_commit(lambda: ran.append("block"))
                raise Undo
        assert ran == ["by hand"]


class TestOpenTransactions:
    def test_of_all_databases(self) -> None:
        assert open_transactions() == set()
        with transaction.atomic():
            assert open_transactions() == {"default"}
            with transaction.atomic(using="other"):
                assert open_transactions() == {"default", "other"}
        assert open_transactions() == set()

    @pytest.mark.usefixtures("autocommit_off")
    def test_with_autocommit_off(self) -> None:
        assert open_transactions() == {"default"}

    @pytest.mark.usefixtures("autocommit_off")
    def test_of_a_database_that_has_it_off_by_its_settings_do_not_count(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(connection.settings_dict, "AUTOCOMMIT", False)
        assert open_transactions() == set()

    def test_connects_to_no_database(
        self, of_a_file: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connections, "all", lambda initialized_only: [of_a_file])
        assert open_transactions() == set()
        assert of_a_file.connection is None
        of_a_file.ensure_connection()
        assert open_transactions() == set()


class TestRollBack:
    def is_as_new(self) -> bool:
        """Whether a transaction can be begun, and is committed at its end."""
        assert not is_in_atomic(connection)
        assert open_transactions() == set()
        ran: list[str] = []
        with transaction.atomic(durable=True):
            Group.objects.create(name="kept")
            transaction.on_commit(lambda: ran.append("on commit"))
        connection.rollback()
        return ran == ["on commit"] and [group.name for group in Group.objects.all()] == ["kept"]

    def test_ends_nested_blocks_with_all_that_they_wrote(self) -> None:
        ran: list[int] = []
        blocks = [transaction.atomic(), transaction.atomic()]
        for block in blocks:
            block.__enter__()
            Group.objects.create(name=f"{len(ran)} {id(block)}")
            transaction.on_commit(lambda: ran.append(1))
        roll_back(connection)
        assert self.is_as_new()
        assert ran == []

    def test_ends_one_that_is_broken(self) -> None:
        transaction.atomic().__enter__()
        with pytest.raises(Undo), transaction.atomic(savepoint=False):
            raise Undo
        with pytest.raises(TransactionManagementError):
            Group.objects.exists()
        roll_back(connection)
        assert self.is_as_new()

    def test_ends_one_that_an_interrupt_left_half_begun(self) -> None:
        connection.set_autocommit(False)
        roll_back(connection)
        assert self.is_as_new()

    def test_ends_autocommit_that_was_switched_off(self) -> None:
        transaction.set_autocommit(False)
        Group.objects.create(name="lost")
        roll_back(connection)
        assert transaction.get_autocommit()
        assert self.is_as_new()

    def test_of_a_connection_that_was_closed_within(self, of_a_file: DatabaseWrapper) -> None:
        of_a_file.set_autocommit(False)
        of_a_file.in_atomic_block = True
        of_a_file.close()
        with pytest.raises(DatabaseError):
            run_smallest_query(of_a_file)
        roll_back(of_a_file)
        run_smallest_query(of_a_file)
        assert of_a_file.get_autocommit()


class TestRunSmallestQuery:
    def test_succeeds_in_a_transaction_that_can_be_committed(self) -> None:
        with transaction.atomic():
            run_smallest_query(connection)

    def test_raises_in_one_that_cannot(self) -> None:
        with transaction.atomic():
            transaction.set_rollback(True)
            with pytest.raises(TransactionManagementError):
                run_smallest_query(connection)


class TestCloseIfBroken:
    def test_without_an_error_tests_nothing(
        self, of_a_file: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(of_a_file, "is_usable", lambda: pytest.fail("It was tested."))
        run_smallest_query(of_a_file)
        close_if_broken(of_a_file)
        assert of_a_file.connection is not None

    @pytest.mark.parametrize("is_usable", [False, True])
    def test_after_an_error_closes_one_that_is_not_usable(
        self, of_a_file: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch, is_usable: bool
    ) -> None:
        monkeypatch.setattr(of_a_file, "is_usable", lambda: is_usable)
        with of_a_file.cursor() as cursor, pytest.raises(DatabaseError):
            cursor.execute("rubbish")
        close_if_broken(of_a_file)
        assert (of_a_file.connection is not None) == is_usable
        run_smallest_query(of_a_file)
