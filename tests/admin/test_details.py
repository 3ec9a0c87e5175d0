import os
import re
import socket
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from django.contrib.admin.utils import quote
from django.test import Client
from django.urls import reverse
from django.utils import translation
from django.utils.formats import date_format
from pytest_django import Settings

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.appending.spill import Spill
from django_jsonbuffer.options import Options
from tests.admin.pages import BUCKET, PAGE, content, crumbs, figures_of, texts
from tests.prepared import bury, bury_by_failures, put_history, release_failed
from tests.server import Redis
from tests.spilling import put

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


class TestBucketPage:
    def test_shows_figures_options_and_state(self, admin_client: Client) -> None:
        Bucket("orders", batch_size=2).extend([1, 2, 3])
        response = admin_client.get(BUCKET)
        shown = figures_of(response)
        assert shown["Pending"] == "3"
        assert shown["Batches"] == "1 open, 1 sealed, 0 in flight"
        assert shown["Appended in total"] == "3"
        assert (shown["batch_size"], shown["lease"], shown["max_pending"]) == (
            *("1,000", "1 minute", "–"),
        )
        assert '<span class="state state-flowing">flowing</span>' in content(response)
        assert set(shown) > {field.name for field in fields(Options)}

    def test_shows_options_in_words(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        configure(
            BUCKETS={
                "orders": {
                    "linger": timedelta(milliseconds=1500),
                    "lease": timedelta(milliseconds=20),
                    "outage_errors": (KeyError, OSError),
                    "schema": figures_of,
                    "overflow": "drop_oldest",
                }
            }
        )
        Bucket("orders").processor(print)
        shown = figures_of(admin_client.get(BUCKET))
        assert shown["outage_errors"] == "KeyError, OSError"
        assert shown["schema"] == "figures_of"
        assert shown["overflow"] == "drop_oldest"
        assert shown["lease"] == "0.020 seconds"

    def test_shows_the_retention_and_what_expired(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        bury(1, 2, 3)
        configure(BUCKETS={"orders": {"max_dead": 1, "dead_after": timedelta(days=2)}})
        Bucket("orders").drain()
        shown = figures_of(admin_client.get(BUCKET))
        assert (shown["Dead letters"], shown["Expired dead letters"]) == ("1", "2")
        assert shown["Dropped in total"] == "2"
        assert (shown["max_dead"], shown["dead_after"]) == ("1", "2 days")

    def test_shows_what_is_spilled_on_this_machine(
        self, admin_client: Client, spilling: Spill
    ) -> None:
        Bucket("orders").append(1)
        put(spilling, b"1", bucket=Bucket("orders").key)
        response = admin_client.get(BUCKET)
        assert figures_of(response)["Spilled on this machine"] == "5 bytes"
        sentence = "1 append (5 bytes) is spilled on this machine and waits for Redis."
        assert sentence in content(response).replace("\xa0", " ")
        assert sentence in content(admin_client.get(PAGE)).replace("\xa0", " ")
        spilling.close()
        spilling.path.write_bytes(b"no database" * 1000)
        response = admin_client.get(BUCKET)
        assert "What is spilled on this machine is not known." in content(response)
        assert "Spilled on this machine" not in figures_of(response)

    def test_does_not_show_the_spill_of_a_bucket_without_one(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        assert "Spilled on this machine" not in figures_of(admin_client.get(BUCKET))

    def test_of_no_bucket_is_not_found(self, admin_client: Client) -> None:
        assert admin_client.get(BUCKET).status_code == 404

    def test_has_the_name_in_title_heading_and_breadcrumbs(self, admin_client: Client) -> None:
        Bucket("eu:orders.x_y").append(1)
        path = reverse("admin:django_jsonbuffer_bucket_change", args=[quote("eu:orders.x_y")])
        page = admin_client.get(path).content.decode()
        assert "<h1>eu:orders.x_y</h1>" in page
        assert "<title>eu:orders.x_y | Django site admin</title>" in page
        assert crumbs(page) == (
            ["/admin/", "/admin/django_jsonbuffer/", PAGE],
            "Home JSON buffer Buckets eu:orders.x_y",
        )

    def test_shows_workers_with_what_they_hold(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.extend([1, 2])
        pages = []
        orders.processor(lambda batch: pages.append((batch.id, content(admin_client.get(BUCKET)))))
        orders.drain()
        [(id, page)] = pages
        table = page.partition('id="workers-heading"')[2].partition("</table>")[0]
        cells = [
            " ".join(re.sub(r"<[^>]+>", "", cell).split())
            for cell in re.findall(r"<t[dh].*?</t[dh]>", table, re.DOTALL)
        ]
        worker, heard, batch, since, attempt = cells[5:]
        assert worker.startswith(f"{socket.gethostname()}:{os.getpid()}:")
        assert heard.endswith(("second", "seconds"))
        assert (batch, attempt) == (id, "1")
        assert since.endswith(("second", "seconds"))
        assert "No worker drains this bucket." in content(admin_client.get(BUCKET))

    def test_shows_batches_that_come_again(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.append(1)
        orders.processor(lambda batch: 1 / 0)
        orders.drain()
        page = content(admin_client.get(BUCKET))
        assert "1 batch has failed and will be retried." in page
        assert "<td>ZeroDivisionError: division by zero</td>" in page
        assert "Batches that will be retried" in page

    def test_shows_the_message_of_an_error_to_those_who_may_see_events(
        self, admin_client: Client, viewer_client: Client, configure: Callable[..., None]
    ) -> None:
        Bucket("orders").append(1)
        release_failed("orders", error="KeyError: '\x1b[2J4711'")
        shown = "<td>KeyError: &#x27;\\x1b[2J4711&#x27;</td>"
        assert shown in content(admin_client.get(BUCKET))
        assert "<td>KeyError</td>" in content(viewer_client.get(BUCKET))
        assert "4711" not in content(viewer_client.get(BUCKET))
        configure(BUCKETS={"orders": {"redact": lambda event: event}})
        assert "<td>KeyError</td>" in content(admin_client.get(BUCKET))

    def test_shows_charts(self, admin_client: Client, client_of_server: Redis) -> None:
        put_history(client_of_server, "orders", pending=[5, 40, 10])
        page = content(admin_client.get(BUCKET))
        assert 'aria-label="Pending: at most 40, at the end 0."' in page
        assert 'aria-label="In per minute: at most 20, at the end 20. Out per minute:' in page
        assert page.count('<polyline class="line processed"') == 2

    @pytest.mark.parametrize("language", ["de", "fr", "ar", "fa", "hi"])
    def test_draws_charts_in_any_language(
        self, admin_client: Client, client_of_server: Redis, language: str
    ) -> None:
        put_history(client_of_server, "orders", pending=[5, 4000, 10])
        with translation.override(language):
            for path in (PAGE, BUCKET):
                page = content(admin_client.get(path))
                shapes = re.findall(r' (?:points|[xy][12]?|viewBox)="([^"]*)"', page)
                assert shapes
                assert all(re.fullmatch(r"[0-9., -]+", shape) for shape in shapes)

    def test_needs_no_time_zones(self, admin_client: Client, settings: Settings) -> None:
        settings.USE_TZ = False
        bury(1)
        settings.TIME_ZONE = "Asia/Tokyo"
        assert admin_client.get(PAGE).status_code == 200
        page = content(admin_client.get(BUCKET))
        now = datetime.now(ZoneInfo("Asia/Tokyo"))
        about_now = {date_format(now - timedelta(minutes=n), "DATETIME_FORMAT") for n in (0, 1)}
        assert any(f"<dd>{moment}</dd>" in page for moment in about_now)

    def test_says_that_there_is_no_history(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        assert "There is no history yet" in content(admin_client.get(BUCKET))

    def test_shows_the_oldest_events(self, admin_client: Client) -> None:
        Bucket("orders", batch_size=6).extend({"n": n} for n in range(13))
        shown = texts(admin_client.get(BUCKET))
        assert shown == [f"{{\n  &quot;n&quot;: {n}\n}}" for n in range(10)]

    def test_shows_events_that_are_markup_as_text(self, admin_client: Client) -> None:
        markup = "<script>alert(1)</script><b>{{ 7|add:7 }}</b>"
        bury(markup, reason=f"{markup} & more")
        Bucket("orders").append(markup)
        response = admin_client.get(BUCKET)
        assert "<script>alert" not in response.content.decode()
        assert len(texts(response)) == 3
        assert all("&lt;script&gt;alert(1)&lt;/script&gt;" in text for text in texts(response))
        assert all("{{ 7|add:7 }}" in text for text in texts(response))

    def test_shows_dead_letters_with_their_traceback(self, admin_client: Client) -> None:
        def divide(batch: Batch) -> None:
            raise ValueError("no total")

        orders = Bucket("orders", lease=timedelta(0), max_attempts=1)
        bury_by_failures(orders, {"total": None}, divide)
        event, error, traceback = texts(admin_client.get(BUCKET))
        assert event == "{\n  &quot;total&quot;: null\n}"
        assert error == "ValueError: no total"
        assert traceback.startswith("Traceback (most recent call last):\n")
        assert "in divide" in traceback

    def test_shows_dead_letters_a_page_at_a_time(self, admin_client: Client) -> None:
        orders = bury(*range(45))
        first = admin_client.get(BUCKET)
        ids = [letter.id for letter in orders.dead]
        pattern = r'name="letter" value="([0-9-]+)"'
        assert re.findall(pattern, content(first)) == ids[:20]
        assert f'href="?after={ids[19]}#dead-heading"' in content(first)
        second = admin_client.get(BUCKET, {"after": ids[19]})
        assert re.findall(pattern, content(second)) == ids[20:40]
        last = admin_client.get(BUCKET, {"after": ids[39]})
        assert re.findall(pattern, content(last)) == ids[40:]
        assert "?after=" not in content(last)
        assert 'href="?#dead-heading"' in content(last)

    @pytest.mark.parametrize("after", ["x", "1-1)", "-", "99999999999999999999-1"])
    def test_of_a_place_that_there_is_not_is_not_found(
        self, admin_client: Client, after: str
    ) -> None:
        Bucket("orders").append(1)
        assert admin_client.get(BUCKET, {"after": after}).status_code == 404

    def test_shows_nothing_that_is_to_be_redacted(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        configure(BUCKETS={"orders": {"redact": lambda event: {**event, "card": "hidden"}}})
        bury({"card": "4111"}, {"card": "4111", "x": "y" * 100_000}, reason=ValueError("card 4111"))
        Bucket("orders").extend([{"card": "4111"}, {"card": "4111", "x": "y" * 100_000}])
        page = admin_client.get(BUCKET).content.decode()
        assert "4111" not in page
        assert page.count("&quot;card&quot;: &quot;hidden&quot;") == 3
        assert page.count("is too large to be redacted") == 1

    def test_shows_no_foreign_value_where_events_are_redacted(
        self, admin_client: Client, configure: Callable[..., None], client_of_server: Redis
    ) -> None:
        configure(BUCKETS={"orders": {"redact": lambda event: {**event, "card": "hidden"}}})
        orders = Bucket("orders")
        client_of_server.set(orders.key, '{"events":[{"card":"4111"}]}')
        orders.append({})
        page = admin_client.get(BUCKET).content.decode()
        assert "4111" not in page
        assert "no processor has seen it" in page

    def test_shows_no_argument_of_an_option(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        configure(BUCKETS={"orders": {"schema": partial(print, "s3cret")}})
        Bucket("orders").processor(print)
        response = admin_client.get(BUCKET)
        assert figures_of(response)["schema"] == "partial"
        assert b"s3cret" not in response.content

    def test_shows_no_event_while_it_is_not_clear_how_to_redact(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        Bucket("orders").append("4111")
        configure(BUCKETS={"orders": {"redact": "hide"}})
        response = admin_client.get(BUCKET)
        assert response.status_code == 503
        assert b"redact must be callable" in response.content
        assert b"4111" not in response.content

    def test_reads_little_of_large_events(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        configure(BUCKETS={"orders": {"max_event_bytes": 20_000_000}})
        orders = bury(*["x" * 5_000_000] * 3)
        orders.extend(["x" * 5_000_000] * 3)
        response = admin_client.get(BUCKET)
        assert len(response.content) < 150_000
        assert content(response).count("Cut: it has 5,000,002 bytes.") == 3
        assert content(response).count("Cut here.") == 1

    def test_of_a_bucket_that_is_broken_says_so(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        Bucket("orders").append(1)
        client_of_server.delete(Bucket("orders").key)
        client_of_server.lpush(Bucket("orders").key, "foreign")
        response = admin_client.get(BUCKET)
        assert "holds a value of another type" in content(response)

    @pytest.mark.usefixtures("unreachable")
    def test_of_a_redis_that_is_away_is_said_with_status_503(self, admin_client: Client) -> None:
        response = admin_client.get(BUCKET)
        assert response.status_code == 503
        assert "Redis cannot be reached" in content(response)

    def test_has_an_address_on_each_site(self, admin_client: Client) -> None:
        bury(1)
        page = admin_client.get("/second/django_jsonbuffer/bucket/orders/change/").content.decode()
        assert 'action="/second/django_jsonbuffer/bucket/orders/pause/"' in page
        assert "/admin/django_jsonbuffer/" not in page

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
    def test_only_reading_is_allowed(self, admin_client: Client, method: str) -> None:
        assert getattr(admin_client, method)(BUCKET).status_code == 405
