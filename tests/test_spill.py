import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer import spill as module
from django_jsonbuffer.acl import ROLES
from django_jsonbuffer.exceptions import (
    BucketFull,
    BufferMisconfigured,
    BufferUnavailable,
    SpillFull,
    SpillUnavailable,
)
from django_jsonbuffer.producers import Stamp
from django_jsonbuffer.spill import Spill, is_writable, spill
from example_project.embedded_redis import EmbeddedRedis
from tests.server import Redis
from tests.test_drain_buckets import environment
from tests.threads import at_once

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

ORDERS = "jsonbuffer:{orders}"
OTHERS = "jsonbuffer:{others}"
PLENTY = 10**9


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    for opened in module._spills.values():
        opened.close()
    module._spills.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spill"


@pytest.fixture
def spilled(folder: Path) -> Iterator[Spill]:
    with closing(Spill(folder)) as spilled:
        yield spilled


class Receiver:
    """Stores what is sent once for each stamp, as the script does."""

    def __init__(self, *, fails_after: int | None = None) -> None:
        self.events: list[bytes] = []
        self.stamps: list[Stamp] = []
        self.last: dict[str, int] = {}
        self.fails_after = fails_after

    def __call__(self, events: Sequence[bytes], stamp: Stamp) -> None:
        if self.fails_after == len(self.stamps):
            raise BufferUnavailable("away")
        self.stamps.append(stamp)
        if stamp.sequence > self.last.get(stamp.producer, 0):
            self.last[stamp.producer] = stamp.sequence
            self.events += events


def put(spilled: Spill, *events: bytes, bucket: str = ORDERS, stamp: Stamp | None = None) -> None:
    spilled.put(bucket, events, stamp=stamp, max_bytes=PLENTY)


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
        stamp = Stamp("producer", 7)
        put(spilled, b"1", stamp=stamp)
        put(spilled, b"2")
        receiver = Receiver()
        spilled.forward(ORDERS, receiver)
        assert receiver.stamps[0] == stamp
        assert receiver.stamps[1].producer not in ("producer", "")

    def test_stamps_are_never_used_twice(self, folder: Path, tmp_path: Path) -> None:
        """Nor by a copy of the file: of another machine, or a backup."""
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

    def test_past_its_bytes_is_refused_whole(self, spilled: Spill) -> None:
        spilled.put(ORDERS, [b"x" * 80], stamp=None, max_bytes=100)
        with pytest.raises(SpillFull, match="max_spill_bytes"):
            spilled.put(ORDERS, [b"y" * 80, b"z"], stamp=None, max_bytes=100)
        spilled.put(OTHERS, [b"y" * 80], stamp=None, max_bytes=100)
        receiver = Receiver()
        spilled.forward(ORDERS, receiver)
        assert receiver.events == [b"x" * 80]
        spilled.put(ORDERS, [b"y" * 80], stamp=None, max_bytes=100)

    def test_file_is_its_owners_alone(self, spilled: Spill) -> None:
        put(spilled, b"1")
        modes = {path.name: path.stat().st_mode & 0o777 for path in spilled.path.parent.iterdir()}
        assert modes
        assert set(modes.values()) == {0o600}

    def test_many_threads(self, spilled: Spill) -> None:
        def put_some() -> None:
            for number in range(50):
                put(spilled, str(number).encode())

        at_once([put_some] * 8)
        receiver = Receiver()
        assert spilled.forward(ORDERS, receiver) == 400
        assert sorted(receiver.events) == sorted(
            str(n).encode() for n in range(50) for _ in range(8)
        )

    @pytest.mark.parametrize("content", [b"rubbish" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
    def test_damaged_file_says_so_and_is_kept(self, folder: Path, content: bytes) -> None:
        folder.mkdir()
        path = folder / module.FILE
        path.write_bytes(content)
        says = pytest.raises(SpillUnavailable, match=r"jsonbuffer\.sqlite3 cannot be used.*keep")
        with closing(Spill(folder)) as spilled, says:
            put(spilled, b"1")
        assert path.read_bytes() == content

    def test_folder_that_cannot_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for folder in (tmp_path / "file", tmp_path / "missing" / "folder"):
            with closing(Spill(folder)) as spilled, pytest.raises(SpillUnavailable):
                put(spilled, b"1")

    def test_disk_that_is_full(self, spilled: Spill) -> None:
        put(spilled, b"1")
        with closing(sqlite3.connect(spilled.path)) as connection:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
        assert spilled._connection is not None
        spilled._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(SpillUnavailable, match="full"):
            put(spilled, b"x" * 100_000)
        receiver = Receiver()
        assert spilled.forward(ORDERS, receiver) == 1

    def test_file_that_cannot_grow_says_so_and_goes_on_when_it_can(self, spilled: Spill) -> None:
        put(spilled, b"1")
        log = spilled.path.with_name(spilled.path.name + "-wal")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, hard))
        try:
            for size in (1, 5_000_000):
                with pytest.raises(SpillUnavailable, match=r"I/O error|is full"):
                    put(spilled, b"x" * size)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        put(spilled, b"2")
        receiver = Receiver()
        spilled.forward(ORDERS, receiver)
        assert receiver.events == [b"1", b"2"]

    def test_folder_that_is_removed_meanwhile_is_made_anew(
        self, folder: Path, spilled: Spill
    ) -> None:
        put(spilled, b"1")
        shutil.rmtree(folder)
        put(spilled, b"2")
        receiver = Receiver()
        with closing(Spill(folder)) as another:
            another.forward(ORDERS, receiver)
        assert receiver.events == [b"2"]


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

    def test_is_done_by_one_alone(self, folder: Path, spilled: Spill) -> None:
        put(spilled, b"1")
        others: list[int] = []

        def send(events: Sequence[bytes], stamp: Stamp) -> None:
            with closing(Spill(folder)) as another:
                others.append(another.forward(ORDERS, Receiver()))

        assert spilled.forward(ORDERS, send) == 1
        assert others == [0]

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

    def test_lock_that_cannot_be_had_is_an_error(self, folder: Path, spilled: Spill) -> None:
        put(spilled, b"1")
        (folder / module.LOCK_FILE).write_bytes(b"rubbish" * 1000)
        with pytest.raises(SpillUnavailable, match="cannot be locked"):
            spilled.forward(ORDERS, Receiver())
        (folder / module.LOCK_FILE).unlink()
        assert spilled.forward(ORDERS, Receiver()) == 1

    def test_lock_is_given_back_whatever_interrupts(
        self, folder: Path, spilled: Spill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(spilled, b"1")

        def interrupted(*args: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Spill, "_forward_portion", interrupted)
        with pytest.raises(KeyboardInterrupt):
            spilled.forward(ORDERS, Receiver())
        monkeypatch.undo()
        with closing(Spill(folder)) as another:
            assert another.forward(ORDERS, Receiver()) == 1

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
        (folder / module.FILE).write_bytes(b"rubbish" * 1000)
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


class TestSignal:
    def test_handler_that_interrupts_gets_an_error_and_does_not_wait_for_itself(
        self, folder: Path, spilled: Spill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[str] = []

        def append_too(number: int, frame: object) -> None:
            try:
                put(spilled, b"of the handler")
            except SpillUnavailable as error:
                told.append(str(error))

        connect: Any = module._connect

        def interrupted(path: Path) -> sqlite3.Connection:
            found: sqlite3.Connection = connect(path)
            os.kill(os.getpid(), signal.SIGUSR1)
            return found

        monkeypatch.setattr(module, "_connect", interrupted)
        before = signal.signal(signal.SIGUSR1, append_too)
        try:
            put(spilled, b"1")
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert len(told) == 1
        assert "interrupted" in told[0]
        put(spilled, b"2")
        receiver = Receiver()
        spilled.forward(ORDERS, receiver)
        assert receiver.events == [b"1", b"2"]


PUT = """
import sys
from django_jsonbuffer.spill import Spill
spill = Spill(sys.argv[1])
first, count = int(sys.argv[2]), int(sys.argv[3])
for number in range(first, first + count, 3):
    events = [str(n).encode() for n in range(number, number + 3)]
    spill.put("jsonbuffer:{orders}", events, stamp=None, max_bytes=10**9)
    print(number, flush=True)
"""

FORWARD = """
import os, sys
from django_jsonbuffer.spill import Spill
out = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def send(events, stamp):
    line = "%s %d %s\\n" % (stamp.producer, stamp.sequence, b",".join(events).decode())
    os.write(out, line.encode())
spill = Spill(sys.argv[1])
while True:
    spill.forward("jsonbuffer:{orders}", send, limit=20)
    print("round", flush=True)
"""


def run(script: str, *args: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, args)],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )


def kill(process: "subprocess.Popen[str]") -> str:
    """What it had said."""
    process.send_signal(signal.SIGKILL)
    return process.communicate()[0]


def in_child(call: Callable[[], object]) -> int:
    """The id of a forked child that calls this, and exits with 0 if nothing is raised."""
    if (pid := os.fork()) == 0:
        signal.alarm(10)  # rather than to wait for a lock for ever
        try:
            call()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def wait_for(pid: int) -> None:
    assert os.waitpid(pid, 0)[1] == 0


class TestProcesses:
    def test_many_put_at_once(self, folder: Path, spilled: Spill) -> None:
        putting = [run(PUT, folder, n * 600, 600) for n in range(4)]
        assert [process.communicate() and process.returncode for process in putting] == [0] * 4
        receiver = Receiver()
        assert spilled.forward(ORDERS, receiver) == 2400
        assert sorted(map(int, receiver.events)) == list(range(2400))

    def test_many_open_a_new_file_at_once(self, tmp_path: Path) -> None:
        for number in range(15):
            folder = tmp_path / str(number)
            at = time.time() + 0.05

            def put_one(folder: Path = folder, at: float = at) -> None:
                time.sleep(max(0, at - time.time()))
                with closing(Spill(folder)) as spilled:
                    put(spilled, b"1")

            for pid in [in_child(put_one) for _ in range(8)]:
                wait_for(pid)
            with closing(Spill(folder)) as spilled:
                assert spilled.forward(ORDERS, Receiver()) == 8

    def test_killed_while_they_put_leave_whole_appends(self, folder: Path, spilled: Spill) -> None:
        chance = random.Random(7)
        confirmed: set[int] = set()
        for number in range(5):
            putting = run(PUT, folder, number * 100_000, 90_000)
            assert putting.stdout is not None
            putting.stdout.readline()
            time.sleep(chance.uniform(0, 0.05))
            confirmed |= {number * 100_000, *map(int, kill(putting).split())}
        receiver = Receiver()
        spilled.forward(ORDERS, receiver)
        found = [*map(int, receiver.events)]
        assert confirmed <= set(found)
        assert len(found) == len(set(found))
        assert [*map(int, receiver.events)][1::3] == [n + 1 for n in found[::3]]

    def test_killed_while_they_forward_lose_nothing_and_repeat_nothing(
        self, folder: Path, tmp_path: Path, spilled: Spill
    ) -> None:
        for number in range(3000):
            put(spilled, str(number).encode())
        chance = random.Random(7)
        sent = tmp_path / "sent"
        for _ in range(5):
            forwarding = run(FORWARD, folder, sent)
            assert forwarding.stdout is not None
            forwarding.stdout.readline()
            time.sleep(chance.uniform(0, 0.01))
            kill(forwarding)
        receiver = Receiver()
        for line in sent.read_text().splitlines():
            producer, sequence, events = line.split()
            receiver([events.encode()], Stamp(producer, int(sequence)))
        spilled.forward(ORDERS, receiver)
        assert receiver.events == [str(number).encode() for number in range(3000)]

    def test_forward_one_at_a_time_whatever_their_threads_do(
        self, folder: Path, tmp_path: Path, spilled: Spill
    ) -> None:
        put(spilled, b"1")
        sent = tmp_path / "sent"

        def send(events: Sequence[bytes], stamp: Stamp) -> None:
            assert spilled.forward(ORDERS, Receiver()) == 0  # as another thread would
            forwarding = run(FORWARD, folder, sent)
            assert forwarding.stdout is not None
            forwarding.stdout.readline()
            kill(forwarding)

        assert spilled.forward(ORDERS, send) == 1
        assert sent.read_text() == ""


class TestFork:
    def test_child_has_a_connection_of_its_own(self, spilled: Spill) -> None:
        def grandchild_and_child() -> None:
            wait_for(in_child(lambda: put(spilled, b"grandchild")))
            put(spilled, b"child")

        put(spilled, b"parent")
        wait_for(in_child(grandchild_and_child))
        put(spilled, b"parent again")
        receiver = Receiver()
        spilled.forward(ORDERS, receiver)
        assert receiver.events == [b"parent", b"grandchild", b"child", b"parent again"]

    def test_child_keeps_its_events_when_the_parent_and_another_have_gone(
        self, folder: Path, spilled: Spill
    ) -> None:
        """Whoever believes to be the last to use the file removes its log."""
        to_child, from_child = os.pipe(), os.pipe()

        def child() -> None:
            put(spilled, b"child")
            os.write(from_child[1], b".")
            os.read(to_child[0], 1)
            put(spilled, b"child again")

        put(spilled, b"parent")
        pid = in_child(child)
        os.read(from_child[0], 1)
        spilled.close()
        assert self.count(folder) == 2
        os.write(to_child[1], b".")
        wait_for(pid)
        for end in (*to_child, *from_child):
            os.close(end)
        assert self.count(folder) == 3

    def count(self, folder: Path) -> int:
        with closing(sqlite3.connect(folder / module.FILE)) as connection:
            count: int = connection.execute("SELECT count(*) FROM appends").fetchone()[0]
        return count

    def test_while_other_threads_put(self, spilled: Spill) -> None:
        stop = threading.Event()

        def put_on() -> None:
            while not stop.is_set():
                put(spilled, b"thread")

        def fork() -> None:
            try:
                for _ in range(10):
                    wait_for(in_child(lambda: put(spilled, b"child")))
            finally:
                stop.set()

        at_once([put_on, put_on, fork])
        receiver = Receiver()
        spilled.forward(ORDERS, receiver)
        assert receiver.events.count(b"child") == 10

    def test_while_another_thread_forwards(self, spilled: Spill) -> None:
        """The lock stays the parent's, and the child can have it afterwards."""
        put(spilled, b"1")
        sending, stop = threading.Event(), threading.Event()
        read, write = os.pipe()

        def send(events: Sequence[bytes], stamp: Stamp) -> None:
            sending.set()
            stop.wait(10)

        def child() -> None:
            assert spilled.forward(ORDERS, Receiver()) == 0
            os.read(read, 1)
            assert spilled.forward(ORDERS, Receiver()) == 1

        forwarding = threading.Thread(target=spilled.forward, args=[ORDERS, send])
        forwarding.start()
        sending.wait(10)
        pid = in_child(child)
        time.sleep(0.1)  # for the child to find that it is not its turn
        stop.set()
        forwarding.join()
        put(spilled, b"2")
        os.write(write, b".")
        wait_for(pid)
        os.close(read)
        os.close(write)

    def test_that_python_did_not_see(self, spilled: Spill, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server written in C may fork without telling."""
        put(spilled, b"1")
        parents = spilled._connection
        pid = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: pid + 1)
        put(spilled, b"2")
        assert spilled._connection is not parents
        assert module._inherited.pop() is parents
        assert parents is not None
        parents.close()


class TestBucket:
    @pytest.fixture
    def server(self, tmp_path: Path, use_cache: Callable[..., str]) -> EmbeddedRedis:
        """That is not started yet."""
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
            time.sleep(0.11)
            bucket.append("fresh")
            assert bucket.take() == ["fresh", *range(10)]
            assert not spill(str(bucket.options.spill_dir)).holds(bucket.key)

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
        (folder / module.LOCK_FILE).write_bytes(b"rubbish" * 1000)
        bucket.append(2)
        assert "still waits" in caplog.text
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
            assert "still waits" in caplog.text
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
        assert caplog.text.count("still waits") == 1

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
        with closing(Spill(str(bucket.options.spill_dir))) as spilled:
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


class TestIsWritable:
    def test_folder_or_one_that_can_be_made(self, tmp_path: Path) -> None:
        assert is_writable(tmp_path)
        assert is_writable(tmp_path / "missing")
        assert not (tmp_path / "missing").exists()

    def test_file_of_another_user(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / module.FILE).touch()
        assert is_writable(tmp_path)
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) == tmp_path)
        assert not is_writable(tmp_path)

    def test_what_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert not is_writable(tmp_path / "file")
        assert not is_writable(tmp_path / "missing" / "folder")
        assert not is_writable("/proc/1")
