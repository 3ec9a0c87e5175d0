"""An async view and an async processor, in async tests."""

import asyncio

from django.test import TestCase
from django_jsonbuffer import Batch
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.testing import (
    BucketsMixin,
    appended_events,
    assert_appended,
    assert_idempotent,
    assert_nothing_appended,
    capture_events,
    crash,
    drain_now,
    duplicate_delivery,
    redis_away,
)

from orders.models import Product
from visits.buckets import searches, store_terms
from visits.models import SearchTerm


class SearchTests(BucketsMixin, TestCase):
    @classmethod
    def setUpTestData(cls):
        Product.objects.create(sku="rye", name="Rye bread", price="3.50")

    async def test_term_is_appended(self):
        response = await self.async_client.get("/search/?q=rye")
        self.assertEqual(response.json(), {"found": ["Rye bread"], "terms": []})
        assert_appended("searches", term="rye")

    async def test_term_is_appended_in_lower_case(self):
        with capture_events("searches") as events:
            await self.async_client.get("/search/?q= RYE ")
        self.assertEqual([event["term"] for event in events], ["rye"])

    async def test_search_without_a_term_appends_nothing(self):
        await self.async_client.get("/search/")
        assert_nothing_appended("searches")

    async def test_search_is_a_page_view_as_well(self):
        await self.async_client.get("/search/?q=rye")
        assert_appended("page-views", path="/search/", count=1)

    async def test_searches_at_the_same_time(self):
        await asyncio.gather(*(searches.aappend({"term": str(n)}) for n in range(20)))
        terms = [event["term"] for event in appended_events("searches")]
        self.assertEqual(sorted(terms, key=int), [str(n) for n in range(20)])

    async def test_term_is_offered_when_it_is_stored(self):
        await self.async_client.get("/search/?q=rye")
        drain_now("searches")
        response = await self.async_client.get("/search/?q=oat")
        self.assertEqual(response.json()["terms"], ["rye"])

    async def test_worker_in_the_loop(self):
        await self.async_client.get("/search/?q=rye")
        report = await searches.adrain()
        self.assertEqual(report.processed, 1)

    def test_sync_client(self):
        self.client.get("/search/?q=rye")
        drain_now("searches")
        self.assertEqual(SearchTerm.objects.get().term, "rye")


class StoreTermsTests(BucketsMixin, TestCase):
    events = [{"term": term, "at": "2026-11-29T06:00:00Z"} for term in ("rye", "oat", "rye")]

    async def test_each_term_is_stored_once(self):
        await store_terms(Batch.of(self.events))
        self.assertEqual(await SearchTerm.objects.acount(), 2)

    def test_processor_is_idempotent(self):
        assert_idempotent(store_terms, self.events)

    async def test_bucket_is_idempotent(self):
        assert_idempotent(searches, self.events)

    def test_worker_that_dies(self):
        searches.extend(self.events)
        with crash(after="processor"):
            drain_now()
        drain_now()
        self.assertEqual(SearchTerm.objects.count(), 2)

    def test_batch_that_comes_twice(self):
        searches.extend(self.events)
        with duplicate_delivery():
            drain_now("searches")
        self.assertEqual(SearchTerm.objects.count(), 2)


class RedisAwayTests(BucketsMixin, TestCase):
    async def test_search_fails_while_redis_is_away(self):
        with redis_away(), self.assertRaises(BufferUnavailable):
            await self.async_client.get("/search/?q=rye")
        await self.async_client.get("/search/?q=rye")
        assert_appended("searches", count=1)
