import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.appending import spill as spilling
from django_jsonbuffer.appending.spill import Spill, _spills
from django_jsonbuffer.draining.forwarding import Forwarding
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.options import Options
from tests.prepared import drain_of, store_of
from tests.spilling import put


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "spill"
    for opened in _spills.values():
        opened.close()
    _spills.clear()


@pytest.fixture
def spilled(folder: Path) -> Iterator[Spill]:
    with closing(Spill(folder)) as spilled:
        yield spilled


@pytest.fixture
def forwarding(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Forwarding:
    monkeypatch.setattr(spilling, "LOOK_AGAIN_SECONDS", 0)
    return Forwarding(store_of("orders"), Options(spill_dir=folder))


def spoil(spilled: Spill) -> None:
    with closing(sqlite3.connect(spilled.path)) as other, other:
        other.execute("UPDATE appends SET events = x'00'")


def mend(spilled: Spill) -> None:
    with closing(sqlite3.connect(spilled.path)) as other, other:
        other.execute("UPDATE appends SET events = ?", [b"[1]\n7"])


class TestForward:
    def test_stores_the_events(self, forwarding: Forwarding, spilled: Spill) -> None:
        put(spilled, b"1", b"2", bucket=Bucket("orders").key)
        forwarding.forward()
        assert Bucket("orders").peek() == [1, 2]
        assert forwarding.describe_stuck() == ""

    def test_without_a_folder_does_nothing(self) -> None:
        forwarding = Forwarding(store_of("orders"), Options())
        forwarding.forward()
        assert forwarding.describe_stuck() == ""

    def test_failure_is_logged_when_it_begins_and_when_it_is_over(
        self, forwarding: Forwarding, spilled: Spill, caplog: pytest.LogCaptureFixture
    ) -> None:
        put(spilled, b"7", bucket=Bucket("orders").key)
        spoil(spilled)
        caplog.clear()
        for _ in range(3):
            forwarding.forward()
        [begin] = caplog.messages
        assert begin.startswith("Bucket orders: spilled events still wait in the spill. Row 1 of")
        mend(spilled)
        for _ in range(3):
            forwarding.forward()
        assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"][
            1:
        ] == ["Bucket orders: no spilled events wait any more."]
        assert Bucket("orders").peek() == [7]

    def test_failure_is_not_over_while_the_file_cannot_be_read(
        self,
        forwarding: Forwarding,
        folder: Path,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # As in a watch with short rounds: after the failure, the file is not tried for a while.
        monkeypatch.setattr(spilling, "LOOK_AGAIN_SECONDS", 60)
        folder.mkdir()
        (folder / "jsonbuffer.sqlite3").write_bytes(b"no database" * 1000)
        for _ in range(3):
            forwarding.forward()
        assert len(caplog.messages) == 1
        assert "cannot be used" in forwarding.describe_stuck()

    def test_damaged_file_is_logged_once_for_all_its_buckets(
        self, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(spilling, "LOOK_AGAIN_SECONDS", 0)
        options = Options(spill_dir=folder)
        file = folder / "jsonbuffer.sqlite3"
        folder.mkdir()
        for _ in range(2):
            several = [Forwarding(store_of(name), options) for name in ("orders", "carts")]
            file.write_bytes(b"no database" * 1000)
            for each in several * 2:
                each.forward()
            assert all(each.describe_stuck() for each in several)
            file.unlink()
            for each in several * 2:
                each.forward()
            assert [message[:40] for message in caplog.messages] == [
                "Bucket orders: spilled events still wait",
                "Bucket orders: no spilled events wait an",
            ]
            caplog.clear()

    def test_failure_is_logged_again_by_the_next_run(
        self, folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(spilling, "LOOK_AGAIN_SECONDS", 0)
        folder.mkdir()
        (folder / "jsonbuffer.sqlite3").write_bytes(b"no database" * 1000)
        for _ in range(2):
            forwarding = Forwarding(store_of("orders"), Options(spill_dir=folder))
            forwarding.forward()
            forwarding.end()
        assert len(caplog.messages) == 2

    @pytest.mark.usefixtures("unreachable")
    def test_without_redis_is_an_error(self, folder: Path, spilled: Spill) -> None:
        put(spilled, b"1", bucket=Bucket("orders").key)
        with pytest.raises(BufferUnavailable):
            Forwarding(store_of("orders"), Options(spill_dir=folder)).forward()


class TestStuck:
    def test_is_what_waits_and_why(self, forwarding: Forwarding, spilled: Spill) -> None:
        put(spilled, b"1", bucket=Bucket("orders").key)
        assert forwarding.describe_stuck() == ""  # nobody has tried to forward it
        spoil(spilled)
        forwarding.forward()
        stuck = forwarding.describe_stuck()
        assert stuck.startswith(
            "Spilled events of bucket orders could not be forwarded (1 append, 5 bytes): Row 1 of"
        )

    def test_is_what_another_process_forwards(self, forwarding: Forwarding, spilled: Spill) -> None:
        put(spilled, b"1", bucket=Bucket("orders").key)
        assert spilled._file.begin_forwarding()
        forwarding.forward()
        assert "another process forwards them" in forwarding.describe_stuck()
        spilled._file.end_forwarding()
        forwarding.forward()
        assert forwarding.describe_stuck() == ""


def test_drain_forwards_and_goes_on(
    forwarding: Forwarding, spilled: Spill, folder: Path, configure: Callable[..., None]
) -> None:
    configure(BUCKETS={"orders": {"spill_dir": folder}})
    put(spilled, b"1", bucket=Bucket("orders").key)
    spoil(spilled)
    orders = Bucket("orders")
    orders.append(2)
    orders.processor(lambda batch: None)
    with drain_of(orders) as drain:
        assert drain.step()
    assert "is damaged" in drain.forwarding.describe_stuck()
