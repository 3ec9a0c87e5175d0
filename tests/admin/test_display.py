import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import translation

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.admin.display import MOST_CHARACTERS, Exhibit
from tests.prepared import bury_by_failures


def shown(bucket: Bucket, raw: bytes) -> Exhibit:
    return Exhibit.of_event(bucket, raw, size=len(raw))


def redacting(redact: Any) -> Bucket:
    return Bucket("orders", redact=redact)


def buried(bucket: Bucket, event: Any, reason: str | BaseException) -> Any:
    bucket.append(event)

    def refuse(batch: Batch) -> None:
        batch.reject(batch[0], reason)

    bucket.processor(refuse)
    bucket.drain()
    [letter] = bucket.dead.page()
    return letter


class TestEvent:
    def test_is_shown_whole(self) -> None:
        assert shown(Bucket("orders"), b'{"a":1}') == Exhibit(
            text='{\n  "a": 1\n}', pairs=[("a", "1")]
        )

    @pytest.mark.parametrize("raw", [b"[1]", b"1", b"{}", b"no JSON"])
    def test_that_is_no_object_has_no_pairs(self, raw: bytes) -> None:
        assert [*shown(Bucket("orders"), raw).pairs] == []

    def test_that_is_cut_has_no_pairs(self) -> None:
        """They would have less than the whole event, or more characters than are shown."""
        raw = json.dumps({"a": "x" * MOST_CHARACTERS}).encode()
        exhibit = shown(Bucket("orders"), raw)
        assert (exhibit.note, [*exhibit.pairs]) == ("Cut: it has 10,009 bytes.", [])
        beginning = Exhibit.of_event(Bucket("orders"), b'{"a":1}', size=100)
        assert [*beginning.pairs] == []

    def test_of_a_megabyte_is_cut(self) -> None:
        exhibit = Exhibit.of_event(Bucket("orders"), b'"' + b"x" * 60_000, size=1_000_002)
        assert len(exhibit.text) == MOST_CHARACTERS + 1
        assert exhibit.note == "Cut: it has 1,000,002 bytes."

    def test_groups_the_digits_of_its_size_as_the_language_does(self) -> None:
        with translation.override("de"):
            exhibit = Exhibit.of_event(Bucket("orders"), b'"' + b"x" * 60_000, size=1_000_002)
        assert exhibit.note == "Gekürzt: insgesamt 1.000.002 Bytes."

    def test_shows_what_would_hide_or_turn_the_text(self) -> None:
        raw = '"a\u202eb\u200bc\x7fd\x00"'.encode()
        exhibit = shown(Bucket("orders"), raw)
        assert exhibit.text == '"a\\u202eb\\u200bc\\x7fd\\x00"'

    def test_shows_what_would_hide_or_turn_a_pair(self) -> None:
        raw = '{"a\u202eb":"c\u200bd"}'.encode()
        assert shown(Bucket("orders"), raw).pairs == [("a\\u202eb", '"c\\u200bd"')]

    def test_is_redacted(self) -> None:
        bucket = redacting(lambda event: {**event, "card": "…"})
        exhibit = shown(bucket, b'{"id":1,"card":"4111"}')
        assert exhibit == Exhibit(
            text='{\n  "id": 1,\n  "card": "…"\n}',
            note="Redacted.",
            pairs=[("id", "1"), ("card", '"…"')],
        )

    def test_that_cannot_be_redacted_is_not_shown(self) -> None:
        bucket = redacting(lambda event: event["nothing like that"])
        assert shown(bucket, b'{"card":"4111"}') == Exhibit(
            text="", note="Not shown: redact failed with KeyError."
        )

    def test_whose_redaction_is_no_json_is_not_shown(self) -> None:
        exhibit = shown(redacting(lambda event: {event["card"]}), b'{"card":"4111"}')
        assert exhibit.text == ""
        assert "4111" not in exhibit.note

    def test_that_is_no_json_is_not_shown_where_it_is_to_be_redacted(self) -> None:
        exhibit = shown(redacting(lambda event: event), b"4111")
        assert exhibit.text == "4111"
        assert shown(redacting(lambda event: event), b"card 4111").text == ""

    def test_that_was_cut_is_not_shown_where_it_is_to_be_redacted(self) -> None:
        exhibit = Exhibit.of_event(redacting(lambda event: event), b'"4111', size=1_000_000)
        assert exhibit == Exhibit(
            text="",
            note="Not shown: it is too large to be redacted.",
        )


class TestError:
    def test_is_shown_with_its_traceback(self) -> None:
        bucket = Bucket("orders")
        letter = buried(bucket, 1, ValueError("card 4111"))
        assert Exhibit.of_error(bucket, letter).text == "ValueError: card 4111"
        assert Exhibit.of_traceback(bucket, letter).text == "ValueError: card 4111"

    def test_is_its_kind_alone_where_events_are_redacted(self) -> None:
        def refuse(batch: Batch) -> None:
            raise ValueError(f"Key (card)=({batch[0]['card']})\nalready  exists:\n  File it")

        bucket = Bucket("orders", lease=timedelta(0), max_attempts=1, redact=lambda event: event)
        bury_by_failures(bucket, {"card": "4111"}, refuse)
        [letter] = bucket.dead.page()
        error = Exhibit.of_error(bucket, letter)
        assert error == Exhibit(
            text="ValueError", note="The message is not shown, because it may quote the event."
        )
        traceback = Exhibit.of_traceback(bucket, letter).text
        assert "4111" not in traceback
        assert "exists" not in traceback
        assert "in refuse" in traceback

    @pytest.mark.parametrize("reason", ["card 4111", "4111", "card"])
    def test_that_is_a_text_of_the_processor_is_not_shown_where_events_are_redacted(
        self, reason: str
    ) -> None:
        bucket = Bucket("orders", redact=lambda event: event)
        assert Exhibit.of_error(bucket, buried(bucket, 1, reason)).text == ""

    def test_of_many_characters_is_cut(self) -> None:
        bucket = Bucket("orders")
        exhibit = Exhibit.of_error(bucket, buried(bucket, 1, "x" * 50_000))
        assert (len(exhibit.text), exhibit.note) == (MOST_CHARACTERS + 1, "Cut here.")
