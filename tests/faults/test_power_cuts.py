"""What a power cut loses: all that Redis has written to its append-only file and not synced.

A library notes how much of the file each ``fdatasync()`` covers. The server is killed, and the
rest of the file is removed. Whether a disk keeps what it has confirmed is not tested.
"""

import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from django_jsonbuffer import Bucket
from example_project.embedded_redis import EmbeddedRedis
from tests.faults.confirming import Confirming
from tests.faults.scale import report
from tests.replicas import kill
from tests.test_embedded_redis import client_of

CUTS = 20


class PowerCuts:
    """A server with an append-only file, and its file."""

    def __init__(self, folder: Path, policy: str) -> None:
        self._syncs = folder / "syncs"
        self._syncs.mkdir()
        self._data = folder / "data"
        self._data.mkdir()
        self.server = EmbeddedRedis(
            *("--dir", str(self._data), "--appendonly", "yes", "--appendfsync", policy)
        )

    def cut(self) -> int:
        """Returns how many bytes are lost."""
        kill(self.server)
        self.server.stop()
        [file] = self._data.glob("appendonlydir/*.incr.aof")
        synced = int((self._syncs / file.name).read_text())
        lost = file.stat().st_size - synced
        os.truncate(file, synced)
        self.server.start()
        return lost


@pytest.fixture
def power(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    use_cache: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[PowerCuts]:
    source, library = Path(__file__).with_name("syncs.c"), tmp_path / "syncs.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    power = PowerCuts(tmp_path, request.param)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("SYNCS", str(tmp_path / "syncs"))
    with power.server:
        use_cache(power.server.url)
        yield power


@pytest.mark.parametrize("durability", [None, "fsynced"])
@pytest.mark.parametrize("power", ["everysec", "always"], indirect=True)
def test_power_cut(
    power: PowerCuts, durability: str | None, request: pytest.FixtureRequest
) -> None:
    bucket = Bucket("orders", durability=durability, batch_size=None)
    seen = Confirming(bucket)
    lost, most_lost, lost_bytes = 0, 0, 0
    known: set[int] = set()
    with seen.appending():
        for _ in range(CUTS):
            seen.wait_for_more(100)
            time.sleep(random.uniform(0, 1))
            confirmed = {*seen.confirmed}
            lost_bytes += power.cut()
            with client_of(power.server) as plain:
                stored = {*json.loads(plain.get(bucket.key) or "[]")}
            gone = confirmed - stored - known
            known |= gone
            lost, most_lost = lost + len(gone), max(most_lost, len(gone))
    stored_in_the_end = bucket.take()
    policy = request.node.callspec.params["power"]
    report(
        f"power cut, appendfsync {policy}, durability {durability}",
        cuts=CUTS,
        confirmed=len(seen.confirmed),
        lost=lost,
        most_at_once=most_lost,
        lost_bytes=lost_bytes,
        twice=len(stored_in_the_end) - len({*stored_in_the_end}),
        slowest=f"{seen.slowest_seconds:.1f} s",
    )
    # With everysec, Valkey 9.1.2 confirms a WAITAOF up to a second before it syncs the file.
    if policy == "always":
        assert lost == 0
