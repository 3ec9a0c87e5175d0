import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from django_jsonbuffer import Bucket, catalog
from tests.prepared import release_failed, store_of
from tests.store.steps import NOW
from tests.test_show_buckets import show

pytestmark = pytest.mark.usefixtures("nothing_declared")


def retries(**options: Any) -> list[str]:
    return [line for line in show(verbosity=2, **options).splitlines() if ": batch " in line]


class TestRetries:
    def test_each_has_a_line_with_its_error(self) -> None:
        Bucket("orders", batch_size=1).extend([1, 2])
        Bucket("mails").append(1)
        first = release_failed("orders", error="KeyError: 'x'", backoff=timedelta(seconds=30))
        second = release_failed("orders", error="OSError", backoff=NOW)
        lines = retries()
        assert re.fullmatch(
            rf"orders: batch {first} failed at delivery 1, and will be retried in (29|30) seconds: "
            "KeyError: 'x'",
            lines[0],
        )
        assert lines[1].endswith(f"{second} failed at delivery 1, and can be retried now: OSError")
        assert len(lines) == 2

    def test_of_a_part_that_was_not_tried_says_so(self) -> None:
        bucket = Bucket("orders")
        bucket.processor(lambda batch: 1 / 0)
        bucket.extend([1, 2])
        with bucket.drain_steps() as drain:
            drain.step()
        reason = "is a part of one that failed, and can be retried now: ZeroDivisionError"
        assert [reason in line for line in retries()] == [True, True]
        assert "failed with ZeroDivisionError at delivery 1." in show()

    def test_of_a_worker_that_died(self) -> None:
        Bucket("orders").append(1)
        store = store_of("orders")
        for worker in ("one", "two"):
            store.claim(worker, lease=NOW, linger=NOW, after=None)
        assert retries() == []  # a worker holds the batch
        store.retire("two", lease=timedelta(minutes=1))
        [line] = retries()
        assert line.endswith(": its worker died")

    def test_of_a_batch_that_a_worker_gave_back_are_none(self) -> None:
        Bucket("orders", batch_size=1).extend([1, 2])
        release_failed("orders", error="OSError")
        store = store_of("orders")
        store.claim("two", lease=timedelta(minutes=1), linger=NOW, after="9" * 13 + "-0")
        store.retire("two", lease=timedelta(minutes=1))
        assert len(retries()) == 1

    def test_are_shown_to_those_who_ask_only(self) -> None:
        Bucket("orders").append(1)
        release_failed("orders", error="OSError")
        assert "OSError" in show()  # a reason for the state
        assert ": batch " not in show()
        assert retries(format="json") == retries(format="prometheus") == []

    def test_shows_no_character_that_a_terminal_obeys(self) -> None:
        Bucket("orders").append(1)
        release_failed("orders", error="OSError: \x1b[2J\u202egone")
        assert retries()[0].endswith("OSError: \\x1b[2J\\u202egone")

    def test_of_options_that_are_unusable(self, configure: Callable[..., None]) -> None:
        Bucket("orders").append(1)
        release_failed("orders", error="OSError")
        configure(BUCKETS={"orders": {"batch_size": 0}})
        assert retries() == []

    def test_of_a_bucket_that_is_well_are_not_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Bucket("orders").append(1)
        monkeypatch.setattr(catalog, "deliveries", None)
        assert retries() == []
