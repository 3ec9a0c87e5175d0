"""Values that a signal before a change keeps for the signal after it.

They are kept on the instance, because both signals get it. They disappear with the instance.
"""

from typing import Any, Final

from django.db.models import Model

_ATTRIBUTE: Final = "_jsonbuffer"


def keep(instance: Model, owner: object, value: Any) -> None:
    """Keep the value until `take` is called for the same owner."""
    # Each owner has a stack: a receiver may change the same instance between the two signals.
    stacks = instance.__dict__.setdefault(_ATTRIBUTE, {})
    stacks.setdefault(id(owner), []).append(value)


def take(instance: Model, owner: object) -> Any:
    """Remove and return the value that was kept last, or None."""
    stacks = instance.__dict__.get(_ATTRIBUTE, {})
    stack = stacks.get(id(owner))
    value = stack.pop() if stack else None
    if not stack:
        stacks.pop(id(owner), None)
    if not stacks:
        instance.__dict__.pop(_ATTRIBUTE, None)
    return value
