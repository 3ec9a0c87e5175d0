"""All operations of the store of a bucket, each with random arguments."""

import random
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.json_arrays import spans
from django_jsonbuffer.limits import Limits
from django_jsonbuffer.stamps import Stamp
from django_jsonbuffer.store import (
    dead_letters,
    deliveries,
    history,
    letter_groups,
    pending,
    permissions,
    registry,
    reports,
    status,
    statuses,
    workers,
)
from django_jsonbuffer.store.appends import size_of
from django_jsonbuffer.store.claims import Burial, Claim, Reason
from django_jsonbuffer.store.coroutines import finish
from django_jsonbuffer.store.links import BLOCKING
from django_jsonbuffer.store.patterns import Names
from django_jsonbuffer.store.store import Store
from django_jsonbuffer.store.traces import Run, Traces
from django_jsonbuffer.store.waiting import waiting

NOW: Final = timedelta(0)
SECOND: Final = timedelta(seconds=1)
LEASES: Final = [NOW, SECOND * 0.7, SECOND * 20, SECOND * 60]
TEXTS: Final = ["", "ValueError: no", "x" * 100, "KeyError: 'é%s/'", "HTTPError: 404, order 7é"]
CONTEXT: Final = f"{'1' * 32}-{'2' * 16}"
EVENTS: Final = [
    *(b"1", b'"x"', b"[]", b'{"a": [1, {}]}', b"12345678901234567890"),
    '"é€\\n"'.encode(),
]


class Operations:
    """Each method is one operation. It raises :class:`JSONBufferError` if it is refused."""

    def __init__(
        self, configuration: Configuration, chance: random.Random, tell: Callable[[str], None]
    ) -> None:
        """`tell` takes a line for the trace."""
        self.store = Store("orders", configuration)
        self._configuration = configuration
        self._chance = chance
        self._tell = tell
        self._claims: list[Claim] = []
        self._newest: str | None = None
        self._last_claimed: str | None = None
        self._sequences = Counter[str]()

    def append(self) -> None:
        chance = self._chance
        limits = Limits(
            batch_size=chance.choice([3, 3, 5, 1, None]),
            batch_bytes=chance.choice([1000, 1000, 30, 7]),
            max_pending=chance.choice([None, None, 6, 3]),
            max_pending_bytes=chance.choice([None, None, 60, 20]),
            overflow=chance.choice(["raise", "drop_newest", "drop_oldest"]),
            has_receipts=chance.random() < 0.1,
        )
        events = chance.choices(EVENTS, k=chance.choice([1, 1, 1, 2, 3, 8]))
        stamp, is_spilled = self._stamp(), chance.random() < 0.05
        self._tell(f"{len(events)} events, {limits}, {stamp}")
        traces = Traces((Run(CONTEXT, 0, len(events)),) if chance.random() < 0.3 else ())
        append = self.store.append_by(
            *(BLOCKING, events, stamp, limits),
            size=size_of(events),
            traces=traces,
            is_spilled=is_spilled,
        )
        if reported := finish(append):
            finish(reports.of_append(self.store.identity, reported, BLOCKING))

    def _stamp(self) -> Stamp:
        """Mostly the next one of a producer. At times an earlier one, or one of its copies."""
        producer = self._chance.choice(["p", "q"])
        self._sequences[producer] += self._chance.choice([1, 1, 1, 1, 1, 1, 0, -1])
        nonce = self._chance.choice(["", "", "", "a", "b"])
        return Stamp(producer, max(0, self._sequences[producer]), nonce)

    def seal(self) -> None:
        self._newest, _ = self.store.seal()

    def _worker(self) -> str:
        return self._chance.choice("abc")

    def claim(self) -> None:
        chance = self._chance
        linger = chance.choice([None, *[NOW] * 4, SECOND])
        bounds: dict[str, Any] = {"linger": linger, "prefers_new": chance.random() < 0.3}
        bounds["beats"] = chance.random() < 0.3
        if chance.random() < 0.3:
            bounds |= {"newest": self._newest, "after": self._last_claimed}
        found = self.store.claim(self._worker(), lease=chance.choice(LEASES), **bounds)
        self._tell(f"{found}")
        if found.claim is not None:
            self._claims.append(found.claim)
            self._last_claimed = chance.choice([None, found.claim.stream_id])

    def _a_claim(self) -> Claim:
        """Mostly one that its worker may still hold. At times one whose lease is lost."""
        if not self._claims:
            with suppress(JSONBufferError):
                self.append()
            self.claim()
        if not self._claims:
            return Claim(id="1-1-a", stream_id="1-1", worker="a", attempt=1, count=1, array=b"[1]")
        claim = self._chance.choice(self._claims[-3:])
        if self._chance.random() < 0.8:
            self._claims.remove(claim)
        return claim

    def ack(self) -> None:
        self.store.ack(self._a_claim())

    def renew(self) -> None:
        if self._claims:
            self.store.renew(self._chance.choice(self._claims))

    def release(self) -> None:
        chance, lease = self._chance, self._chance.choice(LEASES)
        self.store.release(
            self._a_claim(),
            lease=lease,
            backoff=chance.choice([NOW, lease / 3, lease]),
            reason=chance.choice([*Reason, Reason.OUTAGE, Reason.OUTAGE]),
            error=chance.choice(TEXTS),
            weight=chance.choice([0, 1, 20, 40]),
            is_by_exception=chance.random() < 0.3,
            pause=chance.choice([None, NOW, lease / 6, lease]),
        )

    def retry_now(self) -> None:
        ids = [batch.batch for batch in deliveries.read_deliveries(self.store, 100).batches]
        chosen = self._chance.choice([*ids, "5-5", "x", self._a_claim().stored_id])
        self._tell(f"{chosen} {deliveries.retry_now(self.store, chosen)}")

    def split(self) -> None:
        chance, claim = self._chance, self._a_claim()
        places = self._places(claim)
        if len(places) > 1:
            self.store.split(
                claim,
                places,
                at=chance.randrange(1, len(places)),
                keeps=chance.choice([0, 0, 1, 2]),
                deaths=chance.choice([0, 0, 1]),
                weight=chance.choice([0, 1, 20]),
                error=chance.choice(TEXTS),
            )

    def _places(self, claim: Claim) -> list[tuple[int, int]]:
        """None if another client has put something else there."""
        try:
            return spans(claim.array)
        except ValueError:
            return []

    def bury(self) -> None:
        claim = self._a_claim()
        burials = [
            Burial(*place, self._chance.choice(TEXTS), self._chance.choice(TEXTS), at)
            for at, place in enumerate(self._places(claim))
            if self._chance.random() < 0.6
        ]
        processed = self._chance.choice([0, claim.count - len(burials)])
        self.store.bury(claim, burials, processed=processed, failures=claim.failures)

    def beat(self) -> None:
        self.store.beat(self._worker(), lease=self._chance.choice(LEASES))

    def register(self) -> None:
        serves = self._chance.choice([None, Names(["orders"]), Names(["orders", "tenant-*"])])
        living = registry.register(self._worker(), serves, self._configuration)
        self._tell(f"{[(worker, names.all) for worker, names in living.items()]}")

    def look(self) -> None:
        self._tell(f"{waiting(['views', 'orders'], self._configuration)}")

    def retire(self) -> None:
        self.store.retire(self._worker(), lease=self._chance.choice(LEASES))

    def take(self) -> None:
        pending.take(self.store)

    def purge(self) -> None:
        pending.purge(self.store)

    def peek(self) -> None:
        limit, most = self._chance.choice([1, 3, 100]), self._chance.choice([0, 0, 7, 20])
        pending.peek(self.store, limit, most_bytes=most)

    def pause(self) -> None:
        pending.pause(self.store)

    def resume(self) -> None:
        pending.resume(self.store)

    def set_aside(self) -> None:
        pending.set_aside(self.store, self._chance.choices([b"{", b"\xff"], k=2), error="not JSON")

    def lose(self) -> None:
        finish(pending.count_lost(self.store, self._chance.choice([1, 5]), BLOCKING))

    def status(self) -> None:
        self._tell(f"{status.read_status(self.store)}")

    def catalog(self) -> None:
        """What the admin reads of all buckets."""
        names = [self.store.name, "other"]
        statuses.statuses(names, self._configuration)
        history.histories(names, self._configuration)
        workers.workers(names, self._configuration)

    def deliveries(self) -> None:
        deliveries.read_deliveries(self.store, self._chance.choice([1, 100]))

    def refusals(self) -> None:
        commands = ["XADD", "XGROUP|CREATE"]
        permissions.read_refusals(self._configuration, commands, [self.store.name])

    def _letters(self) -> list[str]:
        return dead_letters.dead_ids(self.store, 100, last="+")

    def _some(self, ids: Iterable[str]) -> list[str]:
        return [id for id in [*ids, "5-5"] if self._chance.random() < 0.5] or ["5-5"]

    def list_dead(self) -> None:
        chance, ids = self._chance, self._letters()
        first = chance.choice(["-", *(f"({id}" for id in ids)])
        most = chance.choice([0, 0, 3])
        dead_letters.list_dead(self.store, chance.choice([1, 2, 30]), first=first, most_bytes=most)
        dead_letters.newest_dead(self.store)
        dead_letters.find_dead(self.store, chance.choice([*ids, "5-5"]))

    def groups(self) -> None:
        self._tell(f"{letter_groups.list_groups([self.store])}")

    def _group(self) -> str:
        [groups] = letter_groups.list_groups([self.store])
        return self._chance.choice(["", "other", *(group.shape for group in groups)])

    def search(self) -> None:
        chance = self._chance
        group = chance.choice([None, self._group()])
        text = chance.choice(["", "", "VALUE", "é", "1", "-"])
        sought = letter_groups.Sought(group, text, in_events=chance.random() < 0.5)
        [portion] = letter_groups.search(
            [self.store],
            sought,
            chance.choice([1, 2, 30]),
            firsts=[chance.choice(["-", *(f"({id}" for id in self._letters())])],
            most_bytes=chance.choice([0, 0, 3]),
            most_looked_at=chance.choice([1, 2, 100]),
        )
        self._tell(f"{sought}: {portion}")

    def forget_group(self) -> None:
        last = self._chance.choice(["5-5", "(5-5", *self._letters()])
        letter_groups.forget_group(self.store, self._group(), last=last)

    def replay(self) -> None:
        dead_letters.replay(self.store, self._some(self._letters()))

    def discard(self) -> None:
        dead_letters.discard(self.store, self._some(self._letters()))

    def expire(self) -> None:
        most, age = self._chance.choice([None, 0, 2]), self._chance.choice([None, *LEASES])
        dead_letters.expire(self.store, max_dead=most, dead_after=age)
