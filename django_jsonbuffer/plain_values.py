"""Values of JSON's own types, in place of instances of their subclasses.

Each encoder reads subclasses in its own way. orjson ignores ``items`` of a dict subclass and
``__iter__`` of a list subclass, so it would write the errors of a form as empty lists. ``json``
ignores ``items`` if the dict itself is empty, and takes the text of a ``str`` Enum for its value.
Therefore neither encoder gets a subclass.
"""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Any, Final
from uuid import UUID

_OWN_TYPES: Final = (dict, list, tuple, str, int, float)

_AS_THEY_ARE: Final = frozenset(
    {
        *(str, int, float, bool, NoneType),
        *(datetime, date, time, timedelta, Decimal, UUID),
    }
)
"""Types that hold no other value. Their subclasses are not in here."""


def as_plain(value: Any) -> Any:
    """The same value, with subclasses of JSON's own types replaced at every level.

    A dict becomes what its ``items()`` returns. A list or tuple becomes what its iterator returns.
    A text or number keeps what the base class holds, whatever its methods return. An Enum that is
    one of these becomes its value. Every other object stays as it is, for the encoder's
    ``default``. The argument is not changed.
    """
    return value if is_plain(value) else _replaced(value)


def is_plain(value: Any) -> bool:
    """Whether the value holds no instance of such a subclass, so nothing must be replaced."""
    kind = type(value)
    if kind is dict:
        values = value.values()
    elif kind is list or kind is tuple:
        values = value
    else:
        return kind in _AS_THEY_ARE or not isinstance(value, _OWN_TYPES)
    for each in values:  # noqa: SIM110  (all() with a generator takes twice as long)
        if type(each) not in _AS_THEY_ARE and not is_plain(each):
            return False
    return True


def _replaced(value: Any) -> Any:
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, Enum) and isinstance(value, _OWN_TYPES):
        return _replaced(value.value)
    if isinstance(value, dict):
        return {key: _replaced(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(each) for each in value]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    return float.__float__(value) if isinstance(value, float) else value
