import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import translation
from pytest_django import DjangoAssertNumQueries

from django_jsonbuffer import Bucket
from django_jsonbuffer.conf import configuration
from tests.admin.pages import COLUMNS, PAGE, content, crumbs, row, rows
from tests.prepared import make_old, put_history, store_of
from tests.server import Redis

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


class TestList:
    def test_says_what_to_do_when_there_is_no_bucket(self, admin_client: Client) -> None:
        text = content(admin_client.get(PAGE))
        assert "No bucket has been declared or appended to." in text
        assert "0 buckets" in text

    def test_shows_the_figures_of_each_bucket(self, admin_client: Client) -> None:
        Bucket("orders", batch_size=2).extend(["first", "second", "third"])
        Bucket("clicks").append(1)
        response = admin_client.get(PAGE)
        assert list(rows(response)) == ["clicks", "orders", "Total"]
        shown = row(response, "orders")
        assert re.fullmatch(r"\d+ seconds?", shown.pop("oldest"))
        assert shown == {
            "name": "orders",
            "state": "flowing no processor",
            "history": "no history",
            "pending": "3",
            "in": "–",
            "out": "–",
            "dead": "0",
            "in flight": "0",
            "batches": "2 1 open, 1 sealed, 0 in flight",
            "bytes": "27 bytes",
            "workers": "0",
        }

    def test_shows_what_is_in_flight(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.extend([1, 2, 3])
        seen = []
        orders.processor(lambda batch: seen.append(row(admin_client.get(PAGE), "orders")))
        orders.drain()
        assert [(was["pending"], was["in flight"], was["oldest"]) for was in seen] == [
            ("0", "3", "none")
        ]
        assert [was["workers"] for was in seen] == ["1"]

    def test_shows_dead_letters(self, admin_client: Client, client_of_server: Redis) -> None:
        orders = Bucket("orders")
        client_of_server.set(orders.key, "no JSON")
        orders.append(1)
        shown = row(admin_client.get(PAGE), "orders")
        assert shown["dead"] == "1"
        assert shown["state"].endswith("1 dead letter waits for a decision.")

    def test_shows_a_declared_bucket_that_was_never_appended_to(self, admin_client: Client) -> None:
        Bucket("orders").processor(print)
        shown = row(admin_client.get(PAGE), "orders")
        assert (shown["state"], shown["pending"], shown["oldest"]) == ("empty", "0", "none")

    def test_says_who_is_to_drain_it(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        configure(BUCKETS={"seed": {"batch_size": None}})
        Bucket("orders").processor(print)
        for name in ("forgotten", "orders", "seed"):
            Bucket(name).append(1)
        response = admin_client.get(PAGE)
        assert {name: row(response, name)["state"] for name in rows(response)} == {
            "forgotten": "flowing no processor",
            "orders": "flowing",
            "seed": "flowing for other clients",
            "Total": "",
        }

    def test_shows_a_bucket_whose_options_are_unusable(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        Bucket("orders").append(1)
        configure(BUCKETS={"orders": {"batch_size": 0}})
        assert row(admin_client.get(PAGE), "orders")["pending"] == "1"

    def test_groups_digits_as_the_language_does(self, admin_client: Client) -> None:
        Bucket("clicks").extend([1] * 1234)
        assert row(admin_client.get(PAGE), "clicks")["pending"] == "1,234"
        with translation.override("de"):
            assert row(admin_client.get(PAGE), "clicks")["pending"] == "1.234"

    def test_adds_up_several_buckets(self, admin_client: Client) -> None:
        Bucket("orders").extend([1, 2])
        Bucket("clicks").extend([3, 4, 5])
        shown = row(admin_client.get(PAGE), "Total")
        assert (shown["pending"], shown["bytes"]) == ("5", "12 bytes")
        assert shown["batches"] == "2 2 open, 0 sealed, 0 in flight"

    def test_does_not_add_up_a_single_bucket(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        assert list(rows(admin_client.get(PAGE))) == ["orders"]

    def test_shows_what_is_wrong_with_a_broken_bucket_beside_the_others(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        for name in ("broken", "orders", "views"):
            Bucket(name).append(1)
        client_of_server.delete(Bucket("broken").key)
        client_of_server.lpush(Bucket("broken").key, "foreign")
        response = admin_client.get(PAGE)
        assert response.status_code == 200
        _state, message = rows(response)["broken"]
        assert "holds a value of another type" in message
        assert row(response, "orders")["pending"] == "1"
        assert row(response, "Total of the readable buckets")["pending"] == "2"

    def test_shows_no_name_that_no_bucket_can_have(
        self, admin_client: Client, client_of_server: Redis, prefix: str
    ) -> None:
        client_of_server.sadd(f"{prefix}:buckets", "<script>alert(1)</script>", b"\xff", "orders")
        response = admin_client.get(PAGE)
        assert list(rows(response)) == ["orders"]

    def test_shows_the_history_as_a_chart_described_in_words(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        put_history(client_of_server, "orders", pending=[5, 40, 10])
        page = content(admin_client.get(PAGE))
        assert 'aria-label="Pending over the last 4 hours: at most 40, at the end 0."' in page
        assert re.search(r'<polyline class="line pending" points="[0-9., ]+"/>', page)

    def test_has_headings_for_each_column_and_row(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        text = content(admin_client.get(PAGE))
        assert text.count('<th scope="col"') == len(COLUMNS)
        assert f'<th scope="row"><a href="{PAGE}orders/change/">orders</a></th>' in text

    @pytest.mark.parametrize("path", [PAGE, f"{PAGE}orders/change/"])
    def test_has_no_inline_script_or_style(self, admin_client: Client, path: str) -> None:
        Bucket("orders").append(1)
        page = admin_client.get(path).content.decode()
        assert "orders" in page
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)

    def test_breadcrumbs_are_those_of_the_django_in_use(self, admin_client: Client) -> None:
        page = admin_client.get(PAGE).content.decode()
        assert crumbs(page) == (
            ["/admin/", "/admin/django_jsonbuffer/"],
            "Home JSON buffer Buckets",
        )

    def test_asks_the_database_for_session_and_user_only(
        self, admin_client: Client, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        Bucket("orders").append(1)
        with django_assert_num_queries(2):
            admin_client.get(PAGE)

    def test_with_a_thousand_buckets_takes_four_round_trips_and_no_query_more(
        self,
        admin_client: Client,
        private_server: Redis,
        round_trips: list[str],
        django_assert_num_queries: DjangoAssertNumQueries,
    ) -> None:
        for number in range(1000):
            private_server.sadd(f"{configuration().prefix}:buckets", f"bucket-{number:03}")
        Bucket("bucket-999").extend([1, 2, 3])
        admin_client.get(PAGE)  # which loads the script
        for query in ({}, {"sort": "-pending"}, {"p": "10"}, {"q": "99"}, {"state": "flowing"}):
            round_trips.clear()
            with django_assert_num_queries(2):
                response = admin_client.get(PAGE, query)
            # The names, the figures of each 500 buckets with the workers, and the history.
            assert round_trips == ["pipeline"] * (3 if "q" in query else 5)
        assert row(response, "bucket-999")["pending"] == "3"
        asked = private_server.info("commandstats")
        assert "cmdstat_keys" not in asked
        assert "cmdstat_scan" not in asked

    def test_shows_a_hundred_buckets_a_page(self, admin_client: Client) -> None:
        for number in range(101):
            Bucket(f"bucket-{number:03}").processor(print)
        first, second = admin_client.get(PAGE), admin_client.get(PAGE, {"p": "2"})
        assert len(rows(first)) == 100 + len(["Total"])
        assert list(rows(second)) == ["bucket-100", "Total"]
        assert "101 buckets" in content(first)
        assert '<a href="?p=2">2</a>' in content(first)
        assert '<span aria-current="page">2</span>' in content(second)
        assert list(rows(admin_client.get(PAGE, {"p": "77"}))) == ["bucket-100", "Total"]

    def test_finds_by_a_part_of_the_name(self, admin_client: Client) -> None:
        for name in ("orders", "order-lines", "views"):
            Bucket(name).append(1)
        found = admin_client.get(PAGE, {"q": " ORDER "})
        assert list(rows(found)) == ["order-lines", "orders", "Total"]
        assert 'name="q" value="ORDER"' in content(found)
        nothing = content(admin_client.get(PAGE, {"q": "nobody"}))
        assert "No bucket matches." in nothing
        assert '<a href="?">Show all</a>' in nothing

    def test_filters_by_state(self, admin_client: Client) -> None:
        for name in ("orders", "mails", "views"):
            Bucket(name).append(1)
        Bucket("mails").pause()
        assert list(rows(admin_client.get(PAGE, {"state": "paused"}))) == ["mails"]
        links = re.findall(
            r'<a href="([^"]*state=[^"]*)"[^>]*>.*?</span> (\d+)</a>',
            content(admin_client.get(PAGE)),
        )
        assert links == [("?state=paused", "1"), ("?state=flowing", "2")]

    def test_shows_those_that_need_a_decision(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        client_of_server.set(Bucket("mails").key, "no JSON")
        Bucket("mails").append(1)
        Bucket("orders").append(1)
        response = admin_client.get(PAGE, {"state": "needs-decision"})
        assert list(rows(response)) == ["mails"]
        assert 'class="state state-needs-decision">needs a decision</span>' in content(response)

    def test_has_the_most_urgent_on_top(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        Bucket("a-empty").processor(print)
        Bucket("b-flowing").append(1)
        Bucket("c-paused").append(1)
        Bucket("c-paused").pause()
        Bucket("d-stalled").append(1)
        make_old(client_of_server, "d-stalled")
        shown = rows(admin_client.get(PAGE))
        assert list(shown) == ["d-stalled", "c-paused", "b-flowing", "a-empty", "Total"]

    def test_sorts_by_any_column(self, admin_client: Client) -> None:
        Bucket("few").append(1)
        Bucket("many").extend(range(100))
        Bucket("none").processor(print)
        page = content(admin_client.get(PAGE))
        links = [
            link.replace("&amp;", "&")
            for link in re.findall(r'<th scope="col"[^>]*><a href="([^"]*)"', page)
        ]
        assert len(links) == len(COLUMNS) - len(["history"])
        for link in links:
            assert admin_client.get(PAGE + link).status_code == 200
        names = ["few", "many", "none"]
        assert list(rows(admin_client.get(PAGE, {"sort": "name"})))[:3] == names
        assert list(rows(admin_client.get(PAGE, {"sort": "-name"})))[:3] == names[::-1]
        by_pending = admin_client.get(PAGE, {"sort": "-pending"})
        assert list(rows(by_pending))[:3] == ["many", "few", "none"]
        assert 'class="numeric" aria-sort="descending"><a href="?sort=pending">Pending' in content(
            by_pending
        )
        assert list(rows(admin_client.get(PAGE, {"sort": "pending"})))[:3] == [
            "none",
            "few",
            "many",
        ]

    @pytest.mark.parametrize("sort", ["oldest", "-oldest", "in", "-in"])
    def test_has_what_is_not_known_at_the_end(self, admin_client: Client, sort: str) -> None:
        Bucket("known").append(1)
        Bucket("a-unknown").processor(print)
        store_of("known").beat("worker", lease=timedelta(minutes=1))
        assert list(rows(admin_client.get(PAGE, {"sort": sort})))[-2:] in (
            ["a-unknown", "Total"],
            ["known", "Total"],
        )

    def test_keeps_search_and_state_when_sorted(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        page = content(admin_client.get(PAGE, {"q": "o", "state": "flowing", "sort": "bytes"}))
        assert 'href="?q=o&amp;state=flowing&amp;sort=-pending"' in page
        assert '<input type="hidden" name="state" value="flowing">' in page
        assert '<input type="hidden" name="sort" value="bytes">' in page
