import os
import socket
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client

from django_jsonbuffer import Bucket
from tests.admin.pages import BUCKET, content, part, plain, tables
from tests.prepared import release_failed, store_of

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


class TestWorkers:
    def test_are_shown_with_what_they_hold(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.extend([1, 2])
        pages = []
        orders.processor(lambda batch: pages.append((batch.id, admin_client.get(BUCKET))))
        orders.drain()
        [(id, page)] = pages
        [[headings, [worker, heard, batch, since, attempt]]] = tables(part(page, "bucket-workers"))
        assert headings == ["Worker", "Last heard of", "Batch", "Held for", "Attempt"]
        assert worker == f"{socket.gethostname()}:{os.getpid()}"
        assert heard.endswith(" s")
        assert (batch, attempt) == (id, "1")
        assert since.endswith(" s")
        assert "No worker drains this bucket." in content(admin_client.get(BUCKET))

    def test_that_hold_a_batch_come_first(self, admin_client: Client) -> None:
        """And after the first five, they are shown on demand."""
        Bucket("orders").append(1)
        store = store_of("orders")
        for number in range(6):
            store.beat(f"idle-{number}", lease=timedelta(minutes=1))
        store.beat("z-busy", lease=timedelta(minutes=1))
        store.claim("z-busy", lease=timedelta(minutes=1), linger=timedelta(0))
        page = part(admin_client.get(BUCKET), "bucket-workers")
        [_, *first], [_, *others] = tables(page)
        assert [name for name, *_ in first] == ["z-busy", *(f"idle-{n}" for n in range(4))]
        assert [name for name, *_ in others] == ["idle-4", "idle-5"]
        assert "2 more workers</summary>" in page
        assert {cells[2] for cells in first[1:]} == {"none"}

    def test_have_names_that_are_text(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        store_of("orders").beat("<b>bold</b>", lease=timedelta(minutes=1))
        page = content(admin_client.get(BUCKET))
        assert "&lt;b&gt;bold&lt;/b&gt;" in page
        assert "<b>" not in page


class TestFailingBatches:
    def test_are_shown_with_what_failed(self, admin_client: Client) -> None:
        nothing = "No batch has failed."
        orders = Bucket("orders")
        orders.append(1)
        assert nothing in part(admin_client.get(BUCKET), "failing")
        orders.processor(lambda batch: 1 / 0)
        orders.drain()
        page = part(admin_client.get(BUCKET), "failing")
        assert "These batches have failed. The next free worker tries them again." in page
        assert nothing not in page
        [[headings, cells]] = tables(page)
        assert headings[1:6] == [
            "Last error",
            "Attempts",
            "Counted failures",
            "Workers lost",
            "Next attempt in",
        ]
        assert cells[1:5] == ["ZeroDivisionError: division by zero", "1", "0", "0"]
        assert "1 batch has failed and will be retried." in content(admin_client.get(BUCKET))

    def test_show_the_message_of_an_error_to_those_who_may_see_events(
        self, admin_client: Client, viewer_client: Client, configure: Callable[..., None]
    ) -> None:
        Bucket("orders").append(1)
        release_failed("orders", error="KeyError: '\x1b[2J4711-4711'")

        def error_on(client: Client) -> str:
            [[_, cells]] = tables(part(client.get(BUCKET), "failing"))
            return cells[1]

        assert error_on(admin_client) == "KeyError: '\\x1b[2J4711-4711'"
        assert error_on(viewer_client) == "KeyError"
        assert "4711-4711" not in content(viewer_client.get(BUCKET))
        configure(BUCKETS={"orders": {"redact": lambda event: event}})
        assert error_on(admin_client) == "KeyError"
        assert "4711-4711" not in content(admin_client.get(BUCKET))

    def test_say_when_they_are_tried_again(self, admin_client: Client) -> None:
        for backoff in (timedelta(seconds=50), timedelta(0)):
            Bucket("orders").append(1)
            release_failed("orders", error="KeyError", backoff=backoff)
        [[_, later, now]] = tables(part(admin_client.get(BUCKET), "failing"))
        assert now[5] == "now"
        assert later[5] in ("49 s", "48 s", "47 s")

    def test_after_the_first_five_are_shown_on_demand(self, admin_client: Client) -> None:
        for _ in range(7):
            Bucket("orders").append(1)
            release_failed("orders", error="KeyError", backoff=timedelta(seconds=50))
        page = part(admin_client.get(BUCKET), "failing")
        first, others = tables(page)
        assert (len(first), len(others)) == (1 + 5, 1 + 2)
        assert "2 more batches</summary>" in page

    def test_are_tried_now_by_those_who_may(
        self, viewer_client: Client, admin_client: Client
    ) -> None:
        Bucket("orders").append(1)
        release_failed("orders", error="KeyError", backoff=timedelta(seconds=50))
        assert "Try now" in plain(part(admin_client.get(BUCKET), "failing"))
        page = part(viewer_client.get(BUCKET), "failing")
        assert "Try now" not in page
        [[headings, cells]] = tables(page)
        assert len(headings) == len(cells) == 6
