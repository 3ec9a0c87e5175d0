"""A site in a thread, threads of a site, and its admin."""

from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

from django.test import LiveServerTestCase
from django_jsonbuffer.testing import BucketsMixin, assert_appended, drain_now, isolated_buckets

from orders.models import Product
from visits.buckets import page_views
from visits.models import PageView


class VisitorTests(BucketsMixin, LiveServerTestCase):
    def test_each_visit_is_stored(self):
        Product.objects.create(sku="rye", name="Rye bread", price="3.50")
        for _ in range(3):
            with urlopen(f"{self.live_server_url}/products/rye/") as page:
                self.assertEqual(page.read(), b"Rye bread: 3.50")
        assert_appended("page-views", path="/products/rye/", count=3)
        drain_now()
        self.assertEqual(PageView.objects.count(), 3)


def test_threads_share_the_buckets_of_the_test(buckets):
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: page_views.append({"path": f"/{n}/"}), range(100)))
    assert page_views.status().pending == 100
    paths = {event["path"] for event in buckets.appended_events("page-views")}
    assert paths == {f"/{n}/" for n in range(100)}


def test_buckets_within_the_buckets_of_a_test(buckets):
    page_views.append({"path": "/outside/"})
    with isolated_buckets():
        buckets.assert_nothing_appended()
        page_views.append({"path": "/inside/"})
    assert buckets.appended_events() == [{"path": "/outside/"}]


def test_admin_shows_the_buckets_of_the_test(client, django_user_model, db, buckets):
    client.force_login(django_user_model.objects.create_superuser("ada"))
    page_views.extend([{"path": "/"}] * 7, now=True)
    page = client.get("/admin/django_jsonbuffer/bucket/page-views/change/")
    assert page.context["status"].pending == 7
