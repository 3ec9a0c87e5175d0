import pytest

from django_jsonbuffer.store.patterns import Names, is_pattern, matches, matching


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


def test_the_most_specific_comes_last() -> None:
    patterns = ["tenant-*", "tenant-42", "*", "tenant-4*", "orders*"]
    assert matching(patterns, "tenant-42") == ["*", "tenant-*", "tenant-4*", "tenant-42"]


def test_names_contain_what_a_pattern_matches() -> None:
    names = Names(["orders", "tenant-*"])
    assert "orders" in names
    assert "tenant-7" in names
    assert "tenant-*" in names
    assert "views" not in names
    assert names.patterns == ["tenant-*"]
