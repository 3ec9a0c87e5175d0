"""The source is as simple as it can be. Whether it is right is in test_expressions.py."""

import pytest

from django_jsonbuffer.memory_redis.lua.code import Code, boolean, compared, listed

UNKNOWN = Code("x")
CALL = Code("f()", is_open=True)
TEXT = Code("b'a'", "text")
NUMBER = Code("5", "number")
NIL = Code("None", "nil")


def test_one_value_of_a_call() -> None:
    assert (UNKNOWN.one, CALL.one) == ("x", "first(f())")


def test_only_the_last_of_a_list_may_have_several_values() -> None:
    assert listed([]) == ""
    assert listed([CALL, CALL]) == "first(f()), *spread(f()), "


def test_numbers_are_not_converted() -> None:
    assert (UNKNOWN.number, CALL.number, NUMBER.number) == (
        *("number(x)", "number(first(f()))", "5"),
    )


def test_conditions() -> None:
    assert UNKNOWN.condition == "is_true(x)"
    assert boolean("(1 < 2)").condition == "(1 < 2)"


@pytest.mark.parametrize(
    ("left", "operator", "right", "text"),
    [
        *((UNKNOWN, "==", UNKNOWN, "equal(x, x)"), (UNKNOWN, "==", NUMBER, "equal(x, 5)")),
        *((UNKNOWN, "==", TEXT, "(x == b'a')"), (TEXT, "~=", UNKNOWN, "(not (b'a' == x))")),
        *((UNKNOWN, "==", NIL, "(x is None)"), (boolean("a"), "==", UNKNOWN, "(a is x)")),
        *((NUMBER, "==", NUMBER, "(5 == 5)"), (NUMBER, "==", NIL, "equal(5, None)")),
        *((NUMBER, "<", NUMBER, "(5 < 5)"), (NUMBER, "<=", UNKNOWN, "at_most(5, x)")),
        *((TEXT, ">", TEXT, "more(b'a', b'a')"), (CALL, ">=", NUMBER, "at_least(first(f()), 5)")),
    ],
)
def test_comparisons(left: Code, operator: str, right: Code, text: str) -> None:
    assert compared(operator, left, right) == boolean(text)
