"""Appends by the script of the version before, as during a deployment."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from django_jsonbuffer.limits import Limits
from django_jsonbuffer.stamps import REMEMBERED, Stamp
from django_jsonbuffer.store import appends, calls
from django_jsonbuffer.store.keys import PRODUCER
from django_jsonbuffer.store.scripts import APPEND, MILLISECOND, Script
from tests import store as store_tests

if TYPE_CHECKING:
    from tests.faults.schedules import Network


class EarlierScript(Script):
    """A script of the version before, with its own text."""

    def __init__(self, name: str, *replies: Any) -> None:
        self.name = name
        self.replies = frozenset(replies)
        self.check = None
        self.source = Path(*store_tests.__path__, "earlier", f"{name}.lua").read_text()
        self.sha = hashlib.sha1(self.source.encode()).hexdigest()


EARLIER_APPEND: Final = EarlierScript("append", *APPEND.replies)


class EarlierStore:
    """The appends of the version before, over the same network."""

    def __init__(self, network: "Network") -> None:
        self._network = network
        self.producer_keys: set[str] = set()

    def append(self, events: Sequence[bytes], stamp: Stamp, limits: Limits) -> None:
        keys, (producer, sequence, nonce) = self._network.keys, stamp
        counts, splices = appends.splices(events, appends.size_of(events), limits)
        sizes = (limits.batch_size or 0, limits.batch_bytes)
        caps = (limits.max_pending or 0, limits.max_pending_bytes or 0, limits.overflow)
        # The judge learns the producer from the nonce, because the script has it in a key.
        its = (sequence, f"{producer}_{nonce}", calls.new_token(), counts, *splices)
        self.producer_keys.add(key := f"{keys.open}{PRODUCER}{producer}")
        all_keys = [keys.open, keys.batches, keys.dead, keys.stats, keys.attempts, key]
        args = (REMEMBERED // MILLISECOND, *sizes, *caps, *its)
        reply = self._network.send(EARLIER_APPEND, all_keys, *args)
        if reply != b"stored":
            appends.outcome(reply, events, self._network.name)
