import re
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from functools import partial

import pytest
from django.contrib.admin.utils import quote
from django.test import Client
from django.urls import reverse
from django.utils import translation

from django_jsonbuffer import Bucket
from django_jsonbuffer.appending.spill import Spill
from django_jsonbuffer.options import Options
from tests.admin.pages import (
    BUCKET,
    DOWNLOAD,
    LETTERS,
    PAGE,
    buttons,
    content,
    crumbs,
    figures_of,
    group_key,
    part,
    texts,
)
from tests.prepared import bury, put_history
from tests.server import Redis
from tests.spilling import put

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


MARKUP = "<script>alert(1)</script><b>{{ 7|add:7 }}</b>"


class TestBucketPage:
    def test_shows_figures_options_and_state(self, admin_client: Client) -> None:
        Bucket("orders", batch_size=2).extend([1, 2, 3])
        response = admin_client.get(BUCKET)
        shown = figures_of(response)
        assert shown["Pending"] == "3"
        assert shown["Batches"] == "1 open, 1 sealed, 0 in flight"
        assert (shown["Bytes"], shown["In flight"], shown["Workers"]) == ("8 bytes", "0", "0")
        assert re.fullmatch(r"\d seconds?", shown["Age of oldest"])
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

    def test_shows_what_is_in_flight(self, admin_client: Client) -> None:
        orders = Bucket("orders", batch_size=3)
        orders.extend([1, 2, 3, 4])
        seen = []
        orders.processor(lambda batch: seen.append(figures_of(admin_client.get(BUCKET))))
        orders.drain()
        found = [
            (shown["Pending"], shown["In flight"], shown["Workers"], shown["Batches"])
            for shown in seen
        ]
        assert found == [
            ("1", "3", "1", "0 open, 1 sealed, 1 in flight"),
            ("0", "1", "1", "0 open, 0 sealed, 1 in flight"),
        ]
        assert figures_of(admin_client.get(BUCKET))["Batches"] == "0"

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

    def test_says_that_there_is_no_history(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        assert "There is no history yet" in content(admin_client.get(BUCKET))

    def test_shows_the_oldest_events(self, admin_client: Client) -> None:
        Bucket("orders", batch_size=6).extend({"n": n} for n in range(13))
        response = admin_client.get(BUCKET)
        assert texts(response) == [f"{{\n  &quot;n&quot;: {n}\n}}" for n in range(10)]
        pairs = re.findall(r'<th scope="row">n</th><td><code>(\d)</code></td>', content(response))
        assert pairs == [*"0123456789"]
        assert "9 more events</summary>" in content(response)

    def test_shows_events_that_are_markup_as_text(self, admin_client: Client) -> None:
        bury(MARKUP, {MARKUP: MARKUP}, reason=f"{MARKUP} & more")
        orders = Bucket("orders")
        orders.append(MARKUP)
        orders.append({MARKUP: MARKUP})
        response = admin_client.get(BUCKET)
        assert "<script>alert" not in response.content.decode()
        assert "<b>" not in content(response)
        assert len(texts(response)) == 3  # two events, and the example of the group
        assert all("&lt;script&gt;alert(1)&lt;/script&gt;" in text for text in texts(response))
        assert all("{{ 7|add:7 }}" in text for text in texts(response))
        assert content(response).count('<th scope="row">&lt;script&gt;') == 2

    def test_leads_to_the_dead_letters(self, admin_client: Client) -> None:
        bury(1, 2)
        page = part(admin_client.get(BUCKET), "bucket-dead")
        assert f'href="{LETTERS}">Look at each</a>' in page
        assert f'href="{DOWNLOAD}">Download</a>' in page
        key = group_key(admin_client.get(BUCKET), "no good")
        said = 'Show<span class="visually-hidden"> no good</span></a>'
        assert f'href="{LETTERS}?group={key}">{said}' in page

    def test_shows_dead_letters_in_groups(self, admin_client: Client) -> None:
        """Those with most letters first, each with its newest event."""
        bury({"n": 1}, reason=KeyError("id"))
        bury({"n": 2}, {"n": 3}, reason=ValueError("no total"))
        page = part(admin_client.get(BUCKET), "bucket-dead")
        groups = re.findall(r'<li class="group">.*?</li>', page, re.DOTALL)
        titles = [re.findall(r'class="group-title">(\w+)', group) for group in groups]
        assert titles == [["ValueError"], ["KeyError"]]
        assert "<code>3</code>" in groups[0]
        assert "<code>1</code>" in groups[1]
        for group, count in zip(groups, ("2", "1"), strict=True):
            assert f'<span class="group-count">{count}</span>' in group

    def test_shows_five_groups_and_more_on_demand(self, admin_client: Client) -> None:
        for kind in (KeyError, ValueError, TypeError, OSError, IndexError, LookupError, EOFError):
            bury(1, reason=kind("no good"))
        page = part(admin_client.get(BUCKET), "bucket-dead")
        before, _, behind = page.partition('<details id="more-groups">')
        assert (before.count("group-title"), behind.count("group-title")) == (5, 2)
        assert "2 more kinds of errors" in behind
        # Parts that refresh are found again by these.
        ids = re.findall(r' id="((?:example|show|replay|discard)-(?!all)\w+)"', page)
        assert len(ids) == len({*ids}) == 5 + 3 * 7

    def test_says_of_a_group_only_the_class_to_those_who_may_not_see_events(
        self, admin_client: Client, viewer_client: Client, configure: Callable[..., None]
    ) -> None:
        bury(1, reason=ValueError("card of Ann"))
        assert "card of Ann" in content(admin_client.get(BUCKET))
        for redact, client in ((None, viewer_client), (lambda event: event, admin_client)):
            configure(BUCKETS={"orders": {"redact": redact}})
            page = part(client.get(BUCKET), "bucket-dead")
            assert '<code class="group-title">ValueError</code>' in page
            assert "Ann" not in page

    def test_shows_nothing_that_is_to_be_redacted(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        configure(BUCKETS={"orders": {"redact": lambda event: {**event, "card": "hidden"}}})
        bury(
            {"card": "4111-1111", "x": "y" * 100_000},
            {"card": "4111-1111"},
            reason=ValueError("card 4111-1111"),
        )
        Bucket("orders").extend([{"card": "4111-1111"}, {"card": "4111-1111", "x": "y" * 100_000}])
        page = admin_client.get(BUCKET).content.decode()
        assert "4111-1111" not in page
        # Both events, and the newest dead letter.
        assert page.count("&quot;card&quot;: &quot;hidden&quot;") == 3
        assert page.count("<code>&quot;hidden&quot;</code>") == 2

    def test_shows_no_foreign_value_where_events_are_redacted(
        self, admin_client: Client, configure: Callable[..., None], client_of_server: Redis
    ) -> None:
        configure(BUCKETS={"orders": {"redact": lambda event: {**event, "card": "hidden"}}})
        orders = Bucket("orders")
        client_of_server.set(orders.key, '{"events":[{"card":"4111-1111"}]}')
        orders.append({})
        for path in (BUCKET, LETTERS):
            page = admin_client.get(path).content.decode()
            assert "4111-1111" not in page
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
        Bucket("orders").append("4111-1111")
        configure(BUCKETS={"orders": {"redact": "hide"}})
        response = admin_client.get(BUCKET)
        assert response.status_code == 503
        assert b"redact must be callable" in response.content
        assert b"4111-1111" not in response.content

    def test_reads_little_of_large_events(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        configure(BUCKETS={"orders": {"max_event_bytes": 20_000_000}})
        orders = bury(*["x" * 5_000_000] * 3)
        orders.extend(["x" * 5_000_000] * 3)
        response = admin_client.get(BUCKET)
        assert len(response.content) < 150_000
        assert content(response).count("Cut: it has 5,000,002 bytes.") == 1
        assert content(response).count("Cut here.") == 1
        response = admin_client.get(LETTERS)
        assert len(response.content) < 150_000
        assert content(response).count("Cut: it has 5,000,002 bytes.") == 3

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

    def test_of_what_is_broken_shows_its_actions_in_the_log(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        orders = Bucket("orders")
        orders.append(1)
        admin_client.post(f"{PAGE}orders/pause/")
        client_of_server.delete(orders.key)
        client_of_server.lpush(orders.key, "foreign")
        response = admin_client.get(BUCKET)
        assert response.status_code == 200
        assert '<span class="state state-unreadable">unreadable</span>' in content(response)
        assert "Paused: appends continue" in part(response, "log")
        assert buttons(content(response)) == []
