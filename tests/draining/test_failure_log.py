import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.draining.failure_log import FailureLog
from django_jsonbuffer.store.claims import Claim, Outage
from tests.draining.drains import drain_all, impatient, refuse


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


def outage(log: FailureLog, *rest: Any, pause: timedelta | None = None) -> None:
    log.outage(*rest, backoff=timedelta(seconds=1), pause=pause)


class TestLine:
    def test_has_type_message_bucket_batch_and_place(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        ids: list[str] = []

        def fail(batch: Batch) -> None:
            ids.append(batch.id)
            raise ValueError(f"cannot store {batch[0]}")

        bucket.processor(fail)
        bucket.append("this")
        bucket.drain()
        [line] = lines(caplog)
        assert line.startswith(
            f"Bucket orders: the event of batch {ids[0]} failed at delivery 1 with "
        )
        assert "ValueError: cannot store this. " in line
        assert f'"{__file__}"' in line
        assert "in fail" in line

    def test_of_a_lost_lease_has_the_fields(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        def lose(batch: Batch) -> None:
            store = bucket._definition.parts.store
            found = store.claim("other", lease=timedelta(0), linger=None).claim
            assert found is not None
            store.ack(found)

        bucket.processor(lose)
        bucket.append(1)
        bucket.drain()
        [record] = caplog.records
        assert "The events may be processed again" in record.getMessage()
        fields = vars(record)
        assert fields["bucket"] == "orders"
        assert fields["batch_id"] in record.getMessage()
        assert (fields["attempt"], fields["error_type"]) == (1, "LeaseLost")

    def test_has_them_as_fields_too(self, bucket: Bucket, caplog: pytest.LogCaptureFixture) -> None:
        refuse(bucket, 1, message="no room")
        bucket.append(1)
        bucket.drain()
        [record] = caplog.records
        fields = vars(record)
        assert (fields["bucket"], fields["attempt"]) == ("orders", 1)
        assert fields["batch_id"] in record.getMessage()
        assert (fields["error_type"], fields["error_message"]) == ("ValueError", "no room")

    @pytest.mark.parametrize("by", ["setting", "redact"])
    def test_names_only_the_class_if_messages_may_quote_events(
        self, caplog: pytest.LogCaptureFixture, configure: Callable[..., None], by: str
    ) -> None:
        options: dict[str, Any] = {}
        if by == "setting":
            configure(LOG_ERRORS=False)
        else:
            options["redact"] = str
        bucket = impatient(batch_size=2, max_attempts=1, **options)
        refuse(bucket, "secret", message="cannot store secret")
        with caplog.at_level(logging.DEBUG, "django_jsonbuffer"):
            bucket.extend(["secret", "other"])
            bucket.drain()
            assert bucket.status().error == "ValueError"
            drain_all(bucket)
        assert "ValueError" in caplog.text
        assert "cannot store secret" not in caplog.text
        assert all(vars(record)["error_message"] == "" for record in caplog.records)
        assert [letter.error for letter in bucket.dead] == ["ValueError: cannot store secret"]

    @pytest.mark.parametrize("is_private", [False, True])
    def test_has_no_source_code_if_that_may_be_the_message(
        self, caplog: pytest.LogCaptureFixture, is_private: bool
    ) -> None:
        def fail(batch: Batch) -> None:
            raise ValueError("card 4111")

        bucket = Bucket("orders", redact=str if is_private else None)
        bucket.processor(fail)
        bucket.append(1)
        bucket.drain()
        assert f'"{__file__}"' in caplog.text
        assert ("4111" in caplog.text) == (not is_private)

    def test_of_each_error_has_its_traceback_once(self, caplog: pytest.LogCaptureFixture) -> None:
        bucket = impatient()
        refuse(bucket, *range(0, 1000, 100))
        bucket.extend(range(1000))
        with caplog.at_level(logging.DEBUG):
            for _ in range(3):
                bucket.drain()
        assert caplog.text.count("in store") == 1

    def test_of_a_bad_event_are_few(self, caplog: pytest.LogCaptureFixture) -> None:
        bucket = impatient()
        refuse(bucket, 317)
        bucket.extend(range(1000))
        drain_all(bucket)
        halved, failed, buried = lines(caplog)
        assert "of 1,000 events failed at delivery 1 with ValueError: no. It is halved" in halved
        attempt = (
            "failed at delivery 1, which is attempt 1 of 10, with ValueError: no. It comes again"
        )
        assert attempt in failed
        assert "Bucket orders: at delivery 10, the event of batch" in buried
        assert "is now a dead letter, after 10 failed attempts: ValueError: no" in buried

    def test_counts_no_attempt_that_is_none(
        self, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        refuse(bucket, 1)
        bucket.append(1)
        bucket.drain()
        assert "this is not counted as an attempt" in caplog.text
        assert "attempt 1" not in caplog.text


class TestDelivery:
    """Each line names the delivery, but only a failure that counts is called an attempt."""

    claim = Claim(id="1-1", stream_id="1-1", worker="w", attempt=5, count=2, array=b"[1,2]")

    @pytest.fixture
    def log(self, caplog: pytest.LogCaptureFixture) -> FailureLog:
        caplog.set_level(logging.DEBUG, "django_jsonbuffer")
        return FailureLog("orders")

    @pytest.mark.parametrize(
        "write",
        [
            lambda log, *rest: log.halved(*rest),
            lambda log, *rest: log.kept(*rest, timedelta(0)),
            lambda log, *rest: log.failed_after_commit(*rest),
            lambda log, *rest: outage(log, *rest, Outage(timedelta(0), True, False)),
            lambda log, *rest: outage(log, *rest, Outage(timedelta(9), True, True)),
            lambda log, *rest: outage(log, *rest, Outage(timedelta(9), False, True)),
            lambda log, *rest: log.buried(*rest, failures=0),
            lambda log, claim, *rest: log.rejected(claim, 1),
            lambda log, claim, *rest: log.killer_halved(claim),
            lambda log, claim, *rest: log.hangs(claim, timedelta(1), "the stack"),
        ],
        ids=range(10),
    )
    def test_is_named(
        self, log: FailureLog, caplog: pytest.LogCaptureFixture, write: Callable[..., None]
    ) -> None:
        write(log, self.claim, ValueError("no"), "ValueError: no")
        [record] = caplog.records
        assert "at delivery 5" in record.getMessage()
        assert "attempt 5" not in record.getMessage()
        assert vars(record)["attempt"] == 5

    def test_that_counts_is_an_attempt(
        self, log: FailureLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        log.counted(self.claim, ValueError("no"), "ValueError: no", "2 of 10", timedelta(0))
        assert "failed at delivery 5, which is attempt 2 of 10, with ValueError: no." in caplog.text

    def test_that_killed_its_worker_has_no_error_of_an_earlier_one(
        self, log: FailureLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        log.killer_halved(replace(self.claim, deaths=3, error="ValueError: card 4111"))
        [record] = caplog.records
        assert "4111" not in str(vars(record))


class TestOutage:
    def claim(self) -> Claim:
        return Claim(id="1-1", stream_id="1-1", worker="w", attempt=1, count=1, array=b"[1]")

    def test_is_logged_when_it_begins_and_then_once_a_minute(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        log, error = FailureLog("orders"), RuntimeError("down")
        for seconds in range(0, 300, 10):
            found = Outage(timedelta(seconds=seconds), seconds % 60 == 0, seconds > 0)
            outage(
                log, self.claim(), error, "RuntimeError: down", found, pause=timedelta(seconds=5)
            )
        log.outage_ended(timedelta(seconds=300))
        began, *goes_on, ended = lines(caplog)
        assert "This looks like an outage" in began
        assert [line.partition(": the event")[0] for line in goes_on] == [
            f"Bucket orders: the outage goes on, after 0:0{minutes}:00" for minutes in range(1, 5)
        ]
        assert ended.startswith("Bucket orders: the outage is over, after 0:05:00:")

    def test_that_begins_soon_after_another_one_is_said_to_begin_when_it_is_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        found = Outage(timedelta(seconds=50), True, False)
        outage(FailureLog("orders"), self.claim(), ValueError("no"), "ValueError: no", found)
        [record] = caplog.records
        assert (record.levelno, "it is kept" in record.getMessage()) == (logging.ERROR, True)

    def test_has_one_traceback_of_an_error_that_comes_later(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        log, goes_on = FailureLog("orders"), Outage(timedelta(minutes=1), True, True)
        try:
            raise ImportError("no")
        except ImportError as error:
            for _ in range(2):
                outage(log, self.claim(), error, "ImportError: no", goes_on)
        assert caplog.text.count(" in test_has_one_traceback") == 1

    def test_says_how_long_workers_wait_if_they_do(self, caplog: pytest.LogCaptureFixture) -> None:
        log, begun = FailureLog("orders"), Outage(timedelta(0), True, False)
        for pause in (timedelta(seconds=5), None):
            outage(log, self.claim(), RuntimeError(), "RuntimeError: down!", begun, pause=pause)
        all_wait, is_alone = lines(caplog)
        assert "down! This looks like an outage: all events are kept, and workers wait." in all_wait
        assert "It comes again in about 5.0 s." in all_wait
        assert "down! Nothing proves that it is at fault, so it is kept, as in" in is_alone
        assert "It comes again in about 1.0 s." in is_alone

    def test_of_a_whole_bucket_is_one_line(self, caplog: pytest.LogCaptureFixture) -> None:
        bucket = impatient(batch_size=100)
        refuse(bucket, *range(1000))
        bucket.extend(range(1000))
        for _ in range(100):
            bucket.drain()
        assert caplog.text.count("This looks like an outage") == 1
        assert len(lines(caplog)) < 10
