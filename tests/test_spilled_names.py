"""Buckets of a pattern whose first appends were spilled, so that only the spill has their names."""

import threading
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from django_jsonbuffer import Bucket, catalog, drain_all
from django_jsonbuffer.appending.spill import spill
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.draining import lookout
from django_jsonbuffer.draining.stop import Stop
from django_jsonbuffer.management.commands.drain_buckets import Command
from django_jsonbuffer.management.selection import Selection
from django_jsonbuffer.spilled_names import spilled_names
from tests.spilling import put
from tests.test_embedded_redis import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def got(nothing_declared: None) -> list[Any]:
    got: list[Any] = []
    Bucket("tenant-*").processor(got.extend)
    return got


@pytest.fixture(autouse=True)
def folder(got: list[Any], configure: Callable[..., None], tmp_path: Path) -> Path:
    configure(BUCKETS={"tenant-*": {"on_unavailable": "spill", "spill_dir": tmp_path}})
    return tmp_path


@pytest.fixture
def spilled(
    folder: Path, configure: Callable[..., None], use_cache: Callable[..., str]
) -> Callable[[str], None]:
    """Appends an event to the bucket with this name while Redis is away."""

    def spilled(name: str) -> None:
        cache = configuration().cache
        use_cache(f"unix://{folder}/nobody")
        Bucket(name).append(name)
        configure(CACHE=cache)

    return spilled


def shown() -> str:
    output = StringIO()
    call_command("show_buckets", stdout=output)
    return output.getvalue()


class TestDrain:
    @pytest.mark.parametrize("drain", [drain_all, lambda: call_command("drain_buckets")])
    def test_forwards_them(
        self, drain: Callable[[], Any], spilled: Callable[[str], None], got: list[Any]
    ) -> None:
        spilled("tenant-42")
        drain()
        assert got == ["tenant-42"]
        assert [bucket.name for bucket in catalog.known_buckets()] == ["tenant-42"]

    def test_that_watches_forwards_them(
        self, spilled: Callable[[str], None], got: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also those that are spilled later."""
        monkeypatch.setattr(lookout, "_CATALOG_SECONDS", 0.1)
        spilled("tenant-42")
        options = {"watch": True, "verbosity": 0, "interval": 0.1, "max_batches": None}
        stop = Stop()
        rounds = Command()._rounds(Selection([]), stop, {**options, "max_seconds": 60.0})

        def run() -> None:
            with rounds:
                for _ in rounds:
                    pass

        worker = threading.Thread(target=run)
        worker.start()
        try:
            wait_until(lambda: got == ["tenant-42"])
            put(
                spill(catalog.options_of(Bucket("tenant-1")).spill_dir or ""),
                b"1",
                bucket=Bucket("tenant-1").key,
            )
            wait_until(lambda: got == ["tenant-42", 1])
        finally:
            stop.set()
            worker.join()


class TestList:
    def test_of_show_buckets_has_them(self, spilled: Callable[[str], None]) -> None:
        spilled("tenant-42")
        assert "tenant-42" in shown()

    def test_of_the_admin_has_them(
        self, spilled: Callable[[str], None], admin_client: Client
    ) -> None:
        spilled("tenant-42")
        page = admin_client.get("/admin/django_jsonbuffer/bucket/").content.decode()
        assert "tenant-42" in page

    def test_of_what_is_spilled_has_them_while_redis_is_away(
        self, spilled: Callable[[str], None], use_cache: Callable[..., str]
    ) -> None:
        spilled("tenant-42")
        use_cache("redis://127.0.0.1:1/0")
        with pytest.raises(CommandError, match=r"tenant-42: 1 append .* is spilled"):
            shown()


class TestNames:
    def test_are_those_of_this_site_that_spill_there(
        self, spilled: Callable[[str], None], folder: Path, configure: Callable[..., None]
    ) -> None:
        spilled("tenant-42")
        file = spill(folder)
        start = Bucket("tenant-42").key.partition("{")[0]
        for key in ("other:{tenant-1}", f"{start}{{orders}}", f"{start}{{no name}}", "made up"):
            put(file, b"1", bucket=key)
        assert spilled_names() == {"tenant-42"}
        configure(BUCKETS={"tenant-*": {"spill_dir": folder / "another"}})
        assert spilled_names() == set()

    def test_of_shards_are_those_of_their_buckets(self, folder: Path) -> None:
        put(spill(folder), b"1", bucket=Bucket("tenant-42").key.replace("}", "#3}"))
        assert spilled_names() == {"tenant-42"}

    def test_of_a_damaged_file_are_none(self, folder: Path) -> None:
        (folder / "jsonbuffer.sqlite3").write_bytes(b"garbage" * 1000)
        assert spilled_names() == set()

    @pytest.mark.parametrize("wrong", [{"spill_dir": 7}, {"spill_dir": ["x"]}, {"linger": "x"}])
    def test_of_wrong_options_are_none(
        self, wrong: Any, folder: Path, configure: Callable[..., None]
    ) -> None:
        put(spill(folder), b"1", bucket=Bucket("tenant-42").key)
        configure(BUCKETS={"tenant-*": {"spill_dir": folder, **wrong}})
        assert spilled_names() == set()
