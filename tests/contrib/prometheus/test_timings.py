import asyncio
import time
from typing import Any

import pytest
from django.db import transaction

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.appending import sending
from django_jsonbuffer.contrib.prometheus import timings
from django_jsonbuffer.contrib.prometheus.apps import PrometheusConfig
from django_jsonbuffer.exceptions import BucketFull
from django_jsonbuffer.signals import batch_failed, batch_processed
from tests.contrib.prometheus.exposed import exposed
from tests.draining.drains import refuse
from tests.threads import at_once

PROCESSOR = "jsonbuffer_processor_seconds"
APPEND = "jsonbuffer_append_seconds"


@pytest.mark.usefixtures("timed")
class TestProcessorSeconds:
    def test_of_batches_that_succeed(self) -> None:
        bucket = Bucket("orders", batch_size=1)
        bucket.processor(lambda batch: time.sleep(0.02))
        bucket.extend([1, 2])
        bucket.drain()
        found = exposed()
        labels = {"bucket": "orders", "outcome": "processed"}
        assert found.value(f"{PROCESSOR}_count", **labels) == 2
        assert 0.04 <= found.value(f"{PROCESSOR}_sum", **labels) < 2
        assert found.value(f"{PROCESSOR}_bucket", le="0.01", **labels) == 0

    def test_of_batches_that_fail(self) -> None:
        bucket = Bucket("orders")
        refuse(bucket, "bad")
        bucket.extend(["good", "bad"])
        bucket.drain()
        found = exposed()
        assert found.value(f"{PROCESSOR}_count", outcome="failed") == 2
        assert found.value(f"{PROCESSOR}_count", outcome="processed") == 1


@pytest.mark.usefixtures("timed")
class TestAppendSeconds:
    def test_of_each_call(self) -> None:
        bucket = Bucket("orders")
        bucket.append(1)
        bucket.extend([2, 3])
        asyncio.run(bucket.aappend(4))
        found = exposed()
        labels = {"bucket": "orders", "outcome": "accepted"}
        assert found.value(f"{APPEND}_count", **labels) == 3
        assert 0 < found.value(f"{APPEND}_sum", **labels) < 3

    def test_of_calls_that_fail(self) -> None:
        bucket = Bucket("orders", max_pending=1)
        for _ in range(3):
            with pytest.raises(BucketFull):
                bucket.extend([1, 2])
        assert exposed().value(f"{APPEND}_count", outcome="failed") == 3

    def test_failures_begin_with_zero(self) -> None:
        """Otherwise Prometheus would not notice the first one."""
        Bucket("orders").append(1)
        assert exposed().value(f"{APPEND}_count", outcome="failed") == 0

    @pytest.mark.django_db(transaction=True)
    def test_of_a_commit_is_one(self) -> None:
        with transaction.atomic():
            for number in range(10):
                Bucket("orders").append(number)
            assert exposed().values(f"{APPEND}_count") == []
        assert exposed().value(f"{APPEND}_count", outcome="accepted") == 1

    def test_of_eight_threads(self) -> None:
        bucket = Bucket("orders")

        def append() -> None:
            for number in range(50):
                bucket.append(number)

        at_once([append] * 8)
        assert exposed().value(f"{APPEND}_count", outcome="accepted") == 400

    def test_error_of_the_observer_does_not_reach_the_caller(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """As when the disk is full in the multi-process mode."""

        def fail(*args: Any) -> None:
            raise OSError("no space")

        sending.observer = fail
        bucket = Bucket("orders")
        bucket.append(1)
        asyncio.run(bucket.aappend(2))
        assert bucket.peek() == [1, 2]
        assert caplog.text.count("could not be observed, because of OSError at") == 2


class TestConnect:
    def test_nothing_is_observed_without_the_app(self) -> None:
        bucket = Bucket("orders")
        bucket.processor(lambda batch: None)
        bucket.append(1)
        bucket.drain()
        assert sending.observer is None
        assert batch_processed.receivers == batch_failed.receivers == []
        assert exposed().values(f"{APPEND}_count") == []

    def test_app_connects_once(self, timed: None) -> None:
        config = PrometheusConfig.create("django_jsonbuffer.contrib.prometheus")
        config.ready()
        config.ready()
        assert sending.observer is not None
        bucket = Bucket("orders")

        @bucket.processor
        def store(batch: Batch) -> None: ...

        bucket.append(1)
        bucket.drain()
        assert exposed().value(f"{PROCESSOR}_count", outcome="processed") == 1

    def test_buckets_of_the_histograms_are_sorted(self) -> None:
        for histogram in timings.HISTOGRAMS:
            assert [*histogram._upper_bounds] == sorted(histogram._upper_bounds)
