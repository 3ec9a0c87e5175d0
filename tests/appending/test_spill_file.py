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
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from django_jsonbuffer.appending import spill_file
from django_jsonbuffer.appending.spill import Spill
from django_jsonbuffer.appending.spill_access import FILE, LOCK_FILE
from django_jsonbuffer.exceptions import SpillUnavailable
from django_jsonbuffer.stamps import Stamp
from tests.spilling import ORDERS, Receiver, put
from tests.test_drain_buckets import environment
from tests.threads import at_once

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


class TestFile:
    def test_file_of_an_older_version_is_brought_up_to_date(
        self, folder: Path, spilled: Spill
    ) -> None:
        folder.mkdir()
        with closing(sqlite3.connect(folder / FILE)) as older:
            older.executescript(
                "CREATE TABLE appends (id INTEGER PRIMARY KEY AUTOINCREMENT, bucket TEXT NOT NULL,"
                "producer TEXT NOT NULL, sequence INTEGER NOT NULL, events BLOB NOT NULL);"
                "CREATE TABLE sizes (bucket TEXT PRIMARY KEY, bytes INTEGER NOT NULL);"
                f"INSERT INTO appends VALUES (1, '{ORDERS}', 'p', 7, CAST('[1]\n1' AS BLOB));"
                f"INSERT INTO sizes VALUES ('{ORDERS}', 5);"
            )
            (folder / FILE).chmod(0o600)
            put(spilled, b"2")
            older.execute(
                "INSERT INTO appends (bucket, producer, sequence, events) VALUES (?, 'q', 8, ?)",
                [ORDERS, b"[1]\n3"],
            )
            older.commit()
        receiver = Receiver()
        spilled.forward(ORDERS, receiver)
        assert receiver.events == [b"1", b"2", b"3"]
        first, _, last = receiver.stamps
        assert (first, last) == (Stamp("p", 7, ""), Stamp("q", 8, ""))

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
        path = folder / FILE
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
        assert spilled._file._connection is not None
        spilled._file._connection.execute(f"PRAGMA max_page_count = {pages}")
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


class TestLock:
    def test_is_done_by_one_alone(self, folder: Path, spilled: Spill) -> None:
        put(spilled, b"1")
        others: list[int] = []

        def send(events: Sequence[bytes], stamp: Stamp) -> None:
            with closing(Spill(folder)) as another:
                others.append(another.forward(ORDERS, Receiver()))

        assert spilled.forward(ORDERS, send) == 1
        assert others == [0]

    def test_lock_that_cannot_be_had_is_an_error(self, folder: Path, spilled: Spill) -> None:
        put(spilled, b"1")
        (folder / LOCK_FILE).write_bytes(b"rubbish" * 1000)
        with pytest.raises(SpillUnavailable, match="cannot be locked"):
            spilled.forward(ORDERS, Receiver())
        (folder / LOCK_FILE).unlink()
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

        connect: Any = spill_file._connect

        def interrupted(path: Path) -> sqlite3.Connection:
            found: sqlite3.Connection = connect(path)
            os.kill(os.getpid(), signal.SIGUSR1)
            return found

        monkeypatch.setattr(spill_file, "_connect", interrupted)
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
from django_jsonbuffer.appending.spill import Spill
spill = Spill(sys.argv[1])
first, count = int(sys.argv[2]), int(sys.argv[3])
for number in range(first, first + count, 3):
    events = [str(n).encode() for n in range(number, number + 3)]
    spill.put("jsonbuffer:{orders}", events, stamp=None, max_bytes=10**9)
    print(number, flush=True)
"""


FORWARD = """
import os, sys
from django_jsonbuffer.appending.spill import Spill
out = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def send(events, stamp):
    line = "%s,%d,%s %s\\n" % (*stamp, b",".join(events).decode())
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
    """Kill the process. Returns its output."""
    process.send_signal(signal.SIGKILL)
    return process.communicate()[0]


def in_child(call: Callable[[], object]) -> int:
    """Fork a child that makes the call, and exits with 0 if nothing is raised. Returns its id."""
    if (pid := os.fork()) == 0:
        signal.alarm(10)  # so that it does not wait for a lock for ever
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
            stamp, events = line.split()
            producer, sequence, nonce = stamp.split(",")
            receiver([events.encode()], Stamp(producer, int(sequence), nonce))
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
        """SQLite removes the log when the last connection that it knows of is closed."""
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
        with closing(sqlite3.connect(folder / FILE)) as connection:
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
        """The parent keeps the lock, and the child can take it afterwards."""
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
        time.sleep(0.1)  # until the child has found the lock taken
        stop.set()
        forwarding.join()
        put(spilled, b"2")
        os.write(write, b".")
        wait_for(pid)
        os.close(read)
        os.close(write)

    def test_that_python_did_not_see(self, spilled: Spill, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that is written in C may fork without Python's hooks for forks."""
        put(spilled, b"1")
        parents = spilled._file._connection
        pid = os.getpid()
        monkeypatch.setattr(os, "getpid", lambda: pid + 1)
        put(spilled, b"2")
        assert spilled._file._connection is not parents
        assert spill_file._inherited.pop() is parents
        assert parents is not None
        parents.close()
