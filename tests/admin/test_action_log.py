from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from pytest_django import DjangoAssertNumQueries

from django_jsonbuffer import Bucket
from django_jsonbuffer.admin import BucketAdmin
from django_jsonbuffer.admin.action_log import SHOWN, ActionLog
from django_jsonbuffer.admin.actions import Outcome
from django_jsonbuffer.exceptions import KeyOccupied
from django_jsonbuffer.models import Bucket as BucketModel
from tests.admin.pages import BUCKET, PAGE, part, plain
from tests.prepared import bury
from tests.urls import second_site

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


@pytest.fixture
def begin(admin_user: User) -> Callable[..., ActionLog]:
    """Begins the action `pause` with these buckets."""
    request = RequestFactory().post("/")
    request.user = admin_user

    def begin(*names: str) -> ActionLog:
        log = ActionLog(BucketAdmin(BucketModel, second_site), request, "pause")
        log.begin(*names)
        return log

    return begin


def entries() -> dict[str, str]:
    """The message of each entry, by bucket."""
    return {str(entry.object_id): entry.get_change_message() for entry in LogEntry.objects.all()}


class TestActionLog:
    def test_has_an_entry_before_anything_is_done(self, begin: Callable[..., ActionLog]) -> None:
        log = begin("a", "b")
        assert entries() == {"a": "Begun: pause.", "b": "Begun: pause."}
        log.begin("c")
        assert entries().keys() == {"a", "b", "c"}

    def test_has_the_results_at_the_end(
        self, begin: Callable[..., ActionLog], admin_user: User
    ) -> None:
        log = begin()
        assert entries() == {}
        for name, result in (
            ("done", Outcome("Paused.")),
            ("refused", KeyOccupied("A key is of another type.")),
            ("unchanged", Outcome("It was paused already.", is_logged=False)),
        ):
            log.begin(name)
            log.note(name, result)
        assert entries() == dict.fromkeys(("done", "refused", "unchanged"), "Begun: pause.")
        log.close()
        assert entries() == {
            "done": "Paused.",
            "refused": "Ended halfway: pause. A key is of another type.",
        }
        assert {entry.user for entry in LogEntry.objects.all()} == {admin_user}

    def test_keeps_the_entry_of_the_bucket_in_hand(self, begin: Callable[..., ActionLog]) -> None:
        """Nobody knows how far an action came that ended unexpectedly."""
        log = begin("done")
        log.note("done", Outcome("Paused."))
        log.begin("in-hand")
        log.close()
        assert entries() == {"done": "Paused.", "in-hand": "Begun: pause."}

    def test_of_a_thousand_buckets_takes_a_query_for_each_entry_and_few_more(
        self,
        begin: Callable[..., ActionLog],
        django_assert_max_num_queries: Callable[..., Any],
    ) -> None:
        """Entries are inserted one by one, because not every database tells the keys of many. Then
        there are an update and a delete for 500 entries, or for as many as the database allows."""
        names = [f"bucket-{number}" for number in range(1000)]
        with django_assert_max_num_queries(1000 + 10):
            log = begin(*names)
        for name in names:
            log.note(name, Outcome(f"Paused {name}.", is_logged=name in names[:500]))
        with django_assert_max_num_queries(20):
            log.close()
        assert entries() == {name: f"Paused {name}." for name in names[:500]}


class TestRecentActions:
    def test_are_the_last_ten_newest_first(self, admin_client: Client) -> None:
        bury(1)
        for number in range(SHOWN + 2):
            action = "pause" if number % 2 == 0 else "resume"
            admin_client.post(f"{PAGE}orders/{action}/")
        log = plain(part(admin_client.get(BUCKET), "log"))
        assert log.count("admin:") == SHOWN
        assert log.index("Resumed.") < log.index("Paused:")
        assert "7 more actions" in log

    def test_are_those_of_the_bucket(self, admin_client: Client) -> None:
        bury(1)
        Bucket("other").append(1)
        admin_client.post(f"{PAGE}other/pause/")
        assert "No action has been taken on this bucket" in part(admin_client.get(BUCKET), "log")

    def test_need_one_query(
        self, admin_client: Client, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        """Besides those for session and user."""
        bury(1)
        for action in ("pause", "resume"):
            admin_client.post(f"{PAGE}orders/{action}/")
        admin_client.get(BUCKET)
        with django_assert_num_queries(3):
            admin_client.get(BUCKET)
