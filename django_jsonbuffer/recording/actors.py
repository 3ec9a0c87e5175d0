"""Who makes the changes: the user of the request, or the user or name that the code gives."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from django.http import HttpRequest

from django_jsonbuffer.cloudevents import event_attributes
from django_jsonbuffer.exceptions import BufferMisconfigured

_find_actor: Final[ContextVar[Callable[[], Any]]] = ContextVar("find_actor", default=lambda: None)
"""Returns a user, a name, or None. A request finds its user late, because that takes queries."""


@contextmanager
def acting_as(who: Any, **attributes: str) -> Iterator[None]:
    """Within the block, recordings with ``actor=True`` name this user, or this name.

    For code outside of a request: commands, workers, shells, threads and tasks. `who` is a user
    (``authtype`` is ``app_user``, ``authid`` the primary key), a name such as ``"nightly-import"``
    (``service_account`` and the name), or None for nobody. The innermost block wins, and also
    overrides the user of the request. `attributes` are those of `event_attributes`. The block
    applies to the current thread or task, and to the tasks that it starts.

    Raises :class:`BufferMisconfigured` if `who` is neither a user, nor a name, nor None.
    """
    if who == "" or not (who is None or isinstance(who, str) or hasattr(who, "is_authenticated")):
        raise BufferMisconfigured(
            f"acting_as() takes a user, a name that is not empty, or None. It got {who!r:.60}."
        )
    with event_attributes(**attributes), _found_by(lambda: who):
        yield


@contextmanager
def remembered(request: HttpRequest) -> Iterator[None]:
    """Make the user of this request the actor within the block."""
    with _found_by(lambda: getattr(request, "user", None)):
        yield


@contextmanager
def _found_by(find: Callable[[], Any]) -> Iterator[None]:
    token = _find_actor.set(find)
    try:
        yield
    finally:
        _find_actor.reset(token)


def actor() -> dict[str, str]:
    """The actor at the moment, as attributes of a CloudEvent.

    Empty if there is none, and for a user who is not logged in or is deleted.

    Source: https://github.com/cloudevents/spec/blob/main/cloudevents/extensions/authcontext.md
    """
    who = _find_actor.get()()
    if isinstance(who, str):
        return {"authtype": "service_account", "authid": who}
    pk = getattr(who, "pk", None)
    if pk is None or not getattr(who, "is_authenticated", False):
        return {}
    return {"authtype": "app_user", "authid": str(pk)}
