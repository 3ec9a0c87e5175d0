from typing import Any

import pytest

from django_jsonbuffer.contrib.tasks import drain_bucket, drain_buckets
from tests.declaring.buckets import page_views, scripted

# A task renews database connections before each batch.
pytestmark = pytest.mark.django_db(transaction=True)


def test_task_drains_one_bucket_and_reports() -> None:
    page_views.extend(range(200))
    scripted.append({})
    result: Any = drain_bucket.enqueue("page-views")
    assert result.return_value["processed"] == 200
    assert page_views.status().pending == 0
    assert scripted.status().pending == 1


def test_task_for_all_enqueues_one_for_each() -> None:
    page_views.append(1)
    scripted.append({})
    drain_buckets.enqueue()
    assert page_views.status().pending == scripted.status().pending == 0


def test_task_is_bounded_and_skips_a_busy_bucket() -> None:
    during: list[Any] = []
    page_views.extend(range(300))
    page_views.processor(lambda batch: during.append(drain_bucket.enqueue("page-views")))
    result: Any = drain_bucket.enqueue("page-views", max_seconds=0.0001)
    assert result.return_value["batches"] <= 1
    drain_bucket.enqueue("page-views")
    assert [inner.return_value["batches"] for inner in during] == [0] * len(during)
    assert len(during) == 3
