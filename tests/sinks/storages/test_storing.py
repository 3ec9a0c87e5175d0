import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import SuspiciousOperation
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, InMemoryStorage, Storage

from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.sinks.storages import storing
from django_jsonbuffer.sinks.storages.storing import store_object


class Shelf(Storage):
    """The least that a storage has to have. It never overwrites: it takes another name instead."""

    def __init__(self, suffix: str = "") -> None:
        self.objects: dict[str, bytes] = {}
        self.suffix = suffix

    def _save(self, name: str, content: Any) -> str:
        self.objects[name + self.suffix] = content.read()
        return name + self.suffix

    def exists(self, name: str) -> bool:
        return name in self.objects

    def delete(self, name: str) -> None:
        del self.objects[name]


class Renaming(FileSystemStorage):
    """A storage of files that says that it has changed the name. It may have done so."""

    def __init__(self, location: Path, *, does_so: bool) -> None:
        super().__init__(location)
        self.does_so = does_so

    def _save(self, name: str, content: Any) -> str:
        changed = f"{name}-x"
        super()._save(changed if self.does_so else name, content)  # type: ignore[misc]
        return changed


class TooLarge:
    """Content of which the disk takes only the beginning."""

    def __init__(self, content: bytes) -> None: ...

    def chunks(self) -> Iterator[bytes]:
        yield b"half"
        raise OSError(28, "No space left on device")


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


class TestFileSystemStorage:
    def test_stores_a_file_and_its_folders(self, tmp_path: Path) -> None:
        store_object(FileSystemStorage(tmp_path), "a/b/c.jsonl", b"1")
        assert files_in(tmp_path) == {"a/b/c.jsonl": b"1"}

    def test_replaces_a_file_and_leaves_nothing_behind(self, tmp_path: Path) -> None:
        for content in (b"half", b"the whole content"):
            store_object(FileSystemStorage(tmp_path), "a/c.jsonl", content)
        assert files_in(tmp_path) == {"a/c.jsonl": b"the whole content"}

    def test_obeys_the_permissions_of_the_storage(self, tmp_path: Path) -> None:
        storage = FileSystemStorage(tmp_path, file_permissions_mode=0o440)
        for content in (b"1", b"2"):
            store_object(storage, "c.jsonl", content)
        assert (tmp_path / "c.jsonl").stat().st_mode & 0o777 == 0o440

    @pytest.mark.parametrize("allow_overwrite", [False, True])
    def test_reader_never_sees_half_a_file(self, tmp_path: Path, allow_overwrite: bool) -> None:
        """Two writers replace it all the time."""
        contents = [bytes([letter]) * 3_000_000 for letter in b"ab"]
        storage = FileSystemStorage(tmp_path, allow_overwrite=allow_overwrite)
        store_object(storage, "c.jsonl", contents[0])

        errors: list[OSError] = []

        def write(content: bytes) -> None:
            try:
                for _ in range(10):
                    store_object(storage, "c.jsonl", content)
            except OSError as error:
                errors.append(error)

        writers = [threading.Thread(target=write, args=[content]) for content in contents]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            assert (tmp_path / "c.jsonl").read_bytes() in contents
        assert not errors
        assert [*files_in(tmp_path)] == ["c.jsonl"]

    def test_process_that_is_killed_leaves_the_old_file(self, tmp_path: Path) -> None:
        storage = FileSystemStorage(tmp_path)
        store_object(storage, "c.jsonl", b"old")
        code = (
            "import os, signal, sys\n"
            "import django.core.files.storage as storages\n"
            "from django.conf import settings\n"
            "settings.configure()\n"
            "from django_jsonbuffer.sinks.storages import storing\n"
            "storing._move = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n"
            "storing.store_object(storages.FileSystemStorage(sys.argv[1]), 'c.jsonl', b'new')\n"
        )
        killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env={**os.environ})
        assert killed.returncode == -9
        left = files_in(tmp_path)
        assert left.pop("c.jsonl") == b"old"
        assert [name.rpartition(".")[2] for name in left] == ["part"]
        store_object(storage, "c.jsonl", b"new")
        assert files_in(tmp_path)["c.jsonl"] == b"new"

    @pytest.mark.parametrize("is_new", [True, False])
    def test_full_disk_keeps_no_part(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_new: bool
    ) -> None:
        storage = FileSystemStorage(tmp_path)
        if not is_new:
            store_object(storage, "c.jsonl", b"old")
        monkeypatch.setattr(storing, "ContentFile", TooLarge)
        for _ in range(3):
            with pytest.raises(OSError, match="No space left"):
                store_object(storage, "c.jsonl", b"new")
        assert files_in(tmp_path) == ({} if is_new else {"c.jsonl": b"old"})

    @pytest.mark.parametrize("does_so", [True, False])
    def test_storage_that_changes_names_is_refused(self, tmp_path: Path, does_so: bool) -> None:
        with pytest.raises(BufferMisconfigured, match="keeps names"):
            store_object(Renaming(tmp_path, does_so=does_so), "c", b"1")
        assert files_in(tmp_path) == {}

    def test_name_may_have_another_spelling(self, tmp_path: Path) -> None:
        store_object(FileSystemStorage(tmp_path), "a//b/./c.jsonl", b"1")
        assert files_in(tmp_path) == {"a/b/c.jsonl": b"1"}

    def test_refuses_a_name_outside_of_its_folder(self, tmp_path: Path) -> None:
        with pytest.raises(SuspiciousOperation):
            store_object(FileSystemStorage(tmp_path / "a"), "../c.jsonl", b"1")


class TestOtherStorages:
    @pytest.mark.parametrize("storage", [InMemoryStorage(), Shelf()])
    def test_replaces_the_object(self, storage: Storage) -> None:
        for content in (b"half", b"the whole content"):
            store_object(storage, "a/c.jsonl", content)
        if isinstance(storage, Shelf):
            assert storage.objects == {"a/c.jsonl": b"the whole content"}
        else:
            assert storage.listdir("a") == ([], ["c.jsonl"])
            assert storage.open("a/c.jsonl").read() == b"the whole content"

    def test_storage_that_changes_names_is_refused(self) -> None:
        shelf = Shelf(suffix="-x")
        with pytest.raises(BufferMisconfigured, match="stored 'c' as 'c-x'"):
            store_object(shelf, "c", b"1")
        assert shelf.objects == {}

    def test_other_objects_stay(self) -> None:
        shelf = Shelf()
        shelf.save("d", ContentFile(b"d"))
        store_object(shelf, "c", b"1")
        assert shelf.objects == {"c": b"1", "d": b"d"}
