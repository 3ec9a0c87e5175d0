"""Other clients that know only the key of the open batch work beside ours."""

import json
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import BufferUnavailable, KeyOccupied
from django_jsonbuffer.store import pending
from django_jsonbuffer.store.store import Store
from tests import seed
from tests.server import Redis
from tests.store.steps import LAST_ID, MINUTE, NOW, append, claim, claimed, dump


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("orders", batch_size=None)


class TestMerge:
    def test_into_our_batch_and_ours_into_theirs(
        self, bucket: Bucket, client_of_server: Redis
    ) -> None:
        bucket.append({"n": 1})
        seed.merge(client_of_server, bucket.key, [{"n": 2}, {"n": 3}])
        assert bucket.status().pending == 3
        bucket.append({"n": 4})
        seed.merge(client_of_server, bucket.key, [{"n": 5}])
        assert bucket.status().pending == 5
        assert bucket.take() == [{"n": number} for number in (1, 2, 3, 4, 5)]

    def test_first_into_an_empty_bucket(self, bucket: Bucket, client_of_server: Redis) -> None:
        seed.merge(client_of_server, bucket.key, [1, 2])
        assert bucket.status().pending == 2
        assert bucket.peek() == [1, 2]
        bucket.processor(lambda batch: got.extend(batch))
        got: list[Any] = []
        assert bucket.drain().processed == 2
        assert got == [1, 2]

    def test_seals_when_a_bucket_has_a_size(self, client_of_server: Redis) -> None:
        bucket = Bucket("orders", batch_size=3)
        seed.merge(client_of_server, bucket.key, [1, 2])
        bucket.append(3)
        status = bucket.status()
        assert (status.pending, status.batches) == (3, 1)
        assert client_of_server.get(bucket.key) is None

    @pytest.mark.parametrize("empty", ["[]", "[ ]", " [\n] ", "{}", "{ }", ""])
    def test_empty_array_of_theirs_spoils_nothing(
        self, bucket: Bucket, client_of_server: Redis, empty: str
    ) -> None:
        client_of_server.set(bucket.key, empty)
        assert bucket.status().pending == 0
        bucket.append({"n": 1})
        assert client_of_server.get(bucket.key) == b'[{"n":1}]'
        assert bucket.status().dead == 0

    def test_two_empty_arrays_become_an_object(
        self, bucket: Bucket, client_of_server: Redis
    ) -> None:
        seed.merge(client_of_server, bucket.key, [])
        seed.merge(client_of_server, bucket.key, [])
        assert client_of_server.get(bucket.key) == b"{}"
        bucket.append(1)
        assert bucket.take() == [1]

    @pytest.mark.parametrize(
        "padded",
        [" [1,2] ", "[1,2]\n", "\t[ 1 , 2 ]\r\n", "\n[1,2]\t", "\r[1,2] ", "\t[1,2]\r"],
    )
    def test_padding_spoils_nothing(
        self, bucket: Bucket, client_of_server: Redis, padded: str
    ) -> None:
        client_of_server.set(bucket.key, padded)
        assert bucket.status().pending == 2
        bucket.append("]")
        assert bucket.status().pending == 3
        assert bucket.take() == [1, 2, "]"]

    @pytest.mark.parametrize(
        "text",
        [
            '["]", "\\"]", "[", "\\\\"]',
            '[{"a": [1, {"b": "},{"}]}, -0.5e+10, true, false, null]',
            '["\\ud83d\\ude00", "😀", "é", "\\u0000"]',
            "[0, -1, 1234567890123456789]",
            "[[[[]]], {}, [{}]]",
        ],
    )
    def test_events_of_theirs_are_counted_and_kept(
        self, bucket: Bucket, client_of_server: Redis, text: str
    ) -> None:
        client_of_server.set(bucket.key, text)
        assert bucket.status().pending == len(json.loads(text))
        bucket.append(1)
        assert bucket.take() == [*json.loads(text), 1]

    def test_padding_is_no_part_of_the_batch(self, bucket: Bucket, client_of_server: Redis) -> None:
        client_of_server.set(bucket.key, " [1] ")
        assert claimed(bucket._definition.parts.store).array == b"[1]"
        assert bucket.status().bytes == 3

    def test_lingers_from_when_it_was_first_seen(
        self, bucket: Bucket, client_of_server: Redis
    ) -> None:
        store = bucket._definition.parts.store
        seed.merge(client_of_server, bucket.key, [1])
        assert claim(store, linger=MINUTE) is None
        open_since_an_hour(client_of_server, bucket)
        assert claimed(store, linger=MINUTE).array == b"[1]"

    @pytest.mark.parametrize("value", ["rubbish", "[]"])
    @pytest.mark.parametrize("beside", [[], [b"[1]"]], ids=["alone", "beside a sealed batch"])
    def test_value_without_events_goes_when_a_claim_finds_it(
        self, bucket: Bucket, client_of_server: Redis, value: str, beside: list[bytes]
    ) -> None:
        store = bucket._definition.parts.store
        if beside:
            bucket.append(1)
            store.seal()
        client_of_server.set(bucket.key, value)
        found = store.claim("worker", lease=MINUTE, linger=NOW)
        assert [claim.array for claim in [found.claim] if claim] == beside
        assert found.foreign == bucket.status().dead == (value == "rubbish")
        assert not client_of_server.exists(bucket.key)


class TestGetAndDelete:
    def test_takes_ours(self, bucket: Bucket, client_of_server: Redis) -> None:
        bucket.extend([1, [], 10**20])
        taken = seed.get_and_delete(client_of_server, bucket.key)
        assert taken == b"[1,[],100000000000000000000]"
        assert bucket.status().pending == 0
        assert bucket.status().oldest is None
        bucket.append(2)
        assert bucket.status().pending == 1
        assert bucket.take() == [2]

    def test_leaves_sealed_batches(self, client_of_server: Redis) -> None:
        bucket = Bucket("orders", batch_size=2)
        bucket.extend([1, 2, 3])
        seed.get_and_delete(client_of_server, bucket.key)
        assert bucket.status().pending == 2
        assert bucket.take() == [1, 2]

    def test_batch_of_the_same_length_is_not_mistaken_for_ours(
        self, bucket: Bucket, client_of_server: Redis
    ) -> None:
        bucket.extend([1, 2, 3])
        seed.get_and_delete(client_of_server, bucket.key)
        seed.merge(client_of_server, bucket.key, [12345])
        assert bucket.status().pending == 1

    def test_longer_batch_that_ends_as_ours_is_not_mistaken_for_ours(
        self, bucket: Bucket, client_of_server: Redis
    ) -> None:
        bucket.append("x" * 40)
        ours = client_of_server.get(bucket.key)
        client_of_server.set(bucket.key, b"[0," + ours[1:])
        status = bucket.status()
        assert (status.pending, status.bytes) == (2, 46)


class TestAge:
    @pytest.fixture(autouse=True)
    def _opened_an_hour_ago(self, bucket: Bucket, client_of_server: Redis) -> None:
        bucket.extend([1, 2])
        open_since_an_hour(client_of_server, bucket)

    def test_stays_when_another_client_appends(
        self, bucket: Bucket, client_of_server: Redis
    ) -> None:
        seed.merge(client_of_server, bucket.key, [3])
        assert age(bucket) >= HOUR
        bucket.append(4)
        assert age(bucket) >= HOUR

    @pytest.mark.parametrize("theirs", [[3], [30, 40]])
    def test_begins_anew_when_another_client_took_what_was_there(
        self, bucket: Bucket, client_of_server: Redis, theirs: list[int]
    ) -> None:
        seed.get_and_delete(client_of_server, bucket.key)
        seed.merge(client_of_server, bucket.key, theirs)
        assert age(bucket) < MINUTE

    @pytest.mark.parametrize(
        "empty",
        [
            lambda store: pending.take(store),
            lambda store: pending.purge(store),
            lambda store: (store.seal(), pending.take(store)),
            lambda store: store.ack(claimed(store)),
            lambda store: [*map(partial(append, store, batch_size=2), [3, 4]), pending.take(store)],
        ],
        ids=["take", "purge", "seal", "claim", "append"],
    )
    def test_begins_anew_when_another_client_puts_the_same_again(
        self, bucket: Bucket, client_of_server: Redis, empty: Callable[[Store], object]
    ) -> None:
        empty(bucket._definition.parts.store)
        assert bucket.status().pending == 0
        seed.merge(client_of_server, bucket.key, [1, 2])
        assert age(bucket) < MINUTE
        assert claim(bucket._definition.parts.store, linger=MINUTE) is None


HOUR = timedelta(hours=1)


def open_since_an_hour(client: Redis, bucket: Bucket) -> None:
    an_hour_ago = int((time.time() - 3600) * 1000)
    client.hset(bucket._definition.parts.store.keys.appends, "opened", an_hour_ago)


def age(bucket: Bucket) -> timedelta:
    oldest = bucket.status().oldest
    assert oldest is not None
    return oldest


class TestAll:
    def test_at_once(self, bucket: Bucket, client_of_server: Redis) -> None:
        """Two of our producers, a client that merges and one that takes: every event comes once."""
        got: list[list[int]] = []
        done = threading.Event()

        def ours(writer: int) -> None:
            for number in range(300):
                bucket.append([writer, number])

        def theirs() -> None:
            for number in range(300):
                seed.merge(client_of_server, bucket.key, [[9, number]])

        def consume() -> None:
            while not done.is_set():
                if taken := seed.get_and_delete(client_of_server, bucket.key):
                    got.extend(json.loads(taken))

        producers = [threading.Thread(target=ours, args=[writer]) for writer in (1, 2)]
        producers.append(threading.Thread(target=theirs))
        consumer = threading.Thread(target=consume)
        for thread in [*producers, consumer]:
            thread.start()
        for thread in producers:
            thread.join()
        done.set()
        consumer.join()
        got.extend(bucket.take())
        for writer in (1, 2, 9):
            assert [n for who, n in got if who == writer] == list(range(300))
        assert bucket.status().pending == 0


class TestRubbish:
    @pytest.mark.parametrize(
        "value",
        [
            *[b"[1,2", b"null", b"1", b'"[]"', b'{"a":1}', b"[1]]", b"[1],[2]", b"[1] [2]", b"]["],
            *[b"[,]", b"[1,]", b"[1,,2]", b"[1 2]", b"[01]", b"[+1]", b"[.5]", b"[1.]", b"[1e]"],
            *[b"[nan]", b"[NaN]", b"[Infinity]", b"[0x1F]", b"[True]", b"[nulll]", b"['a']"],
            *[b'["\\x41"]', b'["\\u12G4"]', b'["a\nb"]', b'["\x00"]', b'["abc', b'["\\"]'],
            *[b'["\xff"]', b'["\xc0\x80"]', b'["\xed\xa0\x80"]', b'["\xf4\x90\x80\x80"]'],
            *[
                b'[{"a"}]',
                b'[{"a":}]',
                b"[{1:2}]",
                b'[{a":1}]',
                b'["a\nb\\tc"]',
                b'[{"a":1,}]',
                b'[{"a":1]',
                b"[{]",
                b'[{"a",1}]',
            ],
            *[b"[" * 201 + b"]" * 201, b"[" + b"9" * 4301 + b"]", b"\xef\xbb\xbf[1]", b"[\x0b1]"],
            *[b"\x80\x04\x95\x00.", b" ", b" \n\t\r "],
        ],
        ids=lambda value: repr(value[:20]),
    )
    def test_is_set_aside_whole_and_spoils_nothing(
        self,
        bucket: Bucket,
        client_of_server: Redis,
        caplog: pytest.LogCaptureFixture,
        value: bytes,
    ) -> None:
        client_of_server.set(bucket.key, value)
        assert bucket.status().pending == 0
        assert bucket.peek() == []
        bucket.append(1)
        status = bucket.status()
        assert (status.pending, status.dead) == (1, 1)
        assert bucket.take() == [1]
        [(_, letter)] = client_of_server.xrange(f"{bucket.key}:dead")
        assert letter[b"event"] == value
        assert "They are dead letters: 1" in caplog.text

    @pytest.mark.parametrize("call", ["drain", "take", "purge"])
    def test_is_set_aside_by_whatever_finds_it(
        self,
        bucket: Bucket,
        client_of_server: Redis,
        caplog: pytest.LogCaptureFixture,
        call: str,
    ) -> None:
        bucket.processor(lambda batch: None)
        client_of_server.set(bucket.key, "a secret")
        getattr(bucket, call)()
        assert bucket.status().dead == 1
        assert not client_of_server.exists(bucket.key)
        assert "orders" in caplog.text
        assert "secret" not in caplog.text

    def test_what_is_set_aside_is_what_json_refuses(
        self, bucket: Bucket, client_of_server: Redis
    ) -> None:
        """A value at the limits of depth and digits is kept, and Python reads it."""
        deepest = b"[" * 200 + b"]" * 200
        longest = b"[" + b"9" * 4300 + b"]"
        for value in (deepest, longest):
            client_of_server.set(bucket.key, value)
            assert bucket.status().pending == 1
            assert bucket.take() == json.loads(value)

    def test_size_of_a_foreign_value_costs_in_proportion(
        self, bucket: Bucket, client_of_server: Redis
    ) -> None:
        """White space, long strings and many brackets are each read once. Otherwise this hangs."""
        for value in (
            "[1" + " " * 5_000_000 + "x]",
            '["' + "\\u0041" * 500_000 + '"',
            "[" + "1," * 500_000,
            "é" * 500_000,
        ):
            client_of_server.set(bucket.key, value)
            bucket.append(1)
            assert bucket.take() == [1]
        assert bucket.status().dead == 4

    def test_stays_when_the_dead_letters_take_no_more(
        self, bucket: Bucket, client_of_server: Redis
    ) -> None:
        client_of_server.xadd(bucket._definition.parts.store.keys.dead, {"event": "x"}, id=LAST_ID)
        client_of_server.set(bucket.key, "rubbish")
        with pytest.raises(BufferUnavailable):
            bucket.take()
        assert client_of_server.get(bucket.key) == b"rubbish"

    @pytest.mark.parametrize(("kind", "value"), [("batches", " [1] "), ("dead", "rubbish")])
    @pytest.mark.parametrize(
        "call",
        [claim, Store.seal, pending.take, lambda store: append(store, 2, batch_size=1)],
        ids=["claim", "seal", "take", "append"],
    )
    def test_and_padding_stay_when_another_key_is_of_another_type(
        self,
        bucket: Bucket,
        client_of_server: Redis,
        prefix: str,
        kind: str,
        value: str,
        call: Callable[[Store], object],
    ) -> None:
        store = bucket._definition.parts.store
        append(store, 1)
        client_of_server.set(bucket.key, value)
        client_of_server.set(getattr(store.keys, kind), "foreign")
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied):
            call(store)
        assert dump(client_of_server, prefix) == before


def events_in(text: str) -> list[Any] | None:
    """The list that json.loads makes of a text, or None if it is not an array. NaN is refused."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        value = json.loads(text, parse_constant=refuse)
    except ValueError:
        return None
    return value if isinstance(value, list) else None


def is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


JSON_PARTS = [
    *'[]{},:"-0 \n\t\r\v',
    *['"a"', '"a":', '"\\u00e9"', '"\\', "\\/", "[1,", '{"a":1}', "[]", "{}"],
    *["1", "-12", "1.5", "-2e3", "1E-2", "e+1", ".", "true", "false", "null"],
]


FIRST = ["", f'"{"x" * 20_000}",']
"""Begins an array. The second is so long that the client counts the events for a status."""


class TestScanner:
    """Accepts exactly the texts that json.loads makes a list of, and counts as many values."""

    @given(parts=st.lists(st.sampled_from(JSON_PARTS), max_size=9), first=st.sampled_from(FIRST))
    @settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_text(
        self, bucket: Bucket, client_of_server: Redis, parts: list[str], first: str
    ) -> None:
        text = "[" + first + "".join(parts) + "]"
        expected = events_in(text)
        client_of_server.set(bucket.key, text)
        assert bucket.status().pending == len(expected or [])
        assert bucket._definition.parts.store.seal()[1] == (expected is None)
        assert bucket.take() == (expected or [])

    @pytest.mark.parametrize(
        "text",
        [
            '["\\u00e9\\b\\f\\n\\r\\t\\/\\"\\\\x",1]',
            "[-1,0.5,1.25e7,1E5,2e-12,3e+45,-0]",
            '\r[\n1\t,\r{ "a"\t:\n1 } , [ ]\r\n]\t',
            '[true,false,null,{"a":[]}]',
            '[{"a":1,"b":[1,2]},[{}],3]',
            '["\\uD83D\\uDE00","\\uabcd"]',
            '["\x7f"]',
            "[1\r]\t",
            *["[\x7f]", '[" \x1f"]', "\x0b[1]", "\x0c[1]", "[1]\x0b", "{\x0b}", "[1 \x0b]"],
            *['["\\u"]', '["\\u12"]', '["\\u123"]', '["\\u123x"]', '["\\uabcd","\\u0"]'],
            *["[-01]", "[1e5.5]", '[{"a":1 "b":2}]', '[{"a":1]}', "[1}", "[1,]", "[,]", "[1][2]"],
            *[f"[{'9' * 4300}]", f"[{'9' * 4301}]", f"[-{'9' * 4301}]", f"[1.{'9' * 4301}]"],
            *["[NaN]", "[1e999]", "[ ]", "[", "]", "[1"],
        ],
        ids=lambda text: text[:20],
    )
    @pytest.mark.parametrize("first", FIRST, ids=["short", "long"])
    def test_text(self, bucket: Bucket, client_of_server: Redis, text: str, first: str) -> None:
        if first and events_in(text) != []:
            text = text.replace("[", f"[{first}", 1)
        expected = events_in(text)
        client_of_server.set(bucket.key, text)
        assert bucket.status().pending == len(expected or [])
        assert bucket._definition.parts.store.seal()[1] == (expected is None)
        assert bucket.take() == (expected or [])

    @pytest.mark.parametrize("depth", [199, 200, 201, 1000, 100_000])
    @pytest.mark.parametrize("first", FIRST, ids=["short", "long"])
    def test_depth(self, bucket: Bucket, client_of_server: Redis, depth: int, first: str) -> None:
        text = f"[{first}{'[' * (depth - 1)}{']' * depth}"
        client_of_server.set(bucket.key, text)
        is_accepted = depth <= 200
        assert bucket.status().pending == is_accepted * (2 if first else 1)
        assert bucket._definition.parts.store.seal()[1] == (not is_accepted)

    def test_every_kind_of_utf8_and_what_is_none(
        self, bucket: Bucket, client_of_server: Redis
    ) -> None:
        leads = (
            *(0x7F, 0x80, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF),
            *(0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF),
        )
        seconds = (0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0)
        rests = (b"", b"\x80", b"\xbf", b"\x80\x80", b"\xbf\xbf")
        for lead, second, rest in product(leads, seconds, rests):
            text = bytes([lead, second]) + rest
            client_of_server.set(bucket.key, b'["%b"]' % text)
            assert bucket.status().pending == is_utf8(text), text
