"""Events that the endpoint refuses: where they are among others, and with which error."""

import random
from collections.abc import Callable
from typing import Any


def events_with(bad: set[int], total: int, kind_of: Callable[[int], str]) -> list[Any]:
    return [[number, kind_of(number)] if number in bad else number for number in range(total)]


def key_error(number: int) -> str:
    return "KeyError"


def own_class(number: int) -> str:
    return f"Error{number}"


def one_of_two(number: int) -> str:
    return ["KeyError", "TypeError"][number % 2]


def like_the_endpoint(number: int) -> str:
    return "RuntimeError"


def means_outage(number: int) -> str:
    return "OperationalError"


def at_random(share: float, total: int) -> set[int]:
    return set(random.Random(7).sample(range(total), round(total * share)))


def in_a_row(share: float, total: int) -> set[int]:
    return set(range(total // 3, total // 3 + round(total * share)))


def every_third(share: float, total: int) -> set[int]:
    return set(range(0, total, 3))
