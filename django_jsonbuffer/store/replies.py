"""The shapes of replies, and checks of those that are lists of any length."""

from typing import Any, Final

_GROUP: Final = (bytes, int, bytes, bytes, bytes)
_DELIVERY: Final = (bytes, bytes, int, int, int, int, int, bytes, bytes)


def shape_of(reply: Any) -> type | tuple[type, ...]:
    """The types of the items of a list, or the type of any other reply."""
    return tuple(map(type, reply)) if type(reply) is list else type(reply)


def are_texts(reply: Any) -> bool:
    return type(reply) is list and all(type(text) is bytes for text in reply)


def are_numbers(reply: Any) -> bool:
    return type(reply) is list and all(type(number) is int for number in reply)


def are_lists(reply: Any) -> bool:
    return type(reply) is list and all(type(each) is list for each in reply)


def are_letters(reply: Any) -> bool:
    """Whether the reply is a list of dead letters: an id, and a list of names and values."""
    return type(reply) is list and all(
        shape_of(letter) == (bytes, list) and are_texts(letter[1]) and len(letter[1]) % 2 == 0
        for letter in reply
    )


def are_found_letters(reply: Any) -> bool:
    """Whether the reply is two values, and a list of dead letters or of their ids."""
    return shape_of(reply) == (int, bytes, list) and (are_letters(reply[2]) or are_texts(reply[2]))


def are_groups(reply: Any) -> bool:
    """Whether the reply is three values, and a list of groups of dead letters."""
    return shape_of(reply) == (int, bytes, bytes, list) and all(
        tuple(map(type, reply[3][at : at + 5])) == _GROUP for at in range(0, len(reply[3]), 5)
    )


def are_deliveries(reply: Any) -> bool:
    """Whether the reply is a list of workers and their heartbeats, and a list of deliveries."""
    return (
        shape_of(reply) == (list, list)
        and len(reply[0]) % 2 == 0
        and all(shape_of(delivery) == _DELIVERY for delivery in reply[1])
    )
