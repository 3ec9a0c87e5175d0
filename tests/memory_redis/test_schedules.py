"""A Redis in memory does the same as a real server: see :mod:`.schedules`."""

import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from django_jsonbuffer import memory_redis
from tests.faults.scale import report, scale

from .comparing import PACKAGE, Difference, Pair
from .schedules import STEPS, compare

PORTIONS = 4
MOST = 100
"""Schedules until which a mistake must be found."""

Copies = Callable[[str, str, str], Pair]


@pytest.fixture
def copies(servers: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Copies]:
    """Makes a copy of the Redis in memory, with a change in a file, and compares it."""
    package = f"copy_{secrets.token_hex(4)}"
    monkeypatch.syspath_prepend(tmp_path)
    pairs: list[Pair] = []

    def copied(file: str, right: str, wrong: str) -> Pair:
        folder = tmp_path / package
        shutil.copytree(Path(memory_redis.__path__[0]), folder)
        for module in folder.rglob("*.py"):
            module.write_text(module.read_text().replace(PACKAGE, package))
        source = (folder / file).read_text()
        assert right in source
        (folder / file).write_text(source.replace(right, wrong))
        pairs.append(Pair(servers.plain, servers.clock, package=package))
        return pairs[-1]

    yield copied
    for pair in pairs:
        pair.client.close()
    servers.empty()


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_all_operations_do_the_same(servers: Pair, portion: int) -> None:
    size = scale(full=20_000, short=120) // PORTIONS
    tally = Counter[str]()
    compare(servers, range(portion * size, (portion + 1) * size), tally)
    report("memory", portion=portion, schedules=size, **tally)
    assert {*STEPS} <= {*tally}, "steps that no schedule has carried out"


MISTAKES = [
    ("commands/collections.py", "return len(found) - before", "return len(found)"),
    ("commands/collections.py", "max(last + 1, 0)", "max(last, 0)"),
    ("commands/collections.py", "    data.drop_if_empty(key)\n", ""),
    ("commands/groups.py", "least_ms <= 0 or ", ""),
    ("commands/groups.py", '("JUSTID" not in named)', "1"),
    ("commands/groups.py", "        group.last = id\n", ""),
    ("commands/groups.py", "max(now - delivery.at_ms, 0)", "now - delivery.at_ms"),
    ("commands/groups.py", "if held.consumer == consumer]", "if held.consumer < consumer]"),
    ("commands/streams.py", "[::step][:limit]", "[:limit][::step]"),
    ("commands/strings.py", "max(at + len(value), 0)", "at + len(value)"),
    ("lua/expressions.py", 'level if operator == ".." else level + 1', "level"),
    ("lua/library.py", "max(int(start), 1) - 1", "max(int(start), 1)"),
    ("lua/values.py", "left <= right", "left < right"),
    ("streams.py", "now_ms > self.last.ms", "now_ms != self.last.ms"),
]


class TestMistakes:
    def test_none_is_found_in_a_copy(self, servers: Pair, copies: Copies) -> None:
        compare(copies("streams.py", "now_ms", "now_ms"), range(20), Counter())

    @pytest.mark.parametrize(("file", "right", "wrong"), MISTAKES)
    def test_are_found(self, copies: Copies, file: str, right: str, wrong: str) -> None:
        with pytest.raises(Difference):
            compare(copies(file, right, wrong), range(MOST), Counter())

    def test_of_a_deleted_consumer_is_found_where_servers_list_all(
        self, servers: Pair, copies: Copies
    ) -> None:
        pair = copies("commands/groups.py", "    group.consumers.discard(consumer)\n", "")
        with nullcontext() if servers.is_old else pytest.raises(Difference):
            compare(pair, range(MOST), Counter())
