import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import FileSystemStorage, InMemoryStorage, Storage
from pytest_django import Settings

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.exceptions import BufferMisconfigured, DestinationUnavailable
from django_jsonbuffer.sinks import JsonLines
from tests.checks.messages import found
from tests.draining.drains import drain_until
from tests.sinks.batches import ID, a_batch
from tests.sinks.storages.test_storing import Shelf, files_in

PATH = f"orders/2023-11-14/{ID}.jsonl.gz"


def lines_of(content: bytes) -> list[Any]:
    return [json.loads(line) for line in gzip.decompress(content).splitlines()]


class Full(Storage):
    """A storage that has no room until it is emptied."""

    is_full = True

    def _save(self, name: str, content: Any) -> str:
        if self.is_full:
            raise OSError(28, "No space left on device")
        return name

    def exists(self, name: str) -> bool:
        return False


class TestObject:
    def test_has_one_event_in_each_line(self, tmp_path: Path) -> None:
        events = [{"a": "line\nend"}, 2**70, 0.1, "✓", None]
        JsonLines(FileSystemStorage(tmp_path))(a_batch(*events))
        [(name, content)] = files_in(tmp_path).items()
        assert name == PATH
        assert lines_of(content) == events
        assert gzip.decompress(content).endswith(b"null\n")

    def test_is_replaced_by_a_repeat_byte_for_byte(self) -> None:
        shelf, contents = Shelf(), set()
        for attempt in (1, 2):
            JsonLines(shelf)(a_batch(1, 2, attempt=attempt))
            contents.add(shelf.objects[PATH])
        assert [*shelf.objects] == [PATH]
        assert len(contents) == 1

    def test_replaces_what_a_crash_has_left(self, tmp_path: Path) -> None:
        path = tmp_path / PATH
        path.parent.mkdir(parents=True)
        path.write_bytes(b"half")
        JsonLines(FileSystemStorage(tmp_path))(a_batch(1))
        assert {name: lines_of(content) for name, content in files_in(tmp_path).items()} == {
            PATH: [1]
        }

    def test_goes_to_the_storage_of_the_alias(self, settings: Settings, tmp_path: Path) -> None:
        backend = "django.core.files.storage.FileSystemStorage"
        settings.STORAGES = {
            **settings.STORAGES,
            **{
                alias: {"BACKEND": backend, "OPTIONS": {"location": tmp_path / alias}}
                for alias in ("default", "archive")
            },
        }
        JsonLines()(a_batch(1))
        JsonLines("archive")(a_batch(2))
        assert [*files_in(tmp_path / "default")] == [*files_in(tmp_path / "archive")] == [PATH]

    def test_is_not_compressed_if_the_path_does_not_say_so(self) -> None:
        shelf = Shelf()
        JsonLines(shelf, path="{id}.jsonl")(a_batch(1, 2))
        assert shelf.objects == {f"{ID}.jsonl": b"1\n2\n"}

    def test_has_no_event_that_cannot_be_encoded(self) -> None:
        shelf, batch = Shelf(), a_batch(1, "\ud800", 3)
        JsonLines(shelf)(batch)
        assert lines_of(shelf.objects[PATH]) == [1, 3]
        assert [*batch.rejected] == [1]


class TestPath:
    @pytest.mark.parametrize(
        ("path", "name"),
        [
            ("{date:%Y/%m}/{bucket}-{id}.gz", f"2023/11/orders-{ID}.gz"),
            (lambda batch: f"own/{batch.bucket}/{len(batch)}.gz", "own/orders/1.gz"),
        ],
    )
    def test_of_the_project(self, path: str | Callable[[Batch], str], name: str) -> None:
        shelf = Shelf()
        JsonLines(shelf, path=path)(a_batch(1))
        assert [*shelf.objects] == [name]

    def test_is_safe_as_the_name_of_a_file(self) -> None:
        shelf = Shelf()
        JsonLines(shelf)(a_batch(1, id="1700000000123-0/../", bucket="a:b"))
        assert [*shelf.objects] == ["a_b/2023-11-14/1700000000123-0_.._.jsonl.gz"]

    @pytest.mark.parametrize("id", ["mine", "99999999999999999999-0"])
    def test_of_an_id_without_a_time_has_the_first_day(self, id: str) -> None:
        shelf = Shelf()
        JsonLines(shelf)(a_batch(1, id=id))
        assert [*shelf.objects] == [f"orders/1970-01-01/{id}.jsonl.gz"]

    def test_outside_of_the_storage_is_refused(self, tmp_path: Path) -> None:
        sink = JsonLines(FileSystemStorage(tmp_path / "a"), path=lambda batch: "../b.gz")
        with pytest.raises(SuspiciousFileOperation):
            sink(a_batch(1))


@pytest.mark.usefixtures("nothing_declared")
class TestInABucket:
    @pytest.mark.parametrize("storage", [InMemoryStorage(), Shelf()])
    def test_each_batch_is_one_object(self, storage: Storage) -> None:
        bucket = Bucket("orders", batch_size=10, processor=JsonLines(storage, path="{id}.gz"))
        bucket.extend(range(25))
        assert bucket.drain().processed == 25
        names = storage.objects if isinstance(storage, Shelf) else storage.listdir("")[1]
        contents = (
            storage.objects[name] if isinstance(storage, Shelf) else storage.open(name).read()
            for name in names
        )
        assert [event for content in contents for event in lines_of(content)] == [*range(25)]
        assert len(names) == 3

    def test_error_of_the_storage_is_an_outage(self) -> None:
        storage = Full()
        bucket = Bucket("orders", processor=JsonLines(storage))
        bucket.extend(range(10))
        report = bucket.drain()
        assert (report.failed, report.buried) == (1, 0)
        with pytest.raises(DestinationUnavailable, match="No space left"):
            JsonLines(storage)(a_batch(1))
        storage.is_full = False
        drain_until(bucket, processed=10)


@pytest.mark.usefixtures("nothing_declared")
class TestDeclarations:
    @pytest.mark.parametrize(
        ("sink", "text"),
        [
            (JsonLines("archive"), "'archive', which is not in STORAGES"),
            (JsonLines("defualt"), "Did you mean 'default'?"),
            (JsonLines("broken"), "cannot use the storage 'broken'"),
            (JsonLines(Shelf), "the storage"),  # type: ignore[arg-type]
            (JsonLines(path="{bucket}/{date}.gz"), "the same for different batches"),
            (JsonLines(path="{id"), "'{id'"),
            (JsonLines(path="{}/{id}"), "'{}/{id}'"),
            (JsonLines(path="{id}/{day}"), "'day'"),
            (JsonLines(path=None), "the path None"),  # type: ignore[arg-type]
        ],
    )
    def test_fault_is_reported_and_raised(
        self, settings: Settings, sink: JsonLines, text: str
    ) -> None:
        broken = {"BACKEND": "nowhere.Storage"}
        settings.STORAGES = {**settings.STORAGES, "broken": broken}
        Bucket("orders").processor(sink)
        assert text in found()["E018"].msg
        with pytest.raises(BufferMisconfigured) as raised:
            sink(a_batch(1))
        assert text in str(raised.value)

    def test_right_ones_have_no_fault(self) -> None:
        Bucket("orders").processor(JsonLines())
        Bucket("views").processor(JsonLines(Shelf(), path=str))
        assert "E018" not in found()
