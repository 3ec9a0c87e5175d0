"""What people, other clients and servers may come up with: see docs/bad-input.md."""

import ctypes
import os
import signal
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from django_jsonbuffer import Batch, Bucket, store
from django_jsonbuffer.exceptions import (
    BufferOutOfMemory,
    BufferUnavailable,
    EventTooLarge,
    InvalidEvent,
    KeyOccupied,
)
from tests.library.models import Tag
from tests.server import Redis
from tests.test_draining import impatient, report
from tests.test_faults import CALLS, WRITES, answering
from tests.test_store import dump

NOW = timedelta(0)


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("orders", batch_size=1000)


def reject_all(batch: Batch) -> None:
    for event in batch:
        batch.reject(event, "no")


class TestEvent:
    @pytest.mark.parametrize(
        "event",
        [
            *([], {}, None, "", "   ", 0, -0.0, True, [[], {}], {"": None}, {"__proto__": {}}),
            *(2**53 - 1, 2**53 + 1, 2**63, 2**64, -(2**64), int("9" * 4300), 0.1 + 0.2, 1e308),
            *("\x00", "\x7f", "\u2028", "\ufeff", "\u202e", "😀", "\n\r\t", "a\\", '"', "\\"),
            *('{"a":1},{"b":2}', "1],[2", '"\\', "]", "<script>alert(1)</script>", "{{7*7}}"),
            {"k" * 1_000_000: 1},
        ],
        ids=lambda event: repr(event)[:20],
    )
    def test_is_the_same_wherever_it_is_seen(self, bucket: Bucket, event: Any) -> None:
        bucket = Bucket("orders", max_event_bytes=2_000_000)
        got: list[Any] = []
        bucket.extend(["before", event, "after"])
        assert repr(bucket.peek()) == repr(["before", event, "after"])
        bucket.processor(reject_all)
        assert bucket.drain() == report(batches=1, buried=3)
        assert repr([letter.event for letter in bucket.dead]) == repr(["before", event, "after"])
        assert bucket.dead.replay_all() == 3
        bucket.processor(got.extend)
        assert bucket.drain().processed == 3
        assert repr(got) == repr(["before", event, "after"])

    @pytest.mark.parametrize(
        "event",
        [
            *(float("nan"), float("inf"), 1e400, int("9" * 4300) * 10, b"x", {1}, object()),
            *("\ud800", {"\udfff": 1}, {(1, 2): 3}, [[[float("-inf")]]]),
        ],
        ids=lambda event: type(event).__name__,
    )
    def test_that_is_refused_takes_its_call_with_it(self, bucket: Bucket, event: Any) -> None:
        bucket.append("before")
        with pytest.raises(InvalidEvent):
            bucket.extend([1, event, 2])
        assert bucket.take() == ["before"]

    def test_whose_encoding_raises(self, bucket: Bucket) -> None:
        class Hostile:
            def model_dump(self, mode: str) -> Any:
                raise RuntimeError("no")

        with pytest.raises(InvalidEvent, match="cannot be encoded"):
            bucket.append(Hostile())
        assert bucket.status().batches == 0

    def test_at_the_limit_and_to_either_side(self) -> None:
        bucket = Bucket("orders", max_event_bytes=100)
        for length in (97, 98):
            bucket.append("x" * length)
        with pytest.raises(EventTooLarge, match="101 bytes"):
            bucket.append("x" * 99)
        assert bucket.status().pending == 2

    @pytest.mark.parametrize("megabytes", [10, 100])
    def test_that_is_huge_is_refused(self, bucket: Bucket, megabytes: int) -> None:
        with pytest.raises(EventTooLarge, match="max_event_bytes"):
            bucket.append("x" * megabytes * 1_000_000)
        assert bucket.status().batches == 0

    def test_that_is_huge_and_allowed(self) -> None:
        bucket = Bucket("orders", max_event_bytes=20_000_000)
        bucket.append("x" * 10_000_000)
        got: list[Any] = []
        bucket.processor(got.extend)
        assert bucket.drain().processed == 1
        assert got == ["x" * 10_000_000]

    @pytest.mark.parametrize("count", [0, 1, 1000, 1001, 7999, 8000, 100_000])
    def test_any_number_in_one_call(self, bucket: Bucket, count: int) -> None:
        bucket.extend(range(count))
        assert bucket.status().pending == count
        assert bucket.take() == [*range(count)]


class TestNames:
    def test_a_hundred_thousand_leave_nothing_in_the_process(self) -> None:
        def open_some(first: int) -> None:
            for number in range(first, first + 50_000):
                Bucket(f"name-{number}")

        open_some(0)
        tracemalloc.start()
        try:
            open_some(50_000)
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert kept < 1_000_000

    def test_many_appended_to_leave_a_bounded_register_in_the_process(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store, "_MOST_REGISTERED", 20)
        for number in range(100):
            Bucket(f"name-{number}").append(1)
        assert len(store._registered) <= 20


PUT: dict[str, Callable[[Redis, str], object]] = {
    "string": lambda plain, key: plain.set(key, "theirs"),
    "list": lambda plain, key: plain.rpush(key, "theirs"),
    "set": lambda plain, key: plain.sadd(key, "theirs"),
    "zset": lambda plain, key: plain.zadd(key, {"theirs": 1}),
    "hash": lambda plain, key: plain.hset(key, "theirs", "x"),
    "stream": lambda plain, key: plain.xadd(key, {"theirs": "x"}),
}
OURS = {
    "open": "string",
    "batches": "stream",
    "dead": "stream",
    "stats": "hash",
    "attempts": "hash",
    "workers": "hash",
}


def all_calls(bucket: Bucket) -> dict[str, Callable[[], object]]:
    its_store = bucket.wiring.store
    return {
        "append": lambda: bucket.append(1),
        "extend": lambda: bucket.extend(range(10)),
        "drain": bucket.drain,
        "status": bucket.status,
        "peek": bucket.peek,
        "take": bucket.take,
        "purge": bucket.purge,
        "seal": its_store.seal,
        "beat": lambda: its_store.beat("worker"),
        "retire": lambda: its_store.retire("worker", lease=NOW),
        "lose": lambda: its_store.count_lost(1),
        "dead": lambda: list(bucket.dead),
        "replay": bucket.dead.replay_all,
        "discard": bucket.dead.discard_all,
    }


def refuses(call: Callable[[], object]) -> bool:
    """Whether a key of another type is said to be in the way."""
    try:
        call()
    except KeyOccupied as error:
        return "'orders'" in str(error)
    return False


class TestKey:
    @pytest.mark.parametrize(
        ("key", "kind"), [(key, kind) for key in OURS for kind in PUT if OURS[key] != kind]
    )
    def test_of_another_type_is_said_and_left_alone(
        self, client_of_server: Redis, prefix: str, key: str, kind: str
    ) -> None:
        bucket = impatient(batch_size=2)
        bucket.processor(lambda batch: None)
        bucket.extend([1, 2, 3])
        place = getattr(bucket.wiring.store.keys, key)
        client_of_server.delete(place)
        PUT[kind](client_of_server, place)
        theirs = client_of_server.dump(place)
        refused = []
        for name, call in all_calls(bucket).items():
            before = dump(client_of_server, prefix)
            if refuses(call):
                refused.append(name)
                assert dump(client_of_server, prefix) == before, name
            assert client_of_server.dump(place) == theirs, name
        assert refused

    @pytest.mark.parametrize("key", OURS)
    def test_that_is_missing_costs_no_other_event(self, client_of_server: Redis, key: str) -> None:
        bucket = impatient(batch_size=2, max_attempts=2)
        bucket.extend([1, 2, 3])
        bucket.processor(lambda batch: 1 / 0)
        bucket.drain()
        client_of_server.delete(getattr(bucket.wiring.store.keys, key))
        got: list[int] = []
        bucket.processor(got.extend)
        bucket.append(4)
        bucket.drain()
        bucket.drain()
        assert sorted(got) == ([4] if key == "batches" else [1, 2, 3, 4])
        assert bucket.status().batches == 0

    @pytest.mark.parametrize("value", [str(2**63 - 1), "-1", "x", "", "1.5"])
    def test_counters_that_are_spoilt_are_counted_anew(
        self, client_of_server: Redis, value: str
    ) -> None:
        bucket = Bucket("orders", batch_size=2)
        bucket.extend([1, 2, 3])
        stats = bucket.wiring.store.keys.stats
        client_of_server.hset(stats, mapping=dict.fromkeys(client_of_server.hkeys(stats), value))
        bucket.append(4)
        got: list[int] = []
        bucket.processor(got.extend)
        bucket.drain()
        assert got == [1, 2, 3, 4]
        status = bucket.status()
        assert (status.pending, status.in_flight, status.bytes, status.batches) == (0, 0, 0, 0)

    def test_bucket_of_an_older_version(self, client_of_server: Redis) -> None:
        """Without the newer keys, and with four fields in a dead letter."""
        bucket = Bucket("orders", batch_size=2)
        bucket.extend([1, 2, 3])
        keys = bucket.wiring.store.keys
        client_of_server.delete(keys.attempts, keys.workers)
        client_of_server.xadd(
            keys.dead, {"event": "[9]", "error": "old", "batch": "", "attempts": 1}
        )
        [letter] = bucket.dead
        assert (letter.event, letter.error, letter.traceback) == ([9], "old", "")
        assert letter.first_failed is None
        assert bucket.dead.replay_all() == 1
        got: list[Any] = []
        bucket.processor(got.extend)
        bucket.drain()
        assert got == [1, 2, [9], 3]

    def test_bucket_of_a_newer_version(self, client_of_server: Redis) -> None:
        """With fields that this one does not know."""
        bucket = Bucket("orders", batch_size=2)
        bucket.extend([1, 2, 3])
        keys = bucket.wiring.store.keys
        client_of_server.hset(keys.stats, "unheard_of", "x")
        client_of_server.xadd(
            keys.batches, {"events": "[4]", "count": 1, "opened": 1, "unheard_of": "x"}
        )
        got: list[Any] = []
        bucket.processor(got.extend)
        bucket.drain()
        assert got == [1, 2, 4, 3]
        assert client_of_server.hget(keys.stats, "unheard_of") == b"x"


class TestServer:
    @pytest.mark.parametrize(
        "line",
        [
            "-MISCONF Redis is configured to save RDB snapshots, but it can't persist on disk.",
            "-CLUSTERDOWN The cluster is down",
            "-MOVED 1 127.0.0.1:1",
            "-ASK 1 127.0.0.1:1",
            "-TRYAGAIN Multiple keys request during rehashing of slot",
            "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "-NOREPLICAS Not enough good replicas to write.",
            "-UNHEARDOF of",
            "-ERR max number of clients reached",
        ],
    )
    @pytest.mark.parametrize("name", CALLS)
    def test_refusal_is_said(self, use_cache: Callable[..., str], name: str, line: str) -> None:
        bucket = Bucket("orders", batch_size=2, append_timeout=timedelta(seconds=0.2))
        bucket.processor(lambda batch: None)
        with answering(f"{line}\r\n".encode()) as port:
            use_cache(f"redis://:hunter2@127.0.0.1:{port}/0?protocol=2&socket_timeout=5")
            with pytest.raises(BufferUnavailable) as caught:
                CALLS[name](bucket)
        assert "hunter2" not in f"{caught.value!r}{caught.value}{caught.value.__cause__!r}"

    @pytest.mark.parametrize("protocol", [2, 3])
    def test_either_protocol(
        self, private_server: Redis, use_cache: Callable[..., str], protocol: int
    ) -> None:
        path = private_server.get_connection_kwargs()["path"]
        use_cache(f"unix://{path}?db=0&protocol={protocol}")
        bucket = impatient(batch_size=2, max_attempts=1)

        def refuse(batch: Batch) -> None:
            if 2 in batch:
                raise ValueError
            batch.reject(batch[0], "no")

        bucket.processor(refuse)
        bucket.extend([1, 2, 3, 4, 5])
        while bucket.status().batches:
            bucket.drain()
        assert {letter.event for letter in bucket.dead} == {1, 2, 3, 5}
        assert bucket.dead.replay_all() == 4
        assert sorted(bucket.take()) == [1, 2, 3, 5]

    @pytest.mark.parametrize("name", WRITES)
    def test_that_forgets_its_scripts_between_any_two_commands(
        self, bucket: Bucket, private_server: Redis, name: str
    ) -> None:
        bucket.processor(lambda batch: None)
        for _ in range(3):
            private_server.script_flush()
            CALLS[name](bucket)

    def test_that_is_full_says_so(self, bucket: Bucket, private_server: Redis) -> None:
        private_server.config_set("maxmemory", 1)
        with pytest.raises(BufferOutOfMemory, match="maxmemory"):
            bucket.append(1)


def recurse(batch: Batch) -> None:
    recurse(batch)


def run_out_of_memory(batch: Batch) -> None:
    bytearray(2**60)


class TestProcessor:
    @pytest.mark.parametrize(
        "processor",
        [
            lambda batch: 1 / 0,
            lambda batch: sys.exit(),
            lambda batch: sys.exit("no"),
            recurse,
            run_out_of_memory,
            lambda batch: os.kill(os.getpid(), signal.SIGUSR1),
            lambda batch: ctypes.pythonapi.PyErr_SetNone(ctypes.py_object(ValueError)),
        ],
        ids=["raises", "exits", "exits with a word", "recurses", "memory", "signal", "in C"],
    )
    def test_that_fails_keeps_the_batch(
        self, bucket: Bucket, processor: Callable[[Batch], object], user_signal: None
    ) -> None:
        bucket.processor(processor)
        bucket.extend([1, 2])
        assert bucket.drain() == report(failed=1)
        assert bucket.status().pending == 2

    @pytest.fixture
    def user_signal(self) -> Iterator[None]:
        """A handler that raises, wherever the program is."""

        def handle(number: int, frame: object) -> None:
            raise RuntimeError("a signal")

        before = signal.signal(signal.SIGUSR1, handle)
        yield
        signal.signal(signal.SIGUSR1, before)

    @pytest.mark.parametrize("result", [False, 0, "rubbish", NotImplemented, ValueError("x")])
    def test_that_returns_rubbish_has_returned(self, bucket: Bucket, result: object) -> None:
        bucket.processor(lambda batch: result)
        bucket.append(1)
        assert bucket.drain() == report(processed=1, batches=1)

    def test_that_changes_its_batch_changes_nothing_else(self, bucket: Bucket) -> None:
        def spoil(batch: Batch) -> None:
            batch[0]["a"].append("spoilt")
            batch.id = "spoilt"
            raise ValueError

        seen: list[Any] = []
        bucket = impatient()
        bucket.append({"a": []})
        bucket.processor(spoil)
        bucket.drain()
        bucket.processor(seen.extend)
        assert bucket.drain().processed == 1
        assert seen == [{"a": []}]

    def test_that_appends_to_its_own_bucket(self, bucket: Bucket) -> None:
        bucket.processor(lambda batch: bucket.append("again"))
        bucket.append(1)
        assert bucket.drain().batches == 1
        assert bucket.peek() == ["again"]

    @pytest.mark.django_db(transaction=True)
    def test_that_leaves_a_broken_transaction(self, bucket: Bucket) -> None:
        def spoil(batch: Batch) -> None:
            transaction.atomic().__enter__()
            Tag.objects.create(name="half")
            connection.needs_rollback = True

        bucket.processor(spoil)
        bucket.append(1)
        assert bucket.drain() == report(failed=1)
        assert not connection.in_atomic_block
        assert Tag.objects.count() == 0

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("atomic", [None, "default"])
    def test_that_closes_its_connection(self, bucket: Bucket, atomic: str | None) -> None:
        def close(batch: Batch) -> None:
            Tag.objects.count()
            connection.close()

        bucket.processor(close, atomic=atomic)
        bucket.append(1)
        outcome = bucket.drain()
        assert outcome in (report(processed=1, batches=1), report(failed=1))
        assert (bucket.status().pending == 0) == (outcome.failed == 0)
        assert not connection.in_atomic_block
