import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client

from django_jsonbuffer import Bucket
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.store.keys import registry_key
from django_jsonbuffer.store.patterns import Names
from django_jsonbuffer.store.registry import register
from tests.admin.pages import PAGE, WORKERS, content, figures_of, rows
from tests.prepared import keys_of, store_of
from tests.server import Redis

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


class TestPage:
    def test_without_workers_says_how_to_start_one(self, admin_client: Client) -> None:
        response = admin_client.get(WORKERS)
        assert "<h1>Workers</h1>" in response.content.decode()
        assert "No worker is active." in content(response)
        assert "<code>python manage.py drain_buckets --watch</code>" in content(response)

    def test_is_linked_from_the_list_and_each_bucket(self, admin_client: Client) -> None:
        Bucket("orders").append(1)
        for path in (PAGE, f"{PAGE}orders/change/"):
            assert f'<a href="{WORKERS}"' in content(admin_client.get(path))

    def test_refreshes_itself(self, admin_client: Client) -> None:
        page = content(admin_client.get(WORKERS))
        assert 'data-live id="all-workers"' in page
        assert 'id="refresh-toggle"' in page

    def test_is_no_page_of_a_bucket_of_that_name(self, admin_client: Client) -> None:
        """Nor is the address of the actions."""
        for name in ("workers", "actions"):
            Bucket(name).append(1)
            response = admin_client.get(f"{PAGE}{name}/change/")
            assert f"<h1>{name}</h1>" in response.content.decode()
        assert "<h1>Workers</h1>" in admin_client.get(WORKERS).content.decode()

    def test_has_an_address_on_each_site(self, admin_client: Client) -> None:
        page = admin_client.get(WORKERS.replace("/admin/", "/second/")).content.decode()
        assert "/second/django_jsonbuffer/bucket/" in page
        assert "/admin/django_jsonbuffer/" not in page

    def test_shows_what_each_holds(self, admin_client: Client, nothing_declared: None) -> None:
        Bucket("orders").extend([1, 2])
        Bucket("views").append(3)
        store_of("orders").claim("web1:41:a1", lease=timedelta(minutes=1), linger=timedelta(0))
        store_of("views").claim("web1:41:b2", lease=timedelta(minutes=1), linger=timedelta(0))
        register("web1:41:a1", Names(["orders", "views"]), configuration())
        register("web2:42:c3", Names(["*"]), configuration())
        shown = rows(admin_client.get(WORKERS))
        assert list(shown) == ["web1:41", "web2:42"]
        machine, heard, serves, holds = shown["web1:41"]
        assert (machine, heard) == ("web1", "0 s")
        assert serves == "2 buckets and patterns"
        assert re.fullmatch(r"(orders|views) \S+ for \d s (orders|views) \S+ for \d s", holds)
        assert shown["web2:42"][2:] == ["all buckets", "nothing"]

    def test_shows_one_that_is_gone_first(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        Bucket("orders").append(1)
        store_of("orders").claim("web9:9:a", lease=timedelta(minutes=1), linger=timedelta(0))
        client_of_server.delete(keys_of("orders").workers)
        register("web1:1:a", Names(["orders"]), configuration())
        shown = rows(admin_client.get(WORKERS))
        assert list(shown) == ["web9:9", "web1:1"]
        assert shown["web9:9"][:4] == ["gone", "web9", "–", "–"]
        assert shown["web1:1"][0] == "web1"

    def test_takes_four_round_trips(
        self, admin_client: Client, private_server: Redis, round_trips: list[str]
    ) -> None:
        for number in range(600):
            Bucket(f"bucket-{number}").append(1)
        store_of("bucket-7").claim("web1:1:a", lease=timedelta(minutes=1), linger=timedelta(0))
        admin_client.get(WORKERS)  # which loads the scripts
        round_trips.clear()
        response = admin_client.get(WORKERS)
        assert "bucket-7" in content(response)
        # The names, the figures of each 500 buckets, and the workers.
        assert round_trips == ["pipeline"] * 4

    @pytest.mark.usefixtures("unreachable")
    def test_says_with_status_503_that_redis_is_away(self, admin_client: Client) -> None:
        assert admin_client.get(WORKERS).status_code == 503

    def test_needs_the_permission_to_view(
        self, staff_client: Client, grant: Callable[..., None]
    ) -> None:
        assert staff_client.get(WORKERS).status_code == 403
        grant("view_bucket")
        assert staff_client.get(WORKERS).status_code == 200

    def test_denies_no_worker_that_it_cannot_see(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        Bucket("orders").append(1)
        client_of_server.set(registry_key(configuration().prefix), "foreign")
        response = admin_client.get(WORKERS)
        assert response.status_code == 503
        assert "holds a value of another type" in content(response)
        assert figures_of(admin_client.get(PAGE))["Workers"] == "–"
