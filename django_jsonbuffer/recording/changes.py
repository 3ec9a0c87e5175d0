"""The difference between two rows."""

import json
from collections.abc import Mapping
from typing import Any

from .values import Values


def changes(before: Mapping[str, Any], after: Values) -> Values:
    """The old and the new value of each field that changed."""
    found: Values = {}
    for attname, new in after.items():
        old = before.get(attname, new)
        if old is not new and (old != new or _differ_in_json(old, new)):
            found[attname] = {"old": old, "new": new}
    return found


def _differ_in_json(old: Any, new: Any) -> bool:
    """Whether equal values differ in JSON. In Python, 1, True and 1.0 are equal."""
    if isinstance(new, list | dict):
        return _text(old) != _text(new)
    return type(old) is not type(new) and isinstance(new, bool | int | float)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
