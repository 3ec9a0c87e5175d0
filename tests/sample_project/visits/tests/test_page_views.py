"""The page views, tested with functions of pytest."""

import pytest
from django_jsonbuffer.exceptions import BufferUnavailable

from orders.models import Product
from visits.buckets import page_views
from visits.models import PageView

pytestmark = pytest.mark.django_db


@pytest.fixture
def rye():
    return Product.objects.create(sku="rye", name="Rye bread", price="3.50")


def test_page_view_is_appended(client, rye, buckets):
    client.get("/products/rye/")
    buckets.assert_appended("page-views", path="/products/rye/", count=1)


def test_missing_page_appends_nothing(client, buckets):
    assert client.get("/products/rye/").status_code == 404
    buckets.assert_nothing_appended("page-views")


def test_time_is_that_of_the_request(client, rye, buckets, monkeypatch):
    monkeypatch.setattr("django.utils.timezone.now", lambda: "2026-11-29T06:00:00Z")
    with buckets.capture_events("page-views") as views:
        client.get("/products/rye/")
    assert views == [{"path": "/products/rye/", "at": "2026-11-29T06:00:00Z"}]


def test_row_has_what_the_event_has(client, rye, buckets):
    client.get("/products/rye/")
    buckets.drain_now("page-views")
    [event] = buckets.appended_events("page-views")
    view = PageView.objects.get()
    assert view.path == event["path"] == "/products/rye/"
    assert view.at.isoformat() == event["at"].replace("Z", "+00:00")


@pytest.mark.parametrize("count", [0, 1, 1000, 2500])
def test_each_view_is_one_row(buckets, count):
    page_views.extend({"path": f"/{n}/", "at": "2026-11-29T06:00:00Z"} for n in range(count))
    report = buckets.drain_now("page-views")
    assert report.processed == PageView.objects.count() == count
    assert report.batches == -(-count // 1000)


@pytest.mark.parametrize("moment", ["claim", "processor", "commit", "ack"])
def test_worker_that_dies_writes_each_view_once(buckets, moment):
    page_views.extend({"path": f"/{n}/", "at": "2026-11-29T06:00:00Z"} for n in range(3))
    with buckets.crash(after=moment):
        buckets.drain_now("page-views")
    buckets.drain_now("page-views")
    assert sorted(PageView.objects.values_list("path", flat=True)) == ["/0/", "/1/", "/2/"]


def test_insert_with_receipts_is_idempotent(buckets):
    views = [{"path": f"/{n}/", "at": "2026-11-29T06:00:00Z"} for n in range(3)]
    buckets.assert_idempotent(page_views, views)


def test_view_with_a_wrong_time_becomes_a_dead_letter(buckets):
    page_views.extend([{"path": "/", "at": "2026-11-29T06:00:00Z"}, {"path": "/", "at": "noon"}])
    report = buckets.drain_now("page-views")
    assert (report.processed, report.buried) == (1, 1)
    assert [letter.event for letter in page_views.dead] == [{"path": "/", "at": "noon"}]


class TestRedisAway:
    """A page is served while Redis is away. Its page view is spilled, and forwarded later."""

    def test_page_is_served_and_its_view_comes_later(self, client, rye, buckets):
        with buckets.redis_away():
            assert client.get("/products/rye/").status_code == 200
        buckets.assert_nothing_appended("page-views")
        assert buckets.drain_now("page-views").processed == 1
        assert PageView.objects.get().path == "/products/rye/"

    def test_spilled_view_is_forwarded_before_the_next_one(self, client, rye, buckets):
        with buckets.redis_away():
            client.get("/products/rye/?first")
        client.get("/products/rye/")
        buckets.drain_now("page-views")
        assert PageView.objects.count() == 2

    def test_spilled_views_of_another_test_are_gone(self, buckets):
        assert buckets.drain_now("page-views").processed == 0

    def test_status_cannot_be_read(self, buckets):
        with buckets.redis_away(), pytest.raises(BufferUnavailable):
            page_views.status()
        assert page_views.status().pending == 0
