from typing import Any

import pytest

from django_jsonbuffer.store.replies import (
    are_deliveries,
    are_found_letters,
    are_groups,
    are_letters,
    are_texts,
    shape_of,
)

DELIVERY = [b"1-0", b"worker", 1, 0, 0, 0, 0, b"", b""]


def test_shape_of_a_reply() -> None:
    assert shape_of(1) is int
    assert shape_of(None) is type(None)
    assert shape_of([]) == ()
    assert shape_of([1, b"x", None]) == (int, bytes, type(None))


@pytest.mark.parametrize("reply", [[], [b"a"], [b"a", b"b"]])
def test_texts(reply: Any) -> None:
    assert are_texts(reply)


@pytest.mark.parametrize("reply", [None, b"a", 1, {}, [b"a", 1], ["a"], [None]])
def test_other_replies_than_texts(reply: Any) -> None:
    assert not are_texts(reply)


@pytest.mark.parametrize("reply", [[], [[b"1-0", []]], [[b"1-0", [b"event", b"1"]]] * 2])
def test_letters(reply: Any) -> None:
    assert are_letters(reply)


@pytest.mark.parametrize(
    "reply",
    [
        *(None, b"a", 1, [b"1-0"], [[]], [[b"1-0"]], [[b"1-0", None]]),
        *([[1, [b"event", b"1"]]], [[b"1-0", [b"event"]]], [[b"1-0", [b"event", 1]]]),
    ],
)
def test_other_replies_than_letters(reply: Any) -> None:
    assert not are_letters(reply)


@pytest.mark.parametrize("reply", [[[], []], [[b"worker", 1], [DELIVERY]], [[], [DELIVERY] * 2]])
def test_deliveries(reply: Any) -> None:
    assert are_deliveries(reply)


@pytest.mark.parametrize(
    "reply",
    [
        *(None, b"a", 1, [], [[]], [[b"worker"], []], [[], [[]]], [[], [None]]),
        *([[], [DELIVERY[:-1]]], [[], [[*DELIVERY[:-1], None]]], [[], [], []]),
    ],
)
def test_other_replies_than_deliveries(reply: Any) -> None:
    assert not are_deliveries(reply)


GROUP = [b"KeyError: *", 3, b"1-0", b"2-0", b"x"]
LETTER = [b"1-0", [b"event", b"1"]]


@pytest.mark.parametrize("values", [[], GROUP, GROUP * 2])
def test_groups(values: Any) -> None:
    assert are_groups([3, b"", b"1-0", values])


@pytest.mark.parametrize("values", [None, GROUP[:-1], [*GROUP, b"x"], [*GROUP[:-1], 1], [GROUP]])
def test_other_replies_than_groups(values: Any) -> None:
    assert not are_groups([3, b"", b"1-0", values])
    assert not are_groups(values)


@pytest.mark.parametrize("letters", [[], [LETTER], [b"1-0", b"1-1"]])
def test_found_letters(letters: Any) -> None:
    assert are_found_letters([1, b"1-0", letters])


@pytest.mark.parametrize("letters", [None, [1], [LETTER, b"1-0"], [[b"1-0"]]])
def test_other_replies_than_found_letters(letters: Any) -> None:
    assert not are_found_letters([1, b"1-0", letters])
    assert not are_found_letters(letters)
