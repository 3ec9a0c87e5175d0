from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from django_jsonbuffer.sinks.http.retry_after import LONGEST_WAIT, retry_after_of


def http_date(date: datetime) -> str:
    return format_datetime(date, usegmt=True)


class TestRetryAfterOf:
    @pytest.mark.parametrize(
        ("text", "seconds"), [("1", 1), ("120", 120), (" 7 ", 7), ("3600", 3600), ("007", 7)]
    )
    def test_seconds(self, text: str, seconds: int) -> None:
        assert retry_after_of({"retry-after": text}) == timedelta(seconds=seconds)

    @pytest.mark.parametrize("text", ["3601", "9" * 500])
    def test_is_at_most_an_hour(self, text: str) -> None:
        assert retry_after_of({"retry-after": text}) == LONGEST_WAIT

    @pytest.mark.parametrize("text", ["", "0", "-5", "1.5", "soon", "٣", "Mon, 99 Jan", "1 2"])
    def test_of_anything_else_is_none(self, text: str) -> None:
        assert retry_after_of({"retry-after": text}) is None
        assert retry_after_of({}) is None

    def test_date_counts_from_the_date_of_the_answer(self) -> None:
        then = datetime(2020, 2, 29, 12, tzinfo=UTC)
        headers = {
            "retry-after": http_date(then + timedelta(seconds=90)),
            "date": http_date(then),
        }
        assert retry_after_of(headers) == timedelta(seconds=90)

    def test_date_counts_from_now_if_the_answer_has_none(self) -> None:
        until = datetime.now(UTC) + timedelta(seconds=60)
        wait = retry_after_of({"retry-after": http_date(until), "date": "yesterday"})
        assert wait is not None
        assert timedelta(seconds=50) < wait <= timedelta(seconds=60)

    def test_date_in_the_past_is_none(self) -> None:
        past = http_date(datetime(2020, 1, 1, tzinfo=UTC))
        assert retry_after_of({"retry-after": past}) is None

    def test_date_of_the_obsolete_forms(self) -> None:
        headers = {
            "retry-after": "Sunday, 06-Nov-94 08:49:38 GMT",
            "date": "Sun, 06 Nov 1994 08:49:37 GMT",
        }
        assert retry_after_of(headers) == timedelta(seconds=1)
