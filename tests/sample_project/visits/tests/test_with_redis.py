"""Tests on a real Redis, for a project that wants a few. The others need none."""

import os
from unittest import skipUnless

import pytest
from django.test import TestCase
from django_jsonbuffer.testing import BucketsMixin, assert_appended, drain_now, real_redis

from visits.buckets import searches
from visits.models import SearchTerm

HAS_REDIS = "TEST_WITH_REDIS" in os.environ
SEARCH = {"term": "rye", "at": "2026-11-29T06:00:00Z"}


@skipUnless(HAS_REDIS, "TEST_WITH_REDIS is not set")
class RealRedisTests(BucketsMixin, TestCase):
    uses_real_redis = True

    def test_search_is_stored(self):
        searches.append(SEARCH)
        assert_appended("searches", SEARCH, count=1)
        self.assertIn(":test-", searches.key)
        drain_now("searches")
        self.assertEqual(SearchTerm.objects.get().term, "rye")


@skipUnless(HAS_REDIS, "TEST_WITH_REDIS is not set")
class RealRedisBlockTests(TestCase):
    @real_redis()
    def test_decorator(self):
        searches.append(SEARCH, now=True)
        self.assertEqual(searches.status().pending, 1)


@pytest.mark.skipif(not HAS_REDIS, reason="TEST_WITH_REDIS is not set")
@pytest.mark.real_redis
@pytest.mark.django_db
def test_mark(buckets):
    searches.append(SEARCH)
    assert buckets.drain_now("searches").processed == 1
