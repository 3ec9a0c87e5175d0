import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.utils import timezone, translation
from pytest_django import Settings

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.admin import actions
from django_jsonbuffer.recording.actors import actor
from tests.admin.pages import BUCKET, CODENAMES, PAGE, content, said
from tests.prepared import bury
from tests.server import Redis

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


def in_german(get_response: Callable[[HttpRequest], HttpResponse]) -> object:
    """A middleware that answers in German and in the time zone of Tokyo."""

    def middleware(request: HttpRequest) -> HttpResponse:
        with translation.override("de"), timezone.override("Asia/Tokyo"):
            return get_response(request)

    return middleware


class TestActions:
    def test_drain_processes_what_is_pending(self, admin_client: Client) -> None:
        got: list[int] = []
        orders = Bucket("orders", batch_size=2)
        orders.processor(got.extend)
        orders.extend(range(5))
        response = admin_client.post(f"{PAGE}orders/drain/", follow=True)
        assert response.redirect_chain == [(BUCKET, 302)]
        assert got == [0, 1, 2, 3, 4]
        assert said(response) == ["Drained: 5 events."]

    def test_drain_reports_failures_and_of_what_is_left(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.append(1)
        orders.processor(lambda batch: 1 / 0)
        response = admin_client.post(f"{PAGE}orders/drain/", follow=True)
        assert said(response) == ["Drained: 0 events. 1 failure: see the log. 1 event is pending."]

    def test_drain_ends_after_some_seconds(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(actions, "DRAIN_SECONDS", 0.0)
        got: list[int] = []
        orders = Bucket("orders", batch_size=1)
        orders.processor(got.extend)
        Bucket("orders", batch_size=1).extend(range(5))
        response = admin_client.post(f"{PAGE}orders/drain/", follow=True)
        assert got == [0]
        assert said(response) == ["Drained: 1 event. 4 events are pending."]

    def test_drain_promises_no_end_of_the_batch_in_hand(self, admin_client: Client) -> None:
        Bucket("orders").processor(print)
        Bucket("orders").append(1)
        page = content(admin_client.get(BUCKET))
        assert "Begins no batch after 10 seconds, and finishes the last one." in page

    def test_drain_without_a_processor_says_so(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        assert "Drain now" not in content(admin_client.get(BUCKET))
        response = admin_client.post(f"{PAGE}orders/drain/", follow=True)
        assert said(response)[0].startswith("Bucket 'orders' has no processor.")
        assert LogEntry.objects.count() == 0

    def test_drain_of_a_paused_bucket_says_so(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.processor(lambda batch: None)
        orders.append(1)
        orders.pause()
        response = admin_client.post(f"{PAGE}orders/drain/", follow=True)
        assert said(response) == ["Drained: 0 events. The bucket is paused: resume it first."]
        assert orders.peek() == [1]

    def test_drain_commits_what_it_stores_though_requests_are_atomic(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An acknowledged batch whose rows are rolled back with the request would be lost."""
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
        within: list[bool] = []
        orders = Bucket("orders")
        orders.processor(lambda batch: within.append(connection.in_atomic_block))
        orders.append(1)
        admin_client.post(f"{PAGE}orders/drain/")
        assert within == [False]

    def test_drain_knows_nothing_of_the_request(
        self, admin_client: Client, settings: Settings
    ) -> None:
        """A processor runs as in a worker: its appends reach Redis before it returns."""
        settings.MIDDLEWARE = [
            *settings.MIDDLEWARE,
            "django_jsonbuffer.middleware.gathering_middleware",
            "django_jsonbuffer.middleware.actor_middleware",
            "tests.admin.test_actions.in_german",
        ]
        seen: list[object] = []

        def forward(batch: Batch) -> None:
            Bucket("next").extend(batch)
            seen.extend([Bucket("next").peek(), actor(), translation.get_language()])
            seen.append(timezone.get_current_timezone_name())

        orders = Bucket("orders")
        orders.append(1, now=True)
        orders.processor(forward)
        response = admin_client.post(f"{PAGE}orders/drain/", follow=True)
        assert seen == [[1], {}, settings.LANGUAGE_CODE, settings.TIME_ZONE]
        assert said(response) == ["Abgearbeitet: 1 Ereignis."]
        assert translation.get_language() == settings.LANGUAGE_CODE

    def test_pause_and_resume(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.append(1)
        response = admin_client.post(f"{PAGE}orders/pause/", follow=True)
        assert said(response) == ["Paused: appends continue, and no worker drains the bucket."]
        assert orders.status().paused is not None
        assert "Resume</button>" in content(response)
        assert "Pause</button>" not in content(response)
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
            response = admin_client.post(f"{PAGE}orders/replay/", sent, follow=True)
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
        response = admin_client.post(f"{PAGE}orders/replay/", {"letter": letter.id}, follow=True)
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
        [newest] = re.findall(r'name="newest" value="(.*?)"', content(admin_client.get(BUCKET)))
        sent = {**sent, "newest": newest}
        response = admin_client.post(f"{PAGE}orders/{action}/", sent, follow=True)
        assert said(response) == ["Nothing was done: select dead letters first."]
        assert LogEntry.objects.count() == 0
        assert orders.status().dead == 2

    @pytest.mark.parametrize(
        "sent", [{"letter": ["x", "1-1", "<b>"]}, {"all": "1", "newest": "x"}, {"all": "1"}]
    )
    def test_discard_of_what_is_no_dead_letter(
        self, admin_client: Client, sent: dict[str, Any]
    ) -> None:
        orders = bury(1)
        response = admin_client.post(f"{PAGE}orders/discard/", {**sent, "confirmed": "1"})
        assert response.status_code == (400 if "all" in sent else 302)
        assert orders.status().dead == 1
        assert LogEntry.objects.count() == 0

    def test_are_logged_with_what_they_did(self, admin_client: Client, admin_user: User) -> None:
        orders = bury(1)
        orders.extend([1, 2])
        for action in ("pause", "resume", "drain"):
            admin_client.post(f"{PAGE}orders/{action}/")
        newest = orders.dead.newest()
        admin_client.post(f"{PAGE}orders/replay/", {"all": "1", "newest": newest})
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
        sent = {"all": "1", "newest": orders.dead.newest()}
        private_server.config_set("maxmemory", 1)
        response = admin_client.post(f"{PAGE}orders/replay/", sent, follow=True)
        private_server.config_set("maxmemory", 0)
        assert response.redirect_chain == [(BUCKET, 302)]
        [message] = said(response)
        assert message.startswith("Redis has no memory left")
        [entry] = LogEntry.objects.all()
        assert entry.get_change_message() == f"Ended halfway: replay. {message}"

    @pytest.mark.parametrize("action", actions.PERMISSIONS)
    def test_are_posts_with_a_token(
        self, admin_client: Client, admin_user: User, action: str
    ) -> None:
        bury(1)
        path = f"{PAGE}orders/{action}/"
        before = Bucket("orders").status()
        assert admin_client.get(path)["Location"] == BUCKET  # as after a login
        assert admin_client.put(path).status_code == 405
        assert Bucket("orders").status().paused is None
        assert Bucket("orders").status().dead == before.dead
        assert LogEntry.objects.count() == 0
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(admin_user)
        assert strict.post(path, {"confirmed": "1", "all": "1"}).status_code == 403

    @pytest.mark.parametrize("action", actions.PERMISSIONS)
    @pytest.mark.usefixtures("unreachable")
    def test_of_a_redis_that_is_away_are_said_with_status_503(
        self, admin_client: Client, action: str
    ) -> None:
        assert admin_client.post(f"{PAGE}orders/{action}/").status_code == 503
        assert LogEntry.objects.count() == 0

    @pytest.mark.parametrize("action", actions.PERMISSIONS)
    def test_of_what_is_no_bucket_are_not_found(self, admin_client: Client, action: str) -> None:
        assert admin_client.post(f"{PAGE}orders/{action}/").status_code == 404


class TestPermissions:
    @pytest.mark.parametrize("missing", CODENAMES)
    @pytest.mark.parametrize(("action", "needed"), actions.PERMISSIONS.items())
    def test_of_its_own_is_needed_for_each_action(
        self,
        staff_client: Client,
        grant: Callable[..., None],
        action: str,
        needed: str,
        missing: str,
    ) -> None:
        orders = bury(1)
        orders.append(2)
        before = orders.status()
        grant(*(codename for codename in CODENAMES if codename != missing))
        sent = {"confirmed": "1", "letter": [letter.id for letter in orders.dead]}
        response = staff_client.post(f"{PAGE}orders/{action}/", sent)
        # In the admin, the permission to change includes the permission to view.
        is_refused = missing == needed
        assert response.status_code == (403 if is_refused else 302)
        after = orders.status()
        if is_refused:
            assert (after.pending, after.dead, after.paused) == (before.pending, 1, None)

    def test_to_see_the_bucket_is_needed_for_any(
        self, staff_client: Client, grant: Callable[..., None]
    ) -> None:
        bury(1)
        grant("view_events", "drain_bucket", "delete_events")
        for path in (PAGE, BUCKET):
            assert staff_client.get(path).status_code == 403
        for action in ("drain", "purge", "discard"):
            assert staff_client.post(f"{PAGE}orders/{action}/").status_code == 403

    def test_offer_what_they_allow(self, staff_client: Client, grant: Callable[..., None]) -> None:
        bury("secret")
        Bucket("orders").append("secret")
        offers = {
            "drain_bucket": ["Drain now"],
            "change_bucket": ["Pause", "Replay selected", "Replay all 1"],
            "delete_events": ["Purge…", "Discard selected…", "Discard all 1…"],
            "view_events": [],
        }
        for codename, buttons in offers.items():
            grant("view_bucket", "view_events", codename)
            page = content(staff_client.get(BUCKET))
            found = re.findall(r'<button type="submit"[^>]*>(.*?)</button>', page)
            assert found == buttons
            assert "secret" in page

    def test_to_see_sizes_shows_no_event(
        self, staff_client: Client, grant: Callable[..., None]
    ) -> None:
        bury("secret", reason="secret")
        Bucket("orders").append("secret")
        grant("view_bucket", "change_bucket", "delete_events", "drain_bucket")
        page = content(staff_client.get(BUCKET))
        assert "secret" not in page
        assert "You do not have the permission to view events." in page
        assert "Replay all 1" in page
        assert "Replay selected" not in page
