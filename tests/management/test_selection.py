import pytest
from django.core.management import CommandError

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import NoProcessor
from django_jsonbuffer.management.selection import Selection

pytestmark = pytest.mark.usefixtures("nothing_declared")


def process(*names: str) -> None:
    for name in names:
        Bucket(name).processor(lambda batch: None)


def selected(*arguments: str) -> tuple[list[str], list[str]]:
    """The buckets that exist, and what the worker serves."""
    selection = Selection(arguments)
    return [bucket.name for bucket in selection.buckets], selection.serves.all


def test_without_an_argument_is_all_that_has_a_processor() -> None:
    process("orders", "carts")
    Bucket("views").append(1)
    assert selected() == (["carts", "orders"],) * 2


def test_without_any_processor() -> None:
    with pytest.raises(NoProcessor):
        Selection([])


def test_pattern_without_buckets_waits_for_some() -> None:
    process("tenant-*")
    assert selected() == ([], ["tenant-*"])


@pytest.mark.parametrize(
    ("arguments", "exist", "serves"),
    [
        ([], ["tenant-1", "tenant-2"], ["tenant-1", "tenant-2", "tenant-*"]),
        (["tenant-*"], ["tenant-1", "tenant-2"], ["tenant-1", "tenant-2", "tenant-*"]),
        (["tenant-2*"], ["tenant-2"], ["tenant-2", "tenant-2*"]),
        (["tenant-9*"], [], ["tenant-9*"]),
        (["tenant-1"], ["tenant-1"], ["tenant-1"]),
        (["tenant-7"], ["tenant-7"], ["tenant-7"]),
    ],
)
def test_of_a_pattern(arguments: list[str], exist: list[str], serves: list[str]) -> None:
    process("tenant-*")
    for name in ("tenant-1", "tenant-2", "other"):
        Bucket(name).append(1)
    assert selected(*arguments) == (exist, serves)


def test_accepts_later_buckets_that_match_an_argument_and_have_a_processor() -> None:
    process("tenant-*")
    selection = Selection(["tenant-2*"])
    assert [selection.accepts(name) for name in ("tenant-21", "tenant-3", "t2")] == [1, 0, 0]
    assert Selection([]).accepts("tenant-3")
    assert not Selection([]).accepts("other")


def test_argument_that_matches_nothing() -> None:
    process("orders")
    with pytest.raises(CommandError, match="No bucket matches 'carts\\*'"):
        Selection(["carts*"])


@pytest.mark.parametrize("name", ["ordres", "{x}", ""])
def test_name_that_nobody_knows(name: str) -> None:
    process("tenant-*", "orders")
    with pytest.raises(CommandError, match="No bucket matches"):
        Selection([name])


@pytest.mark.parametrize("count", [2, 20, 21])
def test_names_a_few_buckets_and_counts_many(count: int) -> None:
    names = sorted(f"b{number}" for number in range(count))
    process(*names)
    assert str(Selection([])) == ("21 buckets" if count == 21 else ", ".join(names))
