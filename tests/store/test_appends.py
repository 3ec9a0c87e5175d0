import itertools
import json
import struct
import time
from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_jsonbuffer.appending.producers import Producer
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import (
    BucketFull,
    BufferOutOfMemory,
    BufferUnavailable,
    EventTooLarge,
    KeyOccupied,
    StampOvertaken,
)
from django_jsonbuffer.limits import MAX_APPEND_BYTES, Limits
from django_jsonbuffer.stamps import Stamp
from django_jsonbuffer.store import pending
from django_jsonbuffer.store.appends import outcome, packed_limits, pieces_of, size_of, splices
from django_jsonbuffer.store.claims import Reason
from django_jsonbuffer.store.keys import PRODUCER
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from tests.server import Redis, both_servers, real_server
from tests.stamps import a_stamp, next_stamp
from tests.store.steps import MINUTE, append, claimed, commands_of, dump, facts, noted, now_ms
from tests.threads import at_once

pytestmark = both_servers


class TestAppend:
    def test_no_batch_has_more_events_than_allowed(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, "a", batch_size=3)
        append(store, *range(8), batch_size=3)
        sealed = [json.loads(f[b"events"]) for _, f in client_of_server.xrange(store.keys.batches)]
        assert sealed == [["a"], [0, 1, 2], [3, 4, 5]]
        assert client_of_server.get(store.keys.open) == b"[6,7]"

    def test_no_batch_has_more_bytes_than_allowed(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, *["x" * 30] * 7, batch_bytes=100)
        append(store, "y" * 500, "z", batch_bytes=100)
        sealed = [f[b"events"] for _, f in client_of_server.xrange(store.keys.batches)]
        assert [len(json.loads(events)) for events in sealed] == [3, 3, 1, 1]
        assert [len(events) for events in sealed] == [100, 100, 34, 504]
        assert client_of_server.get(store.keys.open) == b'["z"]'

    def test_without_batch_size_nothing_is_sealed(
        self, store: Store, client_of_server: Redis
    ) -> None:
        for _ in range(3):
            append(store, *range(500), batch_size=None, batch_bytes=10)
        assert len(json.loads(client_of_server.get(store.keys.open) or b"")) == 1500
        assert not client_of_server.exists(store.keys.batches)

    @real_server
    def test_time_does_not_depend_on_how_many_producers_are_remembered(
        self, store: Store, client_of_server: Redis
    ) -> None:
        """In the list that Redis uses for a small hash, a field is found by looking at all."""
        append(store, "x" * 100)
        assert client_of_server.object("encoding", store.keys.appends) == b"hashtable"

    def test_more_than_a_string_can_hold_is_refused(
        self, store: Store, private_server: Redis
    ) -> None:
        store = Store("orders", configuration())
        # 512 MiB less 10 bytes. The script refuses without reading them.
        private_server.setrange(store.keys.open, 512 * 1024 * 1024 - 11, "]")
        private_server.setrange(store.keys.open, 0, "[")
        text = noted(1, b"\0" * 63 + b"]", size=512 * 1024 * 1024 - 10)
        private_server.hset(store.keys.appends, mapping={"opened": 1, "open": text})
        before = private_server.hgetall(store.keys.appends)
        with pytest.raises(BucketFull, match="orders"):
            append(store, "a" * 10, batch_size=None)
        assert private_server.hgetall(store.keys.appends) == before
        assert private_server.strlen(store.keys.open) == 512 * 1024 * 1024 - 10
        append(store, "a" * 6, batch_size=None)
        assert private_server.strlen(store.keys.open) == 512 * 1024 * 1024 - 1

    def test_call_that_is_too_large_is_refused_here(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        event = b'"%b"' % (b"x" * (64 * 1024 * 1024))
        with pytest.raises(EventTooLarge, match=f"{MAX_APPEND_BYTES:,}"):
            store.append([event] * 4, a_stamp(), Limits(batch_size=None, batch_bytes=1))
        assert dump(client_of_server, prefix) == {}

    def test_more_batches_than_allowed_at_once_are_refused_here(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        with pytest.raises(EventTooLarge, match="10,001 batches"):
            append(store, *range(10_001), batch_size=1)
        assert dump(client_of_server, prefix) == {}

    def test_one_byte_more_is_a_batch_more(self, store: Store, client_of_server: Redis) -> None:
        append(store, *["x" * 22] * 8, batch_bytes=100)  # four events would have 101 bytes
        sealed = [f[b"events"] for _, f in client_of_server.xrange(store.keys.batches)]
        assert [len(events) for events in sealed] == [76, 76]
        assert client_of_server.strlen(store.keys.open) == 51

    def test_call_of_just_as_many_bytes_as_allowed(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_jsonbuffer.store.appends.MAX_APPEND_BYTES", 10)
        store.append([b"1234", b"5678"], a_stamp(), Limits(batch_size=None, batch_bytes=100))
        with pytest.raises(EventTooLarge):
            store.append([b"1234", b"56789"], a_stamp(), Limits(batch_size=None, batch_bytes=100))
        assert pending.take(store) == [b"[1234,5678]"]


class TestRepeat:
    def send(
        self,
        store: Store,
        stamp: Stamp,
        *values: Any,
        is_spilled: bool = False,
        **options: Any,
    ) -> None:
        events = [json.dumps(value).encode() for value in values]
        limits: dict[str, Any] = {"batch_size": 2, "batch_bytes": 1000, **options}
        store.append(events, stamp, Limits(**limits), is_spilled=is_spilled)

    def test_is_stored_once(self, store: Store, client_of_server: Redis, prefix: str) -> None:
        stamp = a_stamp()
        self.send(store, stamp, 1, 2, 3)
        before = dump(client_of_server, prefix)
        for _ in range(3):
            self.send(store, stamp, 1, 2, 3)
        assert dump(client_of_server, prefix) == before
        assert facts(read_status(store))[0] == 3

    def test_is_known_after_the_batch_has_gone(self, store: Store) -> None:
        stamp = a_stamp()
        self.send(store, stamp, 1)
        pending.take(store)
        self.send(store, stamp, 1)
        assert pending.take(store) == []

    def test_late_copy_behind_what_came_since(self, store: Store) -> None:
        producer = Producer()
        first, second = producer.next_stamp(), producer.next_stamp()
        self.send(store, first, 1)
        self.send(store, second, 2)
        with pytest.raises(StampOvertaken):
            self.send(store, first, 1)
        assert pending.take(store) == [b"[1,2]"]

    @pytest.mark.parametrize("batch_size", [2, 9])
    @pytest.mark.parametrize("sequence", [6, 7])
    def test_of_a_copy_of_the_producer_writes_nothing(
        self,
        store: Store,
        client_of_server: Redis,
        prefix: str,
        sequence: int,
        batch_size: int,
    ) -> None:
        self.send(store, Stamp("p", 7, "a"), 1, batch_size=batch_size)
        before = dump(client_of_server, prefix)
        with pytest.raises(StampOvertaken, match="'orders'"):
            self.send(store, Stamp("p", sequence, "b"), 2, batch_size=batch_size)
        assert dump(client_of_server, prefix) == before
        self.send(store, Stamp("p", 8, "b"), 3, batch_size=batch_size)
        assert pending.take(store) == [b"[1,3]"]

    @pytest.mark.parametrize(("last", "sequence"), [("7", 7), ("7 ", 7), ("7 ", 6), ("7", 6)])
    def test_without_a_nonce_is_one_if_its_number_is_lower(
        self, store: Store, client_of_server: Redis, last: str, sequence: int
    ) -> None:
        """Older versions have no nonce. Nor has the spill, if no copy has the producer."""
        client_of_server.set(f"{store.keys.open}{PRODUCER}p", last)
        self.send(store, Stamp("p", sequence, ""), 1, is_spilled=True)
        assert pending.take(store) == []

    @pytest.mark.parametrize("last", ["7", "7 a"])
    def test_of_the_spill_that_an_older_version_stored_is_known(
        self, store: Store, client_of_server: Redis, last: str
    ) -> None:
        client_of_server.set(f"{store.keys.open}{PRODUCER}p", last)
        self.send(store, Stamp("p", 7, "a"), 1, is_spilled=True)
        for sequence, nonce in ((7, "b"), (6, "a"), (6, "b")):
            if last != "7":
                with pytest.raises(StampOvertaken):
                    self.send(store, Stamp("p", sequence, nonce), 1, is_spilled=True)
        assert pending.take(store) == []
        self.send(store, Stamp("p", 8, "a"), 2, is_spilled=True)
        assert pending.take(store) == [b"[2]"]

    def test_without_a_nonce_overtakes_none_that_has_one(self, store: Store) -> None:
        self.send(store, Stamp("p", 7, "a"), 1)
        for sequence in (6, 7):
            with pytest.raises(StampOvertaken):
                self.send(store, Stamp("p", sequence, ""), 2)
        self.send(store, Stamp("p", 9, ""), 3)
        with pytest.raises(StampOvertaken):
            self.send(store, Stamp("p", 8, "a"), 4)
        self.send(store, Stamp("p", 8, ""), 4)
        assert pending.take(store) == [b"[1,3]"]

    def test_numbers_are_compared_as_numbers(self, store: Store) -> None:
        for sequence in (9, 10, 99, 100, 10**15):
            self.send(store, Stamp("p", sequence, "a"), sequence, batch_size=9)
            with pytest.raises(StampOvertaken):
                self.send(store, Stamp("p", sequence - 1, "a"), 0, batch_size=9)
        assert pending.take(store) == [b"[9,10,99,100,1000000000000000]"]

    def test_of_another_producer_or_bucket_is_none(self, store: Store) -> None:
        other = Store("others", configuration())
        stamp = a_stamp()
        self.send(store, stamp, 1)
        self.send(other, stamp, 1)
        self.send(store, stamp._replace(producer="another"), 1)
        assert (pending.take(store), pending.take(other)) == ([b"[1,1]"], [b"[1]"])

    def test_of_what_was_refused_is_stored(self, store: Store) -> None:
        stamp = a_stamp()
        self.send(store, a_stamp(), 0)
        with pytest.raises(BucketFull):
            self.send(store, stamp, 1, max_pending=1)
        self.send(store, stamp, 1)
        assert pending.take(store) == [b"[0,1]"]

    def test_of_what_was_dropped_is_dropped_once(self, store: Store) -> None:
        stamp = a_stamp()
        self.send(store, a_stamp(), 0)
        for _ in range(2):
            self.send(store, stamp, 1, max_pending=1, overflow="drop_newest")
        assert read_status(store).dropped.newest == 1
        assert pending.take(store) == [b"[0]"]

    @pytest.mark.parametrize("spoilt", ["rubbish", "", "!", "9", "x" * 100])
    def test_spoilt_memory_is_no_reason_to_refuse(
        self, store: Store, client_of_server: Redis, spoilt: str
    ) -> None:
        self.send(store, Stamp("q", 1, "a"), 0)
        client_of_server.hset(store.keys.appends, "p", spoilt)
        self.send(store, Stamp("p", 10, "a"), 1)
        assert pending.take(store) == [b"[0,1]"]

    @pytest.mark.parametrize("kind", ["appends", "old_appends", "producer"])
    def test_memory_of_another_type_refuses_and_writes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str, kind: str
    ) -> None:
        stamp = a_stamp()
        self.send(store, a_stamp(), 0)
        key = getattr(store.keys, kind, store.keys.open + PRODUCER + stamp.producer)
        client_of_server.delete(key)
        client_of_server.lpush(key, "foreign")
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied):
            self.send(store, stamp, 1, is_spilled=True)
        assert dump(client_of_server, prefix) == before


class TestProducers:
    """How long a bucket remembers producers."""

    DAY_MS = 24 * 60 * 60 * 1000

    def send(self, store: Store, producer: str, sequence: int, **options: Any) -> None:
        limits: dict[str, Any] = {"batch_size": 1000, "batch_bytes": 10_000, **options}
        store.append([b"1"], Stamp(producer, sequence, "a"), Limits(**limits))

    def let_pass(self, store: Store, plain: Redis, ms: int) -> None:
        plain.hset(store.keys.appends, "since", now_ms(plain) - ms)

    def known(self, store: Store, plain: Redis) -> list[str]:
        """The producers that the bucket knows, first those of the last day."""
        return [
            "".join(sorted(field.decode() for field in plain.hkeys(key) if len(field) == 1))
            for key in (store.keys.appends, store.keys.old_appends)
        ]

    def test_are_remembered_for_a_day_at_least(self, store: Store, client_of_server: Redis) -> None:
        self.send(store, "p", 1)
        self.let_pass(store, client_of_server, self.DAY_MS - 60_000)
        self.send(store, "q", 1)
        assert self.known(store, client_of_server) == ["pq", ""]

    def test_are_known_for_another_day(self, store: Store, client_of_server: Redis) -> None:
        self.send(store, "p", 1)
        self.let_pass(store, client_of_server, self.DAY_MS + 1000)
        self.send(store, "q", 1)
        assert self.known(store, client_of_server) == ["q", "pq"]
        self.send(store, "p", 1)
        with pytest.raises(StampOvertaken):
            store.append([b"2"], Stamp("p", 1, "b"), LIMITS)
        assert facts(read_status(store))[0] == 2
        self.send(store, "p", 2)
        assert self.known(store, client_of_server) == ["pq", "pq"]
        assert pending.take(store) == [b"[1,1,1]"]

    def test_are_forgotten_then(self, store: Store, client_of_server: Redis) -> None:
        for producer in "pqr":
            self.send(store, producer, 1)
            self.let_pass(store, client_of_server, self.DAY_MS + 1000)
        assert self.known(store, client_of_server) == ["r", "qr"]

    def test_when_the_clock_was_set_back(self, store: Store, client_of_server: Redis) -> None:
        self.send(store, "p", 1)
        self.let_pass(store, client_of_server, -self.DAY_MS + 60_000)
        self.send(store, "q", 1)
        assert self.known(store, client_of_server) == ["pq", ""]
        self.let_pass(store, client_of_server, -self.DAY_MS - 60_000)
        self.send(store, "r", 1)
        assert self.known(store, client_of_server) == ["r", "pqr"]

    @pytest.mark.parametrize("spoilt", ["rubbish", None])
    def test_when_their_time_is_not_known(
        self, store: Store, client_of_server: Redis, spoilt: str | None
    ) -> None:
        self.send(store, "p", 1)
        if spoilt is None:
            client_of_server.hdel(store.keys.appends, "since")
        else:
            client_of_server.hset(store.keys.appends, "since", spoilt)
        self.send(store, "q", 1)
        assert self.known(store, client_of_server) == ["pq", ""]
        since = int(client_of_server.hget(store.keys.appends, "since"))
        assert abs(since - now_ms(client_of_server)) < 60_000

    def test_are_forgotten_by_a_full_bucket_as_well(
        self, store: Store, client_of_server: Redis
    ) -> None:
        self.send(store, "p", 1)
        client_of_server.hset(store.keys.appends, "opened", 1)
        self.let_pass(store, client_of_server, self.DAY_MS + 1000)
        self.send(store, "q", 1, max_pending=1, overflow="drop_newest")
        assert self.known(store, client_of_server) == ["q", "pq"]
        status = read_status(store)
        assert (status.pending, status.dropped.newest, status.appended) == (1, 1, 1)
        assert status.oldest is not None
        assert status.oldest.days > 10_000

    @real_server
    def test_forgetting_keeps_count_and_total(self, store: Store, client_of_server: Redis) -> None:
        self.send(store, "p", 1)
        self.send(store, "p", 2)
        self.let_pass(store, client_of_server, self.DAY_MS + 1000)
        self.send(store, "q", 1)
        status = read_status(store)
        assert (status.pending, status.appended) == (3, 3)
        commands = commands_of(client_of_server, lambda: self.send(store, "q", 2))
        assert "get" not in commands

    def test_since_the_first_append_are_not_forgotten_by_the_others(
        self, store: Store, client_of_server: Redis
    ) -> None:
        self.send(store, "p", 1)
        since = client_of_server.hget(store.keys.appends, "since")
        time.sleep(0.005)
        self.send(store, "q", 1)
        assert client_of_server.hget(store.keys.appends, "since") == since


class TestCaps:
    def add(self, store: Store, *values: Any, **options: Any) -> None:
        events = [json.dumps(value).encode() for value in values]
        limits: dict[str, Any] = {"batch_size": 2, "batch_bytes": 1000, **options}
        store.append(events, next_stamp(), Limits(**limits))

    @pytest.mark.parametrize(
        "cap", [{"max_pending": 3}, {"max_pending_bytes": len("[1,2]") + len("[3]")}]
    )
    def test_is_reached_and_not_passed(
        self, store: Store, client_of_server: Redis, prefix: str, cap: dict[str, int]
    ) -> None:
        self.add(store, 1, 2, 3, **cap)
        before = dump(client_of_server, prefix)
        with pytest.raises(BucketFull, match="max_pending"):
            self.add(store, 4, **cap)
        assert dump(client_of_server, prefix) == before

    def test_refuses_a_call_whole(self, store: Store) -> None:
        self.add(store, 1, max_pending=3)
        with pytest.raises(BucketFull):
            self.add(store, 2, 3, 4, max_pending=3)
        self.add(store, 5, 6, max_pending=3)
        assert pending.take(store) == [b"[1]", b"[5,6]"]

    def test_what_a_worker_holds_is_not_pending(self, store: Store) -> None:
        self.add(store, 1, 2, max_pending=2)
        found = claimed(store)
        self.add(store, 3, 4, max_pending=2)
        store.ack(found)
        with pytest.raises(BucketFull):
            self.add(store, 5, max_pending=2)

    def test_newest_are_dropped_and_counted(
        self, store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.add(store, 1, 2, 3, max_pending=3)
        self.add(store, "secret", 5, max_pending=3, overflow="drop_newest")
        assert read_status(store).dropped.newest == 2
        assert "full. Dropped: 2" in caplog.text
        assert "secret" not in caplog.text
        assert pending.take(store) == [b"[1,2]", b"[3]"]

    def test_oldest_batches_make_room_and_are_counted(self, store: Store) -> None:
        options: dict[str, Any] = {"max_pending": 5, "overflow": "drop_oldest"}
        for value in range(1, 6):
            self.add(store, value, **options)
        self.add(store, 6, **options)
        assert read_status(store).dropped.oldest == 2
        assert facts(read_status(store))[0] == 4
        self.add(store, 7, 8, 9, **options)
        assert read_status(store).dropped.oldest == 4
        assert pending.take(store) == [b"[5,6]", b"[7,8]", b"[9]"]
        assert facts(read_status(store)) == (0, 0, 0, 0)

    def test_open_batch_makes_room_last(self, store: Store) -> None:
        options: dict[str, Any] = {"max_pending": 3, "overflow": "drop_oldest"}
        self.add(store, 1, 2, 3, **options)
        self.add(store, 4, 5, 6, **options)
        assert read_status(store).dropped.oldest == 3
        assert pending.take(store) == [b"[4,5]", b"[6]"]

    def test_what_a_worker_holds_is_not_dropped(self, store: Store) -> None:
        options: dict[str, Any] = {"max_pending_bytes": 13, "overflow": "drop_oldest"}
        self.add(store, 1, 2, **options)
        found = claimed(store)
        self.add(store, 3, 4, **options)
        self.add(store, 5, 6, **options)
        store.ack(found)
        assert pending.take(store) == [b"[5,6]"]

    def test_drops_nothing_in_vain(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        options: dict[str, Any] = {"max_pending": 3, "overflow": "drop_oldest"}
        self.add(store, 1, 2, 3, **options)
        before = dump(client_of_server, prefix)
        with pytest.raises(BucketFull):
            self.add(store, 4, 5, 6, 7, **options)
        assert dump(client_of_server, prefix) == before

    def test_dropped_batch_that_had_failed_leaves_no_trace(
        self, store: Store, client_of_server: Redis
    ) -> None:
        self.add(store, 1, 2)
        store.release(claimed(store), lease=MINUTE, backoff=MINUTE, reason=Reason.FAILURE)
        self.add(store, 3, 4, max_pending=2, overflow="drop_oldest")
        assert not client_of_server.exists(store.keys.attempts)
        assert client_of_server.xpending(store.keys.batches, "drain")["pending"] == 0
        assert claimed(store).array == b"[3,4]"

    def test_drops_nothing_on_a_full_server(self, private_server: Redis) -> None:
        store = Store("orders", configuration())
        self.add(store, 1, 2, 3)
        private_server.config_set("maxmemory", 1)
        for overflow in ("drop_newest", "drop_oldest"):
            with pytest.raises(BufferOutOfMemory):
                self.add(store, 4, max_pending=3, overflow=overflow)
        assert pending.take(store) == [b"[1,2]", b"[3]"]

    def test_key_of_another_type_refuses_and_writes_nothing(
        self, store: Store, client_of_server: Redis, prefix: str
    ) -> None:
        self.add(store, 1, 2, 3)
        store.release(claimed(store), lease=MINUTE, backoff=MINUTE)
        client_of_server.set(store.keys.attempts, "foreign")
        before = dump(client_of_server, prefix)
        with pytest.raises(KeyOccupied):
            self.add(store, 4, max_pending=3, overflow="drop_oldest")
        assert dump(client_of_server, prefix) == before

    def test_by_many_at_once_is_kept(self, store: Store) -> None:
        def add_some() -> None:
            for _ in range(20):
                with suppress(BucketFull):
                    self.add(store, 1, max_pending=50)

        at_once([add_some] * 5)
        assert facts(read_status(store))[0] == 50


LIMITS = Limits(batch_size=3, batch_bytes=20)
EVENTS = st.lists(st.integers(0, 10**12).map(lambda number: b"%d" % number), min_size=1)


class TestSplices:
    @real_server
    @given(events=EVENTS)
    def test_hold_all_events_in_batches_within_the_limits(self, events: list[bytes]) -> None:
        counts, texts = splices(events, size_of(events), LIMITS)
        batches = [json.loads("[" + text.decode().removeprefix(",")) for text in texts]
        assert [event for batch in batches for event in batch] == [*map(int, events)]
        assert [*map(int, counts.split())] == [*map(len, batches)]
        assert all(len(batch) <= 3 for batch in batches)
        assert all(len(text) <= 20 for text in texts)

    @real_server
    @given(events=EVENTS)
    def test_are_no_more_than_needed(self, events: list[bytes]) -> None:
        """The first event of a batch would not have fitted the batch before."""
        pieces = pieces_of(events, size_of(events), LIMITS)
        for piece, following in itertools.pairwise(pieces):
            extended = [*piece, following[0]]
            assert len(extended) > 3 or 1 + size_of(extended) > 20

    def test_without_batch_size_are_one(self) -> None:
        events = [b"1"] * 100
        unlimited = Limits(batch_size=None, batch_bytes=10)
        assert splices(events, size_of(events), unlimited) == (
            b"100",
            [b"," + b",".join(events) + b"]"],
        )

    def test_event_that_is_larger_than_a_batch_is_alone(self) -> None:
        large = b'"%b"' % (b"x" * 50)
        assert pieces_of([b"1", large, b"2"], 55, LIMITS) == [[b"1"], [large], [b"2"]]

    def test_size_has_a_comma_for_each_event(self) -> None:
        assert size_of([]) == 0
        assert size_of([b"1", b"22"]) == 5

    def test_too_large_a_call_says_what_is_allowed(self) -> None:
        """The size is the caller's word: the bytes are not counted again."""
        assert pieces_of([b"1"], MAX_APPEND_BYTES, Limits(batch_size=None, batch_bytes=1))
        with pytest.raises(
            EventTooLarge, match=f"{MAX_APPEND_BYTES:,} bytes and 10,000 batches are allowed"
        ):
            splices([b"1"], MAX_APPEND_BYTES + 1, Limits(batch_size=None, batch_bytes=1))


class TestPackedLimits:
    def test_are_an_argument_of_the_script(self) -> None:
        limits = Limits(
            batch_size=2, batch_bytes=30, max_pending=4, max_pending_bytes=5, overflow="drop_oldest"
        )
        day_ms = 24 * 60 * 60 * 1000
        [packed] = packed_limits(limits).args
        assert packed == struct.pack("<5dB", day_ms, 2, 30, 4, 5, 0) + b"drop_oldest"
        [packed] = packed_limits(replace(limits, has_receipts=True)).args
        assert packed == struct.pack("<5dB", day_ms, 2, 30, 4, 5, 1) + b"drop_oldest"

    def test_that_are_not_set_are_infinite(self) -> None:
        limits = Limits(batch_size=None, batch_bytes=30)
        [packed] = packed_limits(limits).args
        assert isinstance(packed, bytes)
        _, *numbers = struct.unpack("<5d", packed[:40])
        assert numbers == [inf, 512 * 1024 * 1024, inf, inf]


class TestOutcome:
    @pytest.mark.parametrize("code", [b"stored", b"repeated", b"dropped"])
    def test_of_what_was_stored(self, code: bytes) -> None:
        reply = outcome([code, 1, 2, 3], [b"1"], "orders")
        assert (reply.is_new, reply.foreign, reply.dropped) == (1, 2, 3)

    @pytest.mark.parametrize(
        ("code", "text"), [(b"full", "for 2 more events"), (b"large", "for 1,001 more bytes")]
    )
    def test_of_what_has_no_room(self, code: bytes, text: str) -> None:
        with pytest.raises(BucketFull, match=text) as caught:
            outcome([code, 0, 0, 0], [b"1", b"2" * 1000], "orders")
        assert "'orders'" in str(caught.value)

    @pytest.mark.parametrize(
        "reply",
        [
            *(None, b"OK", b"full", 1, [], [b"stored"], [b"else", 0, 0, 0], {b"stored": 1}),
            *([b"stored", 0, 0], [b"stored", 0, 0, b"0"], ["stored", 0, 0, 0]),
        ],
        ids=repr,
    )
    def test_of_what_no_redis_replies(self, reply: Any) -> None:
        with pytest.raises(BufferUnavailable, match="'orders' is not Redis") as caught:
            outcome(reply, [b"1"], "orders")
        assert caught.value.may_be_done
