"""What a watching worker finds in the spills of its machine."""

from collections.abc import Callable
from pathlib import Path

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.appending.spill import spill
from django_jsonbuffer.draining.spills import Spills
from django_jsonbuffer.runs import open_drains
from tests.spilling import put

NAMES = [f"bucket-{number}" for number in range(20)]

pytestmark = pytest.mark.usefixtures("nothing_declared")


@pytest.fixture
def spills(nothing_declared: None, configure: Callable[..., None], tmp_path: Path) -> Spills:
    configure(BUCKETS={"bucket-*": {"spill_dir": tmp_path}})
    Bucket("bucket-*").processor(lambda batch: None)
    spills = Spills(every_seconds=0)
    for drain in open_drains(map(Bucket, NAMES)):
        spills.add(drain)
    return spills


def test_are_the_shards_that_have_events(spills: Spills, tmp_path: Path) -> None:
    key = Bucket(NAMES[3]).key
    for each in (key.replace("}", "#2}"), Bucket(NAMES[7]).key, "other:{bucket-1}"):
        put(spill(tmp_path), b"1", bucket=each)
    assert sorted(spills.look()) == [f"{NAMES[3]}#2", NAMES[7]]


def test_of_a_file_that_cannot_be_read_are_one_bucket(spills: Spills, tmp_path: Path) -> None:
    """Whose drain reports it. The others need not be looked at again and again."""
    (tmp_path / "jsonbuffer.sqlite3").write_bytes(b"no database" * 1000)
    looks = [[*spills.look()] for _ in range(3)]
    assert [len(found) for found in looks] == [1, 1, 1]
    assert looks[0] == looks[2]
    assert looks[0][0] in NAMES
