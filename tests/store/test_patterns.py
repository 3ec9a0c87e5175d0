import random
from collections.abc import Iterable

import pytest

from django_jsonbuffer.store import patterns as module
from django_jsonbuffer.store.patterns import Names, OptionsByName, is_pattern, matches


@pytest.mark.parametrize("name", ["tenant-*", "*", "a*b*", "*.views", "tenant-*" + "x" * 90])
def test_is_a_pattern(name: str) -> None:
    assert is_pattern(name)


@pytest.mark.parametrize("name", ["tenant-1", "", "a b*", "{*}", "-*", None, 7, "*" + "x" * 100])
def test_is_no_pattern(name: object) -> None:
    assert not is_pattern(name)


@pytest.mark.parametrize(
    ("name", "pattern", "does"),
    [
        ("tenant-1", "tenant-*", True),
        ("tenant-", "tenant-*", True),
        ("tenant", "tenant-*", False),
        ("my-tenant-1", "tenant-*", False),
        ("Tenant-1", "tenant-*", False),
        ("a.b.c", "a.*.c", True),
        ("axb", "a.b", False),
        ("orders", "orders", True),
    ],
)
def test_matches(name: str, pattern: str, does: bool) -> None:
    assert matches(name, pattern) is does


def matching_by_the_rule(names: Iterable[str], name: str) -> list[str]:
    """The rule in its plainest form: look at each name."""
    found = [each for each in names if matches(name, each)]
    return sorted(found, key=lambda each: (each == name, len(each.replace("*", "")), each))


def test_the_most_specific_comes_last() -> None:
    names = Names(["tenant-*", "tenant-42", "*", "tenant-4*", "orders*"])
    assert names.matching("tenant-42") == ["*", "tenant-*", "tenant-4*", "tenant-42"]


@pytest.mark.parametrize(
    ("names", "name", "found"),
    [
        (["b*", "*b"], "b", ["*b", "b*"]),  # equally long: in the order of their text
        (["*42", "tenant-*"], "tenant-42", ["*42", "tenant-*"]),
        (["a**c", "a*"], "abc", ["a*", "a**c"]),
        (["abcd*", "a*"], "ab", ["a*"]),
        (["a*", "a*b*"], "a*", ["a*"]),  # the name of a pattern
        (["a*", "*"], "a*", ["*", "a*"]),
        (["a[bc]*", "a?*", "a*"], "ab", ["a*", "a?*", "a[bc]*"]),
        (["a[b*"], "a[bc", ["a[b*"]),
        ([], "a", []),
    ],
)
def test_most_specific_in_rare_cases(names: list[str], name: str, found: list[str]) -> None:
    assert Names(names).matching(name) == found == matching_by_the_rule(names, name)


@pytest.mark.parametrize("seed", range(20))
def test_rule_is_the_same_with_many_names(seed: int) -> None:
    chance = random.Random(seed)

    def text(letters: str) -> str:
        return "".join(chance.choices(letters, k=chance.randint(1, 5)))

    names = [*{text("aab-*" if chance.random() < 0.9 else "ab*?[]") for _ in range(200)}]
    some = Names(names)
    found = 0
    for name in [*(text("ab-") for _ in range(100)), *names]:
        expected = matching_by_the_rule(names, name)
        assert some.matching(name) == expected
        assert (name in some) is bool(expected)
        found += len(expected)
    assert found > 1000


def test_only_patterns_that_begin_like_the_name_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[str] = []

    def look(name: str, pattern: str) -> bool:
        looked.append(pattern)
        return matches(name, pattern)

    monkeypatch.setattr(module, "matches", look)
    numbers = range(100, 1000)
    names = Names([f"b{n}" for n in numbers] + [f"tenant-{n}-*" for n in numbers] + ["*"])
    assert names.matching("b100") == ["*", "b100"]
    assert names.matching("tenant-500-orders") == ["*", "tenant-500-*"]
    assert sorted(looked) == ["*", "*", "tenant-500-*"]


def test_options_of_the_most_specific_win_one_by_one() -> None:
    options = OptionsByName({"ab": {"x": 1}, "*": {"x": 3, "y": 3, "z": 3}, "a*": {"y": 2}})
    assert options.of("ab") == {"x": 1, "y": 2, "z": 3}
    assert options.of("a") == {"x": 3, "y": 2, "z": 3}
    assert options.of("b") == {"x": 3, "y": 3, "z": 3}
    assert OptionsByName({"a": {"x": 1}}).of("b") == {}


def test_names_contain_what_a_pattern_matches() -> None:
    names = Names(["orders", "tenant-*"])
    assert "orders" in names
    assert "tenant-7" in names
    assert "tenant-*" in names
    assert "views" not in names
    assert names.patterns == ["tenant-*"]


def test_shortened_names_are_the_same_buckets() -> None:
    names = Names(["tenant-1", "tenant-*", "orders", "tenant-2*", "carts"])
    assert names.shortened().all == ["tenant-*", "orders", "tenant-2*", "carts"]
