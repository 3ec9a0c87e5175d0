"""Random interleavings of producers, workers and other clients, compared with a model."""

import json
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.exceptions import LeaseLost
from django_jsonbuffer.json_arrays import spans
from django_jsonbuffer.limits import Limits
from django_jsonbuffer.store import pending
from django_jsonbuffer.store.claims import Claim
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from tests import seed, server
from tests.server import Redis
from tests.stamps import next_stamp

BATCH_SIZE = 4
LEASE = timedelta(hours=1)
EXPIRED = timedelta(0)

# Only values that the merging client does not change. It would turn [] into {}.
EVENTS = st.lists(
    st.integers(0, 200) | st.sampled_from(["x", 'y"],[', "\\"]) | st.just({"k": [1]}), max_size=9
)


def encoded(events: list[Any]) -> list[bytes]:
    return [json.dumps(event, separators=(",", ":")).encode() for event in events]


def size(events: list[Any]) -> int:
    return len(json.dumps(events, separators=(",", ":"))) if events else 0


@dataclass
class ModelBatch:
    events: list[Any]
    holder: str | None = None
    attempt: int = 0
    is_backing_off: bool = False
    is_piece: bool = False

    @property
    def is_delivered(self) -> bool:
        return self.is_piece or self.attempt > 0

    @property
    def is_pending(self) -> bool:
        return self.holder is None


@dataclass
class Model:
    open: list[Any] = field(default_factory=list)
    batches: list[ModelBatch] = field(default_factory=list)
    dead: int = 0
    rubbish: bool = False

    def seal(self) -> None:
        if self.open:
            self.batches.append(ModelBatch(self.open))
            self.open = []

    def find_rubbish(self) -> None:
        self.dead += self.rubbish
        self.rubbish = False

    def append(self, events: list[Any]) -> None:
        self.find_rubbish()
        for start in range(0, len(events), BATCH_SIZE):
            portion = events[start : start + BATCH_SIZE]
            if len(self.open) + len(portion) > BATCH_SIZE:
                self.seal()
            self.open = [*self.open, *portion]
            if len(self.open) >= BATCH_SIZE:
                self.seal()

    def claim(self, worker: str, *, lease: timedelta, lingers: bool) -> ModelBatch | None:
        if not lingers:
            self.find_rubbish()
        held = [batch for batch in self.batches if batch.holder == worker]
        if held:
            return held[0]
        delivered = [
            batch
            for batch in self.batches
            if batch.is_delivered
            and (lease == EXPIRED or (batch.is_pending and not batch.is_backing_off))
        ]
        fresh = [batch for batch in self.batches if not batch.is_delivered]
        if not delivered and not fresh:
            if lingers or not self.open:
                return None
            self.seal()
            fresh = self.batches[-1:]
        untried = [batch for batch in delivered if batch.attempt == 0]
        batch = (untried or delivered or fresh)[0]
        batch.holder = worker
        batch.attempt += 1
        return batch

    def pending(self) -> list[Any]:
        sealed = [event for batch in self.batches if batch.is_pending for event in batch.events]
        return [*sealed, *self.open]


class Interleavings(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.prefix = f"test-{secrets.token_hex(8)}"
        self.store = Store("orders", Configuration(prefix=self.prefix))
        self.plain: Redis = redis.Redis.from_url(server.URL)
        self.model = Model()
        self.workers = ["a", "b", "c"]
        self.claims: dict[str, tuple[Claim, ModelBatch]] = {}
        self.stale: list[Claim] = []

    def teardown(self) -> None:
        """All remaining events come out whole and in order. Then nothing is left."""
        if hasattr(self, "model"):
            rest = [event for array in pending.take(self.store) for event in json.loads(array)]
            assert rest == self.model.pending()
            self.plain.delete(*self.plain.keys(f"{self.prefix}:*"), "none")
            self.plain.close()

    @rule(events=EVENTS)
    def append(self, events: list[Any]) -> None:
        if events:
            self.store.append(
                encoded(events), next_stamp(), Limits(batch_size=BATCH_SIZE, batch_bytes=10_000)
            )
            self.model.append(events)

    @rule(events=EVENTS)
    def merge_from_outside(self, events: list[Any]) -> None:
        if not self.model.rubbish:
            seed.merge(self.plain, self.store.keys.open, events)
            self.model.open = [*self.model.open, *events]

    @rule()
    def take_from_outside(self) -> None:
        value = seed.get_and_delete(self.plain, self.store.keys.open)
        if self.model.rubbish:
            self.model.rubbish = False
        elif self.model.open:
            assert value is not None
            assert json.loads(value) == self.model.open
        self.model.open = []

    @precondition(lambda self: not self.model.open)
    @rule(rubbish=st.sampled_from(["[1,2", "null", '{"a":1}', "[1]]", b'["\xff"]', '["\n"]']))
    def spoil_from_outside(self, rubbish: Any) -> None:
        self.plain.set(self.store.keys.open, rubbish)
        self.model.rubbish = True

    @rule(empty=st.sampled_from(["", "[]", "[ ]", "{}", " \n"]))
    def empty_from_outside(self, empty: str) -> None:
        if not self.model.open and not self.model.rubbish and empty.strip():
            self.plain.set(self.store.keys.open, empty)

    @rule(before=st.sampled_from(["", " ", "\n\t"]), after=st.sampled_from([" ", "\r\n"]))
    def pad_from_outside(self, before: str, after: str) -> None:
        if self.model.open:
            value = self.plain.get(self.store.keys.open)
            assert isinstance(value, bytes)
            self.plain.set(self.store.keys.open, before.encode() + value + after.encode())

    @rule()
    def seal(self) -> None:
        self.store.seal()
        self.model.find_rubbish()
        self.model.seal()

    @rule(
        number=st.integers(0, 2),
        lease=st.sampled_from([LEASE, LEASE, EXPIRED]),
        lingers=st.booleans(),
    )
    def claim(self, number: int, lease: timedelta, lingers: bool) -> None:
        worker = self.workers[number]
        linger = LEASE if lingers else timedelta(0)
        claim, foreign, *_ = self.store.claim(worker, lease=lease, linger=linger)
        assert foreign == self.model.rubbish
        self.model.find_rubbish()
        batch = self.model.claim(worker, lease=lease, lingers=lingers)
        if batch is None:
            assert claim is None
            return
        assert claim is not None
        assert json.loads(claim.array) == batch.events
        assert claim.attempt == batch.attempt
        for other, (lost, lost_batch) in list(self.claims.items()):
            if lost_batch is batch and other != worker:
                self.stale.append(lost)
                del self.claims[other]
        self.claims[worker] = (claim, batch)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        claim, batch = self.claims.pop(data.draw(st.sampled_from(sorted(self.claims))))
        self.store.ack(claim)
        self.stale.append(claim)
        self.model.batches.remove(batch)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), backs_off=st.booleans())
    def release(self, data: st.DataObject, backs_off: bool) -> None:
        claim, batch = self.claims.pop(data.draw(st.sampled_from(sorted(self.claims))))
        backoff = LEASE if backs_off else timedelta(0)
        self.store.release(claim, lease=LEASE, backoff=backoff)
        self.stale.append(claim)
        batch.holder, batch.is_backing_off = None, backs_off

    @precondition(lambda self: any(claim.count > 1 for claim, _ in self.claims.values()))
    @rule(data=st.data(), keeps=st.integers(0, 2))
    def split(self, data: st.DataObject, keeps: int) -> None:
        """Replaces the batch by two pieces. The worker may keep one, and gets it next."""
        large = sorted(name for name, (claim, _) in self.claims.items() if claim.count > 1)
        worker = data.draw(st.sampled_from(large))
        claim, batch = self.claims.pop(worker)
        at = data.draw(st.integers(1, claim.count - 1))
        places = spans(claim.array)
        self.store.split(claim, places, at=at, keeps=keeps)
        self.stale.append(claim)
        self.model.batches.remove(batch)
        for number, events in enumerate((batch.events[:at], batch.events[at:]), start=1):
            piece = ModelBatch(events, is_piece=True)
            if number == keeps:
                piece.holder, piece.attempt = worker, 1
            self.model.batches.append(piece)

    @rule(number=st.integers(0, 2))
    def crash(self, number: int) -> None:
        """A worker goes on under another name. Its batch may be acked late, or its lease ends."""
        self.workers[number] = f"{self.workers[number]}'"

    @precondition(lambda self: self.stale)
    @rule(data=st.data(), is_ack=st.booleans())
    def late_copy(self, data: st.DataObject, is_ack: bool) -> None:
        claim = data.draw(st.sampled_from(self.stale))
        try:
            if is_ack:
                self.store.ack(claim)
            else:
                self.store.release(claim, lease=LEASE, backoff=LEASE)
        except LeaseLost:
            return
        raise AssertionError("a late copy was obeyed")

    @rule(number=st.integers(0, 2))
    def retire(self, number: int) -> None:
        """Releases the batch that the worker holds, so that it can be claimed at once."""
        worker = self.workers[number]
        self.store.retire(worker, lease=LEASE)
        if worker in self.claims:
            self.stale.append(self.claims.pop(worker)[0])
        for batch in self.model.batches:
            if batch.holder == worker:
                batch.holder, batch.is_backing_off = None, False

    @rule()
    def lose_counters(self) -> None:
        self.plain.delete(self.store.keys.stats)

    @rule(field=st.sampled_from(["sealed", "claimed", "sealed_bytes"]))
    def spoil_a_counter(self, field: str) -> None:
        self.plain.hset(self.store.keys.stats, field, "-1")

    @rule(field=st.sampled_from(["open", "opened", "since"]))
    def spoil_what_is_noted(self, field: str) -> None:
        self.plain.hset(self.store.keys.appends, field, "-1")

    @precondition(lambda self: any(not batch.is_delivered for batch in self.model.batches))
    @rule()
    def delete_a_batch_from_outside(self) -> None:
        ids = [id for id, _ in self.plain.xrange(self.store.keys.batches)]
        at = next(at for at, batch in enumerate(self.model.batches) if not batch.is_delivered)
        self.plain.xdel(self.store.keys.batches, ids[at])
        del self.model.batches[at]

    @rule()
    def take(self) -> None:
        taken = [event for array in pending.take(self.store) for event in json.loads(array)]
        self.model.find_rubbish()
        assert taken == self.model.pending()
        self.forget_pending()

    @rule()
    def purge(self) -> None:
        count = pending.purge(self.store)
        self.model.find_rubbish()
        assert count == len(self.model.pending())
        self.forget_pending()

    def forget_pending(self) -> None:
        self.model.open = []
        self.model.batches = [batch for batch in self.model.batches if not batch.is_pending]

    @rule(limit=st.integers(1, 20))
    def peek(self, limit: int) -> None:
        seen = [event for array in pending.peek(self.store, limit) for event in json.loads(array)]
        assert seen[:limit] == self.model.pending()[:limit]

    @invariant()
    def status_tells_the_truth(self) -> None:
        status = read_status(self.store)
        batches = self.model.batches
        in_flight = [batch for batch in batches if not batch.is_pending]
        assert status.pending == len(self.model.pending())
        assert status.in_flight == sum(len(batch.events) for batch in in_flight)
        assert status.batches == len(batches) + bool(self.model.open)
        assert status.bytes == sum(size(batch.events) for batch in batches) + size(self.model.open)
        assert status.dead == self.model.dead
        assert (status.oldest is None) == (not self.model.pending())


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
