from collections.abc import Callable

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.utils import timezone, translation
from pytest_django import Settings

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.admin import drains
from django_jsonbuffer.recording.actors import actor
from tests.admin.pages import BUCKET, PAGE, buttons, content, said
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


class TestDrain:
    def test_processes_what_is_pending(self, admin_client: Client) -> None:
        got: list[int] = []
        orders = Bucket("orders", batch_size=2)
        orders.processor(got.extend)
        orders.extend(range(5))
        response = admin_client.post(f"{PAGE}orders/drain/", follow=True)
        assert response.redirect_chain == [(BUCKET, 302)]
        assert got == [0, 1, 2, 3, 4]
        assert said(response) == ["Drained: 5 events."]

    def test_reports_failures_and_of_what_is_left(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.append(1)
        orders.processor(lambda batch: 1 / 0)
        response = admin_client.post(f"{PAGE}orders/drain/", follow=True)
        assert said(response) == ["Drained: 0 events. 1 failure: see the log. 1 event is pending."]

    def test_ends_after_some_seconds(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(drains, "DRAIN_SECONDS", 0.0)
        got: list[int] = []
        orders = Bucket("orders", batch_size=1)
        orders.processor(got.extend)
        Bucket("orders", batch_size=1).extend(range(5))
        response = admin_client.post(f"{PAGE}orders/drain/", follow=True)
        assert got == [0]
        assert said(response) == ["Drained: 1 event. 4 events are pending."]

    def test_promises_no_end_of_the_batch_in_hand(self, admin_client: Client) -> None:
        Bucket("orders").processor(print)
        Bucket("orders").append(1)
        page = content(admin_client.get(BUCKET))
        assert "Drain now" in buttons(page)
        assert (
            "Processes events in this web process, for 10 seconds. The last batch may take longer."
            in page
        )

    def test_without_a_processor_says_so(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        page = content(admin_client.get(BUCKET))
        assert "Drain now" not in buttons(page)
        assert "It cannot be drained here, because this site declares no processor for it." in page
        response = admin_client.post(f"{PAGE}orders/drain/", follow=True)
        assert said(response)[0].startswith("Bucket 'orders' has no processor.")
        assert LogEntry.objects.count() == 0

    def test_of_a_paused_bucket_says_so(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.processor(lambda batch: None)
        orders.append(1)
        orders.pause()
        page = content(admin_client.get(BUCKET))
        assert "Drain now" not in buttons(page)
        assert "It cannot be drained while it is paused." in page
        response = admin_client.post(f"{PAGE}orders/drain/", follow=True)
        assert said(response) == ["Drained: 0 events. The bucket is paused: resume it first."]
        assert orders.peek() == [1]

    def test_commits_what_it_stores_though_requests_are_atomic(
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

    def test_knows_nothing_of_the_request(self, admin_client: Client, settings: Settings) -> None:
        """A processor runs as in a worker: its appends reach Redis before it returns."""
        settings.MIDDLEWARE = [
            *settings.MIDDLEWARE,
            "django_jsonbuffer.middleware.gathering_middleware",
            "django_jsonbuffer.middleware.actor_middleware",
            "tests.admin.test_drains.in_german",
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

    def test_that_redis_ends_says_what_it_has_done(
        self, admin_client: Client, private_server: Redis
    ) -> None:
        """And is logged: the processor has seen events."""
        orders = Bucket("orders", batch_size=1)

        def occupy(batch: Batch) -> None:
            if batch[0] == 2:
                private_server.delete(orders.key)
                private_server.lpush(orders.key, "foreign")

        orders.processor(occupy)
        Bucket("orders", batch_size=1).extend([1, 2])
        orders.append(3)
        response = admin_client.post(f"{PAGE}orders/drain/", follow=True)
        [message] = said(response)
        assert message.startswith("Drained: 3 events. ")
        assert "holds a value of another type" in message
        assert [entry.get_change_message() for entry in LogEntry.objects.all()] == [message]
