from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from django_jsonbuffer import Bucket, operations
from tests.admin.pages import (
    BUCKET,
    PAGE,
    buttons,
    content,
    fields,
    group_key,
    newest_on,
    said,
)
from tests.prepared import bury, release_failed
from tests.server import Redis

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


class TestActions:
    def test_pause_and_resume(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.append(1)
        response = admin_client.post(f"{PAGE}orders/pause/", follow=True)
        assert said(response) == ["Paused: appends continue, and no worker drains the bucket."]
        assert orders.status().paused is not None
        assert {"Resume", "Pause"} & {*buttons(content(response))} == {"Resume"}
        again = admin_client.post(f"{PAGE}orders/pause/", follow=True)
        assert said(again) == ["It was paused already."]
        response = admin_client.post(f"{PAGE}orders/resume/", follow=True)
        assert said(response) == ["Resumed."]
        assert orders.status().paused is None
        assert said(admin_client.post(f"{PAGE}orders/resume/", follow=True)) == [
            "It was not paused."
        ]
        assert LogEntry.objects.count() == 2

    def test_replay_one_several_and_all(self, admin_client: Client) -> None:
        orders = bury(*range(6))
        ids = [letter.id for letter in orders.dead]
        for sent, message in (
            ({"letter": ids[2]}, "Replayed: 1 dead letter."),
            ({"letter": [ids[0], ids[4]]}, "Replayed: 2 dead letters."),
            ({"all": "1", "newest": ids[1]}, "Replayed: 1 dead letter."),
            ({"all": "1", "newest": ids[5]}, "Replayed: 2 dead letters."),
            ({"letter": ids}, "Replayed: 0 dead letters."),
        ):
            form = {**sent, "confirmed": "1"}
            response = admin_client.post(f"{PAGE}orders/replay/", form, follow=True)
            assert said(response) == [message]
        assert orders.take() == [2, 0, 4, 1, 3, 5]
        assert LogEntry.objects.count() == 4

    def test_replay_of_what_is_no_event_says_so(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        orders = Bucket("orders")
        client_of_server.set(orders.key, "no JSON")
        orders.append(1)
        [letter] = orders.dead.page()
        sent = {"letter": letter.id, "confirmed": "1"}
        response = admin_client.post(f"{PAGE}orders/replay/", sent, follow=True)
        assert said(response) == [
            f"Dead letter {letter.id} does not hold JSON, so it cannot be replayed. Look at its "
            "raw bytes, and discard it."
        ]
        assert orders.status().dead == 1

    @pytest.mark.parametrize("sent", [{}, {"confirmed": "1"}])
    @pytest.mark.parametrize("action", ["replay", "discard"])
    def test_of_no_dead_letter_says_so(
        self, admin_client: Client, action: str, sent: dict[str, str]
    ) -> None:
        """It does not matter which other fields the form has."""
        orders = bury(1, 2)
        sent = {**sent, "newest": newest_on(admin_client.get(BUCKET))}
        response = admin_client.post(f"{PAGE}orders/{action}/", sent, follow=True)
        assert said(response) == ["Nothing was done: select dead letters first."]
        assert LogEntry.objects.count() == 0
        assert orders.status().dead == 2

    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            ({"letter": ["x", "1-1", "<b>"]}, 302),
            ({"all": "1", "newest": "x"}, 400),
            ({"all": "1"}, 400),
            ({"group": "no good"}, 400),
        ],
    )
    @pytest.mark.parametrize("action", ["replay", "discard"])
    def test_of_what_is_no_dead_letter(
        self, admin_client: Client, action: str, sent: dict[str, Any], status: int
    ) -> None:
        orders = bury(1)
        response = admin_client.post(f"{PAGE}orders/{action}/", {**sent, "confirmed": "1"})
        assert response.status_code == status
        assert orders.status().dead == 1
        assert LogEntry.objects.count() == 0

    def test_are_logged_with_what_they_did(self, admin_client: Client, admin_user: User) -> None:
        orders = bury(1)
        orders.extend([1, 2])
        for action in ("pause", "resume", "drain"):
            admin_client.post(f"{PAGE}orders/{action}/")
        newest = orders.dead.newest()
        sent = {"all": "1", "newest": newest, "confirmed": "1"}
        admin_client.post(f"{PAGE}orders/replay/", sent)
        admin_client.post(f"{PAGE}orders/purge/", {"confirmed": "1"})
        entries = [*LogEntry.objects.order_by("pk")]
        assert [entry.get_change_message() for entry in entries] == [
            "Paused: appends continue, and no worker drains the bucket.",
            "Resumed.",
            "Drained: 2 events.",
            "Replayed: 1 dead letter.",
            "Purged: 1 pending event.",
        ]
        for entry in entries:
            assert (entry.user, entry.object_id, entry.object_repr) == (
                admin_user,
                "orders",
                "orders",
            )
            assert entry.get_admin_url() == BUCKET
        assert "Purged: 1 pending event." in content(admin_client.get(BUCKET))
        assert f'<a href="{BUCKET}">orders</a>' in admin_client.get("/admin/").content.decode()

    def test_that_end_half_way_are_logged(
        self, admin_client: Client, private_server: Redis
    ) -> None:
        orders = bury(1)
        sent = {"all": "1", "newest": orders.dead.newest(), "confirmed": "1"}
        private_server.config_set("maxmemory", 1)
        response = admin_client.post(f"{PAGE}orders/replay/", sent, follow=True)
        private_server.config_set("maxmemory", 0)
        assert response.redirect_chain == [(BUCKET, 302)]
        [message] = said(response)
        assert message.startswith("Redis has no memory left")
        [entry] = LogEntry.objects.all()
        assert entry.get_change_message() == f"Ended halfway: replay. {message}"


class TestGroup:
    """The dead letters with the same kind of error."""

    @pytest.mark.parametrize("action", ["replay", "discard"])
    def test_is_asked_about_and_later_ones_stay(self, admin_client: Client, action: str) -> None:
        bury(1, 2, reason=ValueError("no good"))
        orders = bury(3, reason=KeyError("else"))
        page = admin_client.get(BUCKET)
        key = group_key(page, "ValueError: no good")
        sent = {"group": key, "newest": newest_on(page)}
        bury(4, reason=ValueError("no good"))
        asked = admin_client.post(f"{PAGE}orders/{action}/", sent)
        assert orders.status().dead == 4
        assert fields(asked) == {
            **{name: [text] for name, text in sent.items()},
            "confirmed": ["1"],
        }
        for sentence in (
            "2 dead letters",
            "All have the error: ValueError: no good",
            "Dead letters that came after you opened the page stay.",
        ):
            assert sentence in content(asked)
        response = admin_client.post(f"{PAGE}orders/{action}/", fields(asked), follow=True)
        assert said(response) == [f"{action.capitalize()}ed: 2 dead letters."]
        assert [letter.event for letter in orders.dead] == [3, 4]
        assert orders.take() == ([1, 2] if action == "replay" else [])
        [entry] = LogEntry.objects.all()
        assert entry.get_change_message() in said(response)

    @pytest.mark.parametrize("action", ["replay", "discard"])
    def test_that_there_is_not_does_nothing(self, admin_client: Client, action: str) -> None:
        orders = bury(1)
        sent = {"group": "nothing like that", "newest": orders.dead.newest(), "confirmed": "1"}
        response = admin_client.post(f"{PAGE}orders/{action}/", sent, follow=True)
        assert said(response)[0].endswith(": 0 dead letters.")
        assert orders.status().dead == 1
        assert LogEntry.objects.count() == 0


class TestTryNow:
    """The batch is tried again at once, although it waits."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
        """A list that gets the bucket and the batch of each call."""
        made: list[tuple[str, str]] = []

        def retry_now(bucket: Bucket, batch: str) -> bool:
            made.append((bucket.name, batch))
            return batch == "1-1"

        monkeypatch.setattr(operations, "retry_now", retry_now)
        return made

    def test_says_and_logs_what_it_did(
        self, admin_client: Client, asked: list[tuple[str, str]]
    ) -> None:
        Bucket("orders").append(1)
        response = admin_client.post(f"{PAGE}orders/retry/", {"batch": "1-1"}, follow=True)
        assert response.redirect_chain == [(BUCKET, 302)]
        assert said(response) == ["Batch 1-1 can be tried at once: the next free worker takes it."]
        assert asked == [("orders", "1-1")]
        [entry] = LogEntry.objects.all()
        assert (
            entry.get_change_message()
            == "Batch 1-1 can be tried at once: the next free worker takes it."
        )

    @pytest.mark.parametrize("sent", [{"batch": "2-2"}, {}, {"batch": "<b>"}])
    def test_of_a_batch_that_does_not_wait_does_nothing(
        self, admin_client: Client, asked: list[tuple[str, str]], sent: dict[str, str]
    ) -> None:
        Bucket("orders").append(1)
        response = admin_client.post(f"{PAGE}orders/retry/", sent, follow=True)
        assert said(response) == ["Nothing was done: the batch is not waiting any more."]
        assert LogEntry.objects.count() == 0

    def test_is_offered_for_each_batch_that_waits(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        batch = release_failed("orders", error="KeyError", backoff=timedelta(seconds=50))
        page = content(admin_client.get(BUCKET))
        assert f'name="batch" value="{batch}"' in page
        assert f"Try now {batch}" in buttons(page)

    def test_is_not_offered_for_a_batch_that_a_worker_may_take(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        batch = release_failed("orders", error="KeyError")
        page = content(admin_client.get(BUCKET))
        assert batch in page
        assert "Try now" not in page

    def test_lets_a_worker_take_the_batch(self, admin_client: Client) -> None:
        got: list[int] = []
        orders = Bucket("orders")
        orders.append(1)
        batch = release_failed("orders", error="KeyError", backoff=timedelta(seconds=50))
        orders.processor(got.extend)
        orders.drain()
        assert got == []
        admin_client.post(f"{PAGE}orders/retry/", {"batch": batch})
        orders.drain()
        assert got == [1]
