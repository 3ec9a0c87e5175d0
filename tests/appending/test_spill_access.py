import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

from django_jsonbuffer.appending.spill import Spill
from django_jsonbuffer.appending.spill_access import FILE, LOCK_FILE, is_writable
from django_jsonbuffer.exceptions import SpillUnavailable
from tests.spilling import ORDERS, Receiver, put

FILES = [FILE, f"{FILE}-wal", f"{FILE}-shm", f"{FILE}-journal"]


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


class TestMakePrivate:
    def test_folder_and_files_are_their_owners_alone(self, spilled: Spill, folder: Path) -> None:
        before = os.umask(0)
        try:
            put(spilled, b"1")
            spilled.forward(ORDERS, Receiver(fails_after=1))
        finally:
            os.umask(before)
        assert set(modes(folder)) == {FILE, f"{FILE}-wal", f"{FILE}-shm", LOCK_FILE}
        assert set(modes(folder).values()) == {0o600}
        assert folder.stat().st_mode & 0o777 == 0o700

    def test_mode_of_ones_own_files_is_corrected(self, folder: Path, spilled: Spill) -> None:
        put(spilled, b"1")
        for path in folder.iterdir():
            path.chmod(0o666)
        folder.chmod(0o770)
        with closing(Spill(folder)) as another:
            put(another, b"2")
            assert another.forward(ORDERS, Receiver()) == 2
            assert set(modes(folder).values()) == {0o600}
        assert folder.stat().st_mode & 0o777 == 0o770  # for the group, as its owner wants

    @pytest.mark.parametrize("name", [*FILES, LOCK_FILE])
    def test_file_of_another_user_is_not_used(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        folder.mkdir()
        (folder / name).touch(0o666)
        lstat = os.lstat

        def of_another(path: Path) -> os.stat_result:
            found = lstat(path)
            uid = found.st_uid + (path.name == name)
            return os.stat_result((*found[:4], uid, *found[5:10]))

        monkeypatch.setattr(os, "lstat", of_another)
        self.check_refused(folder, name, r"belongs to another user \(uid \d+\)")

    @pytest.mark.parametrize("name", [FILE, f"{FILE}-wal", LOCK_FILE])
    def test_link_is_not_used(self, folder: Path, tmp_path: Path, name: str) -> None:
        folder.mkdir()
        (tmp_path / "theirs").touch()
        (folder / name).symlink_to(tmp_path / "theirs")
        self.check_refused(folder, name, "is not a regular file")
        assert (tmp_path / "theirs").read_bytes() == b""
        (tmp_path / "theirs").unlink()
        self.check_refused(folder, name, "is not a regular file")

    def test_socket_is_not_used(self, folder: Path) -> None:
        folder.mkdir()
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(folder / FILE))
            self.check_refused(folder, FILE, "is not a regular file")

    def check_refused(self, folder: Path, name: str, why: str) -> None:
        assert not is_writable(folder)
        with (
            closing(Spill(folder)) as spilled,
            pytest.raises(SpillUnavailable, match=f"{name} {why}.* chown"),
        ):
            put(spilled, b"1")
            spilled.forward(ORDERS, Receiver())


class TestIsWritable:
    def test_folder_or_one_that_can_be_made(self, tmp_path: Path) -> None:
        assert is_writable(tmp_path)
        assert is_writable(tmp_path / "missing")
        assert not (tmp_path / "missing").exists()

    def test_file_of_ones_own(self, tmp_path: Path) -> None:
        (tmp_path / FILE).touch(0o666)
        assert is_writable(tmp_path)

    def test_file_without_access(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / FILE).touch()
        assert is_writable(tmp_path)
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) == tmp_path)
        assert not is_writable(tmp_path)

    def test_what_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert not is_writable(tmp_path / "file")
        assert not is_writable(tmp_path / "missing" / "folder")
        assert not is_writable("/proc/1")
