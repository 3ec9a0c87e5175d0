"""The store of a bucket in tests: notes what it stores, and fails where a test wants it to."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from django_jsonbuffer import declarations, isolation
from django_jsonbuffer.conf import Configuration, active_isolation
from django_jsonbuffer.isolation import Isolation
from django_jsonbuffer.limits import Limits
from django_jsonbuffer.stamps import Stamp
from django_jsonbuffer.store.appends import Outcome
from django_jsonbuffer.store.claims import Burial, Claim, Found
from django_jsonbuffer.store.links import Link
from django_jsonbuffer.store.scripts import Script
from django_jsonbuffer.store.store import Store

from .journal import journal_of

Watch = Callable[[str, Store, str], None]
"""Called with the name of a moment, the store, and the id of the batch, if there is one. It may
raise, as if a reply were lost or the worker died. The moments: ``append`` and ``ack`` are over in
Redis; ``claim``: a batch was claimed; ``commit``: a batch was processed and is to be acknowledged;
``run``: any script is to be run."""

watches: Final[list[Watch]] = []


class WatchedStore(Store):
    def __init__(self, name: str, configuration: Configuration, of: Isolation) -> None:
        super().__init__(name, configuration)
        self._journal = journal_of(of)

    async def append_by(
        self, link: Link, events: Sequence[bytes], stamp: Stamp, limits: Limits, **options: Any
    ) -> Outcome | None:
        outcome = await super().append_by(link, events, stamp, limits, **options)
        if not (outcome and outcome.dropped and limits.overflow == "drop_newest"):
            self._journal.note(self.name, events, stamp)
        self._tell("append")
        return outcome

    def claim(self, *args: Any, **options: Any) -> Found:
        found = super().claim(*args, **options)
        if found.claim is not None:
            self._tell("claim", found.claim.id)
        return found

    def ack(self, claim: Claim) -> Any:
        self._tell("commit", claim.id)
        result = super().ack(claim)
        self._tell("ack", claim.id)
        return result

    def bury(self, claim: Claim, burials: Sequence[Burial], **options: Any) -> Any:
        self._tell("commit", claim.id)
        result = super().bury(claim, burials, **options)
        self._tell("ack", claim.id)
        return result

    def run(self, script: Script, keys: list[str], *args: bytes | str | int) -> Any:
        self._tell("run")
        return super().run(script, keys, *args)

    def _tell(self, moment: str, batch: str = "") -> None:
        for watch in [*watches]:
            watch(moment, self, batch)


def _new_store(name: str, configuration: Configuration) -> Store:
    if (active := active_isolation()) is None:
        return Store(name, configuration)
    return WatchedStore(name, configuration, active)


declarations.new_store = _new_store
isolation.apply_again()  # the buckets may have other stores already
