import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from django_jsonbuffer.appending import spill_access, spill_rows
from django_jsonbuffer.appending import spill_size as module
from django_jsonbuffer.appending.spill import Spill
from django_jsonbuffer.appending.spill_size import SpillSize, spill_size
from django_jsonbuffer.exceptions import SpillUnavailable
from tests.spilling import ORDERS, OTHERS, Receiver, put


def size_of_text(*events: bytes) -> int:
    return len(spill_rows.pack(events))


class TestSize:
    def test_is_that_of_one_bucket(self, folder: Path, spilled: Spill) -> None:
        put(spilled, b"1", b"22")
        put(spilled, b"333")
        put(spilled, b"4", bucket=OTHERS)
        expected = SpillSize(2, size_of_text(b"1", b"22") + size_of_text(b"333"))
        assert spill_size(folder, ORDERS) == expected
        assert spill_size(folder, ORDERS)
        spilled.forward(ORDERS, Receiver())
        assert spill_size(folder, ORDERS) == SpillSize(0, 0)
        assert not spill_size(folder, ORDERS)

    def test_is_found_though_no_process_has_the_file_open(
        self, folder: Path, spilled: Spill
    ) -> None:
        put(spilled, b"1")
        spilled.close()
        assert spill_size(folder, ORDERS).appends == 1

    def test_of_a_missing_file_is_nothing_and_creates_none(self, folder: Path) -> None:
        assert not spill_size(folder, ORDERS)
        assert not folder.exists()
        folder.mkdir()
        assert not spill_size(folder, ORDERS)
        assert [*folder.iterdir()] == []

    def test_of_a_file_without_tables_is_nothing(self, folder: Path) -> None:
        folder.mkdir()
        (folder / spill_access.FILE).touch()
        assert not spill_size(folder, ORDERS)

    def test_in_a_folder_with_a_strange_name(self, tmp_path: Path) -> None:
        folder = tmp_path / "a b?mode=rw#%20"
        with closing(Spill(folder)) as spilled:
            put(spilled, b"1")
            assert spill_size(folder, ORDERS).appends == 1

    def test_while_another_process_writes(self, folder: Path, spilled: Spill) -> None:
        put(spilled, b"1")
        with closing(sqlite3.connect(spilled.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("DELETE FROM appends")
            assert spill_size(folder, ORDERS).appends == 1


class TestUnreadable:
    def test_because_the_file_is_damaged(self, folder: Path) -> None:
        folder.mkdir()
        (folder / spill_access.FILE).write_bytes(b"no database" * 1000)
        with pytest.raises(SpillUnavailable, match=r"sqlite3 cannot be read: .*not a database"):
            spill_size(folder, ORDERS)

    def test_because_the_file_is_locked(self, folder: Path, spilled: Spill) -> None:
        put(spilled, b"1")
        spilled.close()
        with closing(sqlite3.connect(spilled.path, isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(SpillUnavailable, match="locked"):
                spill_size(folder, ORDERS)

    def test_because_the_folder_is_a_file(self, folder: Path) -> None:
        folder.touch()
        with pytest.raises(SpillUnavailable, match="Not a directory"):
            spill_size(folder, ORDERS)

    def test_because_another_thread_uses_the_file_for_long(
        self, folder: Path, spilled: Spill, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(spilled, b"1")
        monkeypatch.setattr(module, "_WAIT_SECONDS", 0.01)
        found: list[str] = []

        def look() -> None:
            try:
                spill_size(folder, ORDERS)
            except SpillUnavailable as error:
                found.append(str(error))

        with spilled._file.read():
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
        assert found == [f"{spilled.path} cannot be read: another thread uses it."]
        assert spill_size(folder, ORDERS).appends == 1


def test_leaves_no_connection_to_a_forked_child(folder: Path, spilled: Spill) -> None:
    """A fork waits for the reader, as it waits for a writer."""
    put(spilled, b"1")
    assert spill_size(folder, ORDERS).appends == 1
    if not (child := os.fork()):
        try:
            put(spilled, b"2")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert spill_size(folder, ORDERS).appends == 2


def test_sqlite_is_imported_by_projects_that_spill_only() -> None:
    code = (
        "import sys, django; from django.conf import settings; settings.configure("
        "INSTALLED_APPS=['django.contrib.contenttypes', 'django.contrib.auth', "
        "'django_jsonbuffer']); django.setup(); import django_jsonbuffer.states, "
        "django_jsonbuffer.draining.drain; sys.exit('sqlite3' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
