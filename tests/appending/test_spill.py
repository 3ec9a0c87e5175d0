import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.acl import ROLES
from django_jsonbuffer.appending.spill import Spill, _spills, spill
from django_jsonbuffer.appending.spill_access import FILE, LOCK_FILE
from django_jsonbuffer.catalog import options_of
from django_jsonbuffer.exceptions import (
    BucketFull,
    BufferMisconfigured,
    BufferUnavailable,
    SpillFull,
    SpillUnavailable,
)
from django_jsonbuffer.stamps import Stamp
from django_jsonbuffer.store.breakers import breakers
from example_project.embedded_redis import EmbeddedRedis
from tests.server import Redis
from tests.spilling import ORDERS, OTHERS, Receiver, put


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    for opened in _spills.values():
        opened.close()
    _spills.clear()


class TestPut:
    def test_comes_back_in_order_and_byte_for_byte(self, spilled: Spill) -> None:
        put(spilled, b'{"a":1}', b"\xff\n,", b"")
        put(spilled, b"2")
        receiver = Receiver()
        assert spilled.forward(ORDERS, receiver) == 4
        assert receiver.events == [b'{"a":1}', b"\xff\n,", b"", b"2"]
        assert not spilled.holds(ORDERS)
        assert spilled.forward(ORDERS, receiver) == 0

    def test_buckets_are_kept_apart(self, spilled: Spill) -> None:
        put(spilled, b"1")
        put(spilled, b"2", bucket=OTHERS)
        receiver = Receiver()
        assert spilled.forward(OTHERS, receiver) == 1
        assert receiver.events == [b"2"]
        assert spilled.holds(ORDERS)

    def test_undecided_append_keeps_its_stamp(self, spilled: Spill) -> None:
        stamp = Stamp("producer", 7, "nonce")
        put(spilled, b"1", stamp=stamp)
        put(spilled, b"2")
        receiver = Receiver()
        spilled.forward(ORDERS, receiver)
        assert receiver.stamps[0] == stamp
        assert receiver.stamps[1].producer not in ("producer", "")

    def test_stamps_are_never_used_twice(self, folder: Path, tmp_path: Path) -> None:
        """Not even by a copy of the file, such as a backup or a file on another machine."""
        receiver = Receiver()
        with closing(Spill(folder)) as spilled:
            put(spilled, b"0")
            spilled.forward(ORDERS, receiver)
        shutil.copytree(folder, tmp_path / "copy")
        for number, place in enumerate([folder, tmp_path / "copy", folder], start=1):
            with closing(Spill(place)) as spilled:
                put(spilled, str(number).encode())
                spilled.forward(ORDERS, receiver)
        assert receiver.events == [b"0", b"1", b"2", b"3"]

    def test_copies_of_the_file_store_their_common_appends_once(
        self, folder: Path, tmp_path: Path
    ) -> None:
        """A machine was copied while the spill had events, for example from a snapshot."""
        receiver = Receiver()
        with closing(Spill(folder)) as spilled:
            for number in range(200):
                put(spilled, str(number).encode())
        shutil.copytree(folder, tmp_path / "copy")
        for place in (folder, tmp_path / "copy"):
            with closing(Spill(place)) as spilled:
                put(spilled, str(place).encode())
                spilled.forward(ORDERS, receiver, limit=50)
                spilled.forward(ORDERS, receiver)
        common = [str(number).encode() for number in range(200)]
        own = [str(place).encode() for place in (folder, tmp_path / "copy")]
        assert receiver.events == [*common, *own]

    def test_appends_share_producers(self, spilled: Spill) -> None:
        """Each costs Redis a key for a day."""
        for number in range(250):
            put(spilled, str(number).encode())
        receiver = Receiver()
        spilled.forward(ORDERS, receiver)
        assert len({stamp.producer for stamp in receiver.stamps}) == 3

    def test_undecided_append_whose_producer_a_copy_has_used_is_sent_again(
        self, spilled: Spill, caplog: pytest.LogCaptureFixture
    ) -> None:
        put(spilled, b"0")
        put(spilled, b"1", stamp=Stamp("producer", 7, "nonce"))
        put(spilled, b"2")
        receiver = Receiver()
        receiver([b"copy"], Stamp("producer", 7, "another"))
        spilled.forward(ORDERS, receiver)
        assert receiver.events == [b"copy", b"0", b"1", b"2"]
        assert caplog.text.count("may be stored twice") == 1

    def test_past_its_bytes_is_refused_whole(self, spilled: Spill) -> None:
        spilled.put(ORDERS, [b"x" * 80], stamp=None, max_bytes=100)
        with pytest.raises(SpillFull, match="max_spill_bytes"):
            spilled.put(ORDERS, [b"y" * 80, b"z"], stamp=None, max_bytes=100)
        spilled.put(OTHERS, [b"y" * 80], stamp=None, max_bytes=100)
        receiver = Receiver()
        spilled.forward(ORDERS, receiver)
        assert receiver.events == [b"x" * 80]
        spilled.put(ORDERS, [b"y" * 80], stamp=None, max_bytes=100)


class TestForward:
    def test_stops_where_it_fails_and_goes_on_there(self, spilled: Spill) -> None:
        for number in range(10):
            put(spilled, str(number).encode())
        failing = Receiver(fails_after=4)
        with pytest.raises(BufferUnavailable):
            spilled.forward(ORDERS, failing)
        failing.fails_after = None
        assert spilled.forward(ORDERS, failing) == 6
        assert failing.events == [str(number).encode() for number in range(10)]

    def test_takes_no_more_than_asked_for(self, spilled: Spill) -> None:
        for number in range(250):
            put(spilled, str(number).encode())
        receiver = Receiver()
        assert spilled.forward(ORDERS, receiver, limit=120) == 120
        assert spilled.forward(ORDERS, receiver) == 130
        assert receiver.events == [str(number).encode() for number in range(250)]

    def test_what_is_put_meanwhile_is_not_lost(self, spilled: Spill) -> None:
        put(spilled, b"1")

        def send(events: Sequence[bytes], stamp: Stamp) -> None:
            receiver(events, stamp)
            if events == [b"1"]:
                put(spilled, b"2")

        receiver = Receiver()
        spilled.forward(ORDERS, send)
        spilled.forward(ORDERS, receiver)
        assert receiver.events == [b"1", b"2"]

    def test_of_a_file_that_is_moved_away_meanwhile_removes_nothing_of_the_next(
        self, folder: Path, spilled: Spill
    ) -> None:
        for number in range(5):
            put(spilled, str(number).encode())
        receiver = Receiver()

        def send(events: Sequence[bytes], stamp: Stamp) -> None:
            receiver(events, stamp)
            if events == [b"3"]:
                folder.rename(folder.with_name("moved"))
                with closing(Spill(folder)) as another:
                    for number in range(10, 15):
                        put(another, str(number).encode())

        spilled.forward(ORDERS, send)
        spilled.forward(ORDERS, receiver)
        assert receiver.events[:4] == [b"0", b"1", b"2", b"3"]
        assert receiver.events[4:] == [str(number).encode() for number in range(10, 15)]

    @pytest.mark.parametrize("damage", [b"", b"rubbish", b"[1]\n", b"[1]\n12", b'["x"]\n1', b"5"])
    def test_damaged_row_is_named_and_kept(self, spilled: Spill, damage: bytes) -> None:
        put(spilled, b"1")
        put(spilled, b"2")
        with sqlite3.connect(spilled.path) as other:
            other.execute("UPDATE appends SET events = ? WHERE id = 1", [damage])
        other.close()
        with pytest.raises(SpillUnavailable, match=r"Row 1 .* is damaged"):
            spilled.forward(ORDERS, Receiver())
        with sqlite3.connect(spilled.path) as other:
            other.execute("DELETE FROM appends WHERE id = 1")
        other.close()
        receiver = Receiver()
        spilled.forward(ORDERS, receiver)
        assert receiver.events == [b"2"]


class TestHolds:
    def test_nothing_without_a_file_and_makes_none(self, spilled: Spill) -> None:
        assert not spilled.holds(ORDERS)
        assert not spilled.path.parent.exists()

    def test_damaged_file_is_tried_once_a_second(self, folder: Path, spilled: Spill) -> None:
        folder.mkdir()
        (folder / FILE).write_bytes(b"rubbish" * 1000)
        with pytest.raises(SpillUnavailable):
            spilled.holds(ORDERS)
        assert not spilled.holds(ORDERS)

    def test_what_another_process_has_put_after_a_while(
        self, folder: Path, spilled: Spill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert not spilled.holds(ORDERS)
        with closing(Spill(folder)) as another:
            put(another, b"1")
        assert not spilled.holds(ORDERS)
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 1.1)
        assert spilled.holds(ORDERS)


class TestBucket:
    @pytest.fixture
    def server(self, tmp_path: Path, use_cache: Callable[..., str]) -> EmbeddedRedis:
        """A server that is not started yet."""
        server = EmbeddedRedis("--dir", str(tmp_path))
        use_cache(server.url)
        return server

    @pytest.fixture
    def bucket(self, folder: Path) -> Bucket:
        return Bucket("orders", on_unavailable="spill", spill_dir=folder)

    def test_next_append_that_succeeds_takes_along_what_was_spilled(
        self, server: EmbeddedRedis, bucket: Bucket, caplog: pytest.LogCaptureFixture
    ) -> None:
        for number in range(10):
            bucket.append(number)
        assert caplog.text.count("are spilled to") == 1
        with server:
            pause = breakers[bucket._definition.parts.store.cache]._ends_at - time.monotonic()
            time.sleep(max(pause, 0))  # it is longer where the first append took longer to fail
            bucket.append("fresh")
            assert bucket.take() == ["fresh", *range(10)]
            assert not spill(str(options_of(bucket).spill_dir)).holds(bucket.key)

    def test_drain_takes_along_what_was_spilled(
        self, server: EmbeddedRedis, bucket: Bucket
    ) -> None:
        bucket.extend(range(3000))
        got: list[Any] = []
        bucket.processor(got.extend)
        with server:
            assert bucket.drain().processed == 3000
        assert got == [*range(3000)]

    def test_watching_worker_takes_along_what_was_spilled(
        self, server: EmbeddedRedis, bucket: Bucket
    ) -> None:
        bucket.extend(range(2000))
        got: list[Any] = []
        bucket.processor(got.extend)
        with server, bucket.drain_steps(watch=True) as drain:
            while drain.step():
                pass
        assert got == [*range(2000)]

    def test_undecided_append_is_stored_once(
        self, private_server: Redis, use_cache: Callable[..., str], folder: Path
    ) -> None:
        path = private_server.get_connection_kwargs()["path"]
        use_cache(f"unix://{path}?db=0", OPTIONS={"SOCKET_TIMEOUT": 0.1})
        bucket = Bucket(
            "orders",
            on_unavailable="spill",
            spill_dir=folder,
            append_timeout=timedelta(seconds=0.3),
        )
        bucket.append(1)
        private_server.execute_command("CLIENT", "PAUSE", 600)
        bucket.append(2)
        private_server.ping()  # answers when the pause is over
        bucket.processor(lambda batch: None)
        assert bucket.drain().processed == 2

    def test_spill_that_is_full_raises_where_somebody_waits(
        self, unreachable: str, folder: Path
    ) -> None:
        bucket = Bucket("orders", on_unavailable="spill", spill_dir=folder, max_spill_bytes=1000)
        with pytest.raises(SpillFull) as caught:
            for _ in range(100):
                bucket.append("x" * 100)
        assert isinstance(caught.value.__cause__, BufferUnavailable)

    def test_full_bucket_is_no_outage(self, bucket: Bucket, folder: Path) -> None:
        small = Bucket("orders", max_pending=1, on_unavailable="spill", spill_dir=folder)
        small.append(1)
        with pytest.raises(BucketFull):
            small.append(2)
        assert not folder.exists()

    def test_append_that_is_done_does_not_fail_for_a_damaged_lock(
        self, bucket: Bucket, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with closing(Spill(folder)) as spilled:
            put(spilled, b"1", bucket=bucket.key)
        (folder / LOCK_FILE).write_bytes(b"rubbish" * 1000)
        bucket.append(2)
        assert "still wait" in caplog.text
        assert bucket.take() == [2]

    def test_what_cannot_be_forwarded_waits(
        self, server: EmbeddedRedis, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        small = Bucket("orders", max_pending=2, on_unavailable="spill", spill_dir=folder)
        small.append(1)
        small.append(2)
        with server:
            time.sleep(0.11)
            small.append(3)
            assert "still wait" in caplog.text
            assert small.take() == [3, 1]
            small.processor(lambda batch: None)
            assert small.drain().processed == 1

    def test_what_cannot_be_forwarded_is_not_said_by_every_append(
        self, server: EmbeddedRedis, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        small = Bucket("orders", max_pending=100, on_unavailable="spill", spill_dir=folder)
        small.extend(range(100))
        with server:
            time.sleep(0.11)
            for number in range(50):
                small.append(number)
        assert caplog.text.count("still wait") == 1

    def test_full_server_is_drained_though_what_is_spilled_waits(
        self, private_server: Redis, bucket: Bucket
    ) -> None:
        bucket.extend(range(10))
        private_server.config_set("maxmemory", 1)
        bucket.append("spilled")
        got: list[Any] = []
        bucket.processor(got.extend)
        assert bucket.drain().processed == 10
        private_server.config_set("maxmemory", 0)
        assert bucket.drain().processed == 1
        assert got == [*range(10), "spilled"]

    def test_damaged_row_ends_no_drain_and_fails_no_append(
        self, bucket: Bucket, folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with closing(Spill(folder)) as spilled:
            put(spilled, b"1", bucket=bucket.key)
            with sqlite3.connect(spilled.path) as other:
                other.execute("UPDATE appends SET events = x'00'")
            other.close()
        bucket.append("stored")
        bucket.processor(lambda batch: None)
        assert bucket.drain().processed == 1
        assert "is damaged" in caplog.text

    def test_worker_with_the_least_permissions_forwards(
        self, private_server: Redis, use_cache: Callable[..., str], bucket: Bucket
    ) -> None:
        rules = ROLES["drainer"].permissions()
        private_server.execute_command("ACL", "SETUSER", "worker", "on", ">secret", "~*", *rules)
        path = private_server.get_connection_kwargs()["path"]
        use_cache(f"unix://worker:secret@{path}?db=0")
        with closing(Spill(str(options_of(bucket).spill_dir))) as spilled:
            put(spilled, b"1", bucket=bucket.key)
        bucket.processor(lambda batch: None)
        assert bucket.drain().processed == 1

    def test_full_server_spills_too(self, private_server: Redis, bucket: Bucket) -> None:
        private_server.config_set("maxmemory", 1)
        bucket.append(1)
        private_server.config_set("maxmemory", 0)
        bucket.append(2)
        assert bucket.take() == [2, 1]

    @pytest.mark.parametrize("given", [{}, {"spill_dir": ""}, {"spill_dir": 5}])
    def test_needs_a_folder(self, given: Any) -> None:
        with pytest.raises(BufferMisconfigured, match="spill_dir"):
            Bucket("orders", on_unavailable="spill", **given)
