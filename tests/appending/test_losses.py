import os
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from pytest_django import Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.appending import losses
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.recording.destination import Destination
from tests.server import Redis

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class TestFailure:
    def test_of_a_forked_child_waits_for_no_thread_of_its_parent(self) -> None:
        with losses._lock:
            if not (pid := os.fork()):
                os._exit(0 if losses._lock.acquire(blocking=False) else 1)
        assert os.waitpid(pid, 0)[1] == 0

    def test_after_a_commit_tells_no_event(self, caplog: pytest.LogCaptureFixture) -> None:
        def refuse(event: Any) -> None:
            raise ValueError(f"{event} is no good")

        caplog.set_level("INFO", logger="django_jsonbuffer")
        bucket = Bucket("orders", schema=refuse)
        Destination(bucket._definition).append_recorded([{"card": "4111-1111"}], using=None)
        assert "1 events are lost. An event was refused with ValueError" in caplog.text
        assert "4111" not in caplog.text

    def test_is_counted_in_the_bucket_when_redis_is_back(
        self, private_server: Redis, configure: Callable[..., None], settings: Settings
    ) -> None:
        bucket = Bucket("orders")
        bucket.append(1)
        private_server.config_set("maxmemory", 1)
        for _ in range(2):
            with transaction.atomic():
                bucket.extend([2, 3])
        assert bucket.status().lost == 0
        private_server.config_set("maxmemory", 0)
        another = Bucket("another")
        another.append(1)
        assert bucket.status().lost == another.status().lost == 0
        bucket.append(4)
        assert bucket.status().lost == 4
        bucket.append(5)
        assert bucket.status().lost == 4
        assert bucket.peek() == [1, 4, 5]

    def test_of_the_count_itself_is_made_up_for(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = bucket._definition.parts.store
        losses._add(store, 3)
        with monkeypatch.context() as broken:
            broken.setattr(losses, "count_lost", _refuse)
            bucket.append(1)
        assert bucket.status().lost == 0
        bucket.append(2)
        assert bucket.status().lost == 3

    def test_is_not_counted_again_by_a_forked_child(self, bucket: Bucket) -> None:
        bucket.append(1)
        losses._add(bucket._definition.parts.store, 3)
        if not (pid := os.fork()):
            try:
                Bucket("orders").append(2)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        assert bucket.peek() == [1, 2]
        assert bucket.status().lost == 0


def _refuse(*args: object) -> None:
    raise BufferUnavailable
