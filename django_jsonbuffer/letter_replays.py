"""Replays dead letters in batches."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from .exceptions import InvalidEvent
from .letters import DeadLetter
from .options import Options
from .store import dead_letters as stored
from .store.keys import split_shard
from .store.store import Store

_PAGE: Final = 100


@dataclass(slots=True)
class _Portion:
    """Dead letters of one shard that are replayed in one call."""

    ids: list[str] = field(default_factory=list)
    size: int = 0


def replay(letters: Iterable[DeadLetter], store: Store, options: Options) -> int:
    """Replay each shard in batches that are at most as large as those of the bucket.

    `store` is one of the stores of the bucket. Returns how many were replayed.
    """
    portions: dict[int, _Portion] = defaultdict(_Portion)
    replayed = 0
    for letter in letters:
        id, shard = split_shard(letter.id)
        portion = portions[shard]
        is_full = len(portion.ids) == (options.batch_size or _PAGE)
        size = portion.size + len(letter.raw)
        if portion.ids and (is_full or size > options.batch_bytes):
            replayed += stored.replay(store.of_shard(shard), portion.ids)
            portion = portions[shard] = _Portion()
        portion.ids.append(id)
        portion.size += len(letter.raw) + 1
    return replayed + sum(
        stored.replay(store.of_shard(shard), portion.ids) for shard, portion in portions.items()
    )


def holds_an_event(letter: DeadLetter) -> bool:
    """Whether the dead letter is JSON, so that it can be replayed."""
    try:
        letter.event  # noqa: B018
    except InvalidEvent:
        return False
    return True
