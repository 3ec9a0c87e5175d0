import json
from datetime import timedelta
from typing import Any

import pytest

from django_jsonbuffer import Batch, Bucket, DeadLetter
from django_jsonbuffer.management.letters import format_as_json, format_for_people
from tests.prepared import bury, keys_of
from tests.server import Redis


def for_people(bucket: Bucket, *, columns: int = 100) -> list[str]:
    [letter] = bucket.dead
    return format_for_people(bucket, letter, columns=columns).split("\n")


def facts(bucket: Bucket) -> dict[str, Any]:
    [letter] = bucket.dead
    line = format_as_json(bucket, letter)
    assert line.isascii()
    assert line.isprintable()
    return json.loads(line)  # type: ignore[no-any-return]


def put(plain: Redis, event: bytes, *, id: str = "*", **fields: str | bytes) -> DeadLetter:
    """Let another client put a dead letter into the bucket `orders`."""
    plain.xadd(keys_of("orders").dead, {"event": event, **fields}, id=id)
    [letter] = Bucket("orders").dead
    return letter


class TestForPeople:
    def test_has_place_and_time_then_error_then_event(self) -> None:
        orders = Bucket("orders", max_attempts=1, batch_size=1, lease=timedelta(0))
        orders.extend([{"id": 7}, {"total": 1}])
        orders.processor(lambda batch: batch[0]["total"])
        orders.drain()
        orders.drain()
        [letter] = orders.dead
        where, error, event = for_people(orders)
        assert where.startswith(f"orders  {letter.id}  0 seconds ago, 1 failed attempt")
        assert error == "  KeyError: 'total'"
        assert event == '  {"id":7}'

    def test_is_cut_to_the_columns(self) -> None:
        lines = for_people(bury("x" * 500, reason="y" * 500), columns=60)
        assert [len(line) for line in lines[1:]] == [60, 60]
        assert all(line.endswith("…") for line in lines[1:])
        assert lines[2].startswith('  "xxx')

    def test_obeys_no_control_character_of_another_client(self, client_of_server: Redis) -> None:
        put(client_of_server, "\x1b[2J\nevil \u202e".encode(), error="\x07\r\n\x1b]0;t\x07")
        where, error, event = for_people(Bucket("orders"))
        assert error == "  \\x07\\r\\n\\x1b]0;t\\x07"
        assert event == "  \\x1b[2J\\nevil \\u202e"
        assert where.endswith("0 failed attempts")

    def test_without_an_error_says_so(self, client_of_server: Redis) -> None:
        put(client_of_server, b"1")
        assert for_people(Bucket("orders"))[1] == "  (no error)"

    @pytest.mark.parametrize("id", ["0-1", "18446744073709551615-1"])
    def test_of_any_age(self, client_of_server: Redis, id: str) -> None:
        put(client_of_server, b"1", id=id)
        [where, *_] = for_people(Bucket("orders"))
        assert where.startswith(f"orders  {id}  ")

    def test_is_redacted(self) -> None:
        bury({"card": "4111"}, reason=ValueError("card 4111"))
        said = for_people(Bucket("orders", redact=lambda event: {"card": "…"}))
        assert "4111" not in "".join(said)
        assert said[1].startswith("  ValueError The message is not shown")
        assert said[2] == '  {"card":"…"}'

    def test_that_cannot_be_redacted_says_why(self, client_of_server: Redis) -> None:
        put(client_of_server, b'"4111"')
        said = for_people(Bucket("orders", redact=lambda event: event))
        assert said[2].startswith("  Not shown: no processor has seen it")


class TestAsJson:
    def test_has_all_facts(self) -> None:
        orders = Bucket("orders", max_attempts=1, batch_size=1, lease=timedelta(0))
        orders.extend([{"id": 7}, {"total": 1}])

        def fail(batch: Batch) -> None:
            if batch[0] == {"id": 7}:
                raise ValueError("no total")

        orders.processor(fail)
        orders.drain()
        orders.drain()
        [letter] = orders.dead
        assert letter.first_failed is not None
        assert letter.last_failed is not None
        shown = facts(orders)
        assert 0 <= shown.pop("age_seconds") < 60
        assert "in fail" in shown.pop("traceback")
        assert shown == {
            "bucket": "orders",
            "id": letter.id,
            "first_failed": letter.first_failed.isoformat(),
            "last_failed": letter.last_failed.isoformat(),
            "attempts": 1,
            "batch": letter.batch,
            "error": "ValueError: no total",
            "note": "",
            "event": {"id": 7},
        }

    @pytest.mark.parametrize(
        "event",
        ["12345678901234567890123", "1.50", "1e400", "[1.0, {}]", '{"a": 1, "a": 2}', "null"],
    )
    def test_changes_no_digit_of_an_event(self, client_of_server: Redis, event: str) -> None:
        letter = put(client_of_server, event.encode())
        line = format_as_json(Bucket("orders"), letter)
        assert line.endswith(f'"event": {event}}}')

    @pytest.mark.parametrize("event", ["café € 𝄞 \u202e \x7f", "a\\nb"])
    def test_has_every_character(self, event: str) -> None:
        assert facts(bury(event))["event"] == event

    def test_stays_in_one_line(self, client_of_server: Redis) -> None:
        put(client_of_server, b'{\r\n\t"a": 1\n}')
        assert facts(Bucket("orders"))["event"] == {"a": 1}

    @pytest.mark.parametrize("raw", ["no JSON", "NaN", "[1,", "[" * 100_000, '"a\nb"', ""])
    def test_has_the_text_of_an_event_that_is_not_json(
        self, client_of_server: Redis, raw: str
    ) -> None:
        put(client_of_server, raw.encode())
        assert facts(Bucket("orders"))["event"] == raw

    def test_stands_half_a_character(self, client_of_server: Redis) -> None:
        put(client_of_server, b'"\xff"', error=b"\xff")
        assert facts(Bucket("orders"))["event"] == '"\ufffd"'

    def test_is_redacted(self) -> None:
        bury({"card": "4111"}, reason=ValueError("card 4111"))
        shown = facts(Bucket("orders", redact=lambda event: {"card": "…"}))
        assert "4111" not in repr(shown)
        assert (shown["event"], shown["error"]) == ({"card": "…"}, "ValueError")
        assert shown["note"] == "Redacted."

    def test_that_cannot_be_redacted_has_no_event(self) -> None:
        bury({"card": "4111"}, reason=ValueError("card 4111"))
        shown = facts(Bucket("orders", redact=lambda event: event["total"]))
        assert shown["event"] is None
        assert shown["note"] == "Not shown: redact failed with KeyError."
        assert "4111" not in repr(shown)
