"""The Lua scripts, and what each may reply."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from types import NoneType
from typing import Any, Final

from .replies import (
    are_deliveries,
    are_found_letters,
    are_groups,
    are_letters,
    are_lists,
    are_numbers,
    are_texts,
)
from .script_files import assemble

MILLISECOND: Final = timedelta(milliseconds=1)
"""The unit of time in which scripts count."""

Shape = type | tuple[type, ...]
"""The type of a reply, or the types of the items of a list."""


class Script:
    """One operation: its text, and the shapes that its reply may have.

    The text is read when the script is created, which is at import, because a worker that runs
    during an upgrade must not load files of the other version later.
    """

    def __init__(
        self, name: str, *replies: Shape, check: Callable[[Any], bool] | None = None
    ) -> None:
        self.name = name
        self.replies = frozenset(replies)
        self.check = check
        """Whether a reply of another shape is valid as well. It is for lists of any length."""
        self.source = assemble(name)
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


APPEND: Final = Script("append", bytes, (bytes, int, int, int))
SEAL: Final = Script("seal", (bytes, int), (NoneType, int))
CLAIM: Final = Script(
    "claim",
    (int, int, bytes),
    (
        *(int, bytes, bytes, int, int, bytes, *[int] * 3),
        *(bytes, int, int, bytes, int, bytes, bytes, int),
    ),
)
ACK: Final = Script("ack", (), (int,))
RELEASE: Final = Script("release", (), (int, int))
RETRY_NOW: Final = Script("retry_now", int)
RENEW: Final = Script("renew", int)
SPLIT: Final = Script("split", int)
BURY: Final = Script("bury", (), (int,))
BEAT: Final = Script("beat", int)
RETIRE: Final = Script("retire", int)
REGISTER: Final = Script("register", check=are_texts)
WAITING: Final = Script("waiting", check=are_numbers)
TAKE: Final = Script("take", (int, int, int, list))
SET_ASIDE: Final = Script("set_aside", int)
PEEK: Final = Script("peek", check=are_texts)
STATUS: Final = Script("status", (*[int] * 26, bytes, int), (int,))
STATUSES: Final = Script("statuses", check=are_lists)
NOTE_COUNT: Final = Script("note_count", int)
DELIVERIES: Final = Script("deliveries", check=are_deliveries)
PAUSE: Final = Script("pause", int)
RESUME: Final = Script("resume", int)
LOSE: Final = Script("lose", int)
LIST_DEAD: Final = Script("list_dead", check=are_letters)
LIST_DEAD_IDS: Final = Script("list_dead", check=are_texts)
LIST_DEAD_GROUPS: Final = Script("list_dead_groups", check=are_groups)
SEARCH_DEAD: Final = Script("search_dead", check=are_found_letters)
FORGET_GROUP: Final = Script("forget_group", int)
REPLAY: Final = Script("replay", int)
DISCARD: Final = Script("discard", (int, int))
EXPIRE: Final = Script("expire", int)
REFUSALS: Final = Script("refusals", check=are_numbers)
