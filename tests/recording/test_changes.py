from decimal import Decimal
from typing import Any

import pytest

from django_jsonbuffer.recording.changes import changes


@pytest.mark.parametrize(
    ("old", "new"),
    [(1, 1), (None, None), (Decimal("1.0"), Decimal("1.00")), ([1], [1]), ({"a": 1}, {"a": 1})],
)
def test_equal_values_are_none(old: Any, new: Any) -> None:
    assert changes({"a": old}, {"a": new}) == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (1, 2),
        (1, True),
        (1, 1.0),
        (0, False),
        (None, ""),
        ([1], [True]),
        ([1], [1.0]),
        ({"a": [0]}, {"a": [False]}),
        ([], {}),
    ],
)
def test_other_values_are_a_change(old: Any, new: Any) -> None:
    assert changes({"a": old, "b": 1}, {"a": new}) == {"a": {"old": old, "new": new}}
