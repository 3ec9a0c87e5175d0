"""A seeded search for schedules in which the scripts break a promise: the network, the workers, the
producers and the server fail in any order, and the memory of the server is full at times.

A schedule is a random sequence of steps. Its seed determines all of it. Producers and workers are
as simple as possible, and every command is one of :class:`Store`. Between them and the server is a
network that loses requests and replies, and delivers late copies. After each command that the
server has carried out, a judge compares the contents of Redis with those before.

``python -m tests.faults.schedules SEED`` prints one schedule step by step.
"""

import copy
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, Final, NamedTuple

from django_jsonbuffer.appending.producers import Producer
from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.exceptions import BucketFull, BufferOutOfMemory, LeaseLost
from django_jsonbuffer.json_arrays import spans
from django_jsonbuffer.options import Limits
from django_jsonbuffer.stamps import Stamp
from django_jsonbuffer.store import catalog_entries, dead_letters, pending, scripts
from django_jsonbuffer.store.claims import Burial, Claim
from django_jsonbuffer.store.scripts import Script
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from tests.server import Redis

LEASE: Final = timedelta(hours=1)
ENDED: Final = timedelta(0)
"""Lease of a claim for which all earlier leases have ended."""

BATCH_SIZE: Final = 3

OBSERVE: Final = """
local pending = redis.pcall('XPENDING', KEYS[2], 'drain', '-', '+', 1000)
return {
  redis.call('GET', KEYS[1]), redis.call('XRANGE', KEYS[2], '-', '+'),
  redis.call('XRANGE', KEYS[3], '-', '+'), pending.err and {} or pending,
}
"""


class Lost(Exception):
    """No reply came to a command."""


class Violation(AssertionError):
    """A promise was broken."""


def check(holds: object, promise: str) -> None:
    if not holds:
        raise Violation(promise)


@dataclass
class State:
    """The contents of Redis. Events are numbers, and only one call appends each number."""

    open: list[int]
    batches: dict[str, list[int]]
    dead: dict[str, int]

    @property
    def row(self) -> list[int]:
        """All pending events, in their order."""
        return [event for events in self.batches.values() for event in events] + self.open

    @property
    def all(self) -> list[int]:
        return [*self.row, *self.dead.values()]


@dataclass
class Batch:
    """The judge's record of a batch, without its events."""

    holder: str | None = None
    attempt: int = 0
    is_backing_off: bool = False
    failures: int = 0
    deaths: int = 0
    outages: int = 0
    processed: int | None = None
    """How many events had been processed at its last outage."""


@dataclass
class Past:
    """The history of the server. When the server is set back, its history is set back too."""

    stored: dict[Stamp, list[int]] = field(default_factory=dict)
    dropped: dict[Stamp, list[int]] = field(default_factory=dict)
    """Events that an append dropped, as the newest ones."""
    last: dict[str, Stamp] = field(default_factory=dict)
    """The last sequence number of each producer."""
    batches: dict[str, Batch] = field(default_factory=dict)
    gone: Counter[str] = field(default_factory=Counter)
    """Number of events by what became of them."""
    oldest: set[int] = field(default_factory=set)
    """Events that were dropped as the oldest ones, taken, purged or discarded."""
    is_paused: bool = False


class Outcome(NamedTuple):
    """The result that an append should have had."""

    outcome: str
    row: list[int]
    open: list[int]
    dropped: list[int]


class AppendCall(NamedTuple):
    """The arguments of the script."""

    producer: str
    remembered_ms: int
    batch_size: int
    batch_bytes: int
    max_pending: int
    max_pending_bytes: int
    overflow: str
    sequence: int
    nonce: str
    parts: list[list[int]]
    """The events of each splice."""

    @property
    def stamp(self) -> Stamp:
        return Stamp(self.producer, self.sequence, self.nonce)

    @property
    def events(self) -> list[int]:
        return [event for part in self.parts for event in part]

    def expected(self, before: State, held: set[str], *, last: Stamp | None) -> Outcome:
        unchanged = Outcome("repeated", before.row, before.open, [])
        if last is not None and self.sequence <= last.sequence:
            return unchanged if last == self.stamp else unchanged._replace(outcome="overtaken")
        batches, open_, dropped = dict(before.batches), [*before.open], list[int]()
        free = [id for id in batches if id not in held]
        while not self._fits(batches, open_, held):
            if self.overflow == "drop_newest":
                return unchanged._replace(outcome="dropped", dropped=self.events)
            if self.overflow == "raise" or not (free or open_):
                return unchanged._replace(outcome="full")
            if free:
                dropped += batches.pop(free.pop(0))
            else:
                dropped, open_ = dropped + open_, []
        sealed = [n for events in batches.values() for n in events]
        for part in self.parts:
            if open_ and (
                len(open_) + len(part) > self.batch_size
                or size(open_) + size(part) - 1 > self.batch_bytes
            ):
                sealed, open_ = sealed + open_, []
            open_ = open_ + part
            if len(open_) >= self.batch_size or size(open_) >= self.batch_bytes:
                sealed, open_ = sealed + open_, []
        return Outcome("stored", sealed + open_, open_, dropped)

    def _fits(self, batches: dict[str, list[int]], open_: list[int], held: set[str]) -> bool:
        pending = len(open_) + sum(len(batches[id]) for id in batches if id not in held)
        count = len(self.events)
        total = size(open_) + sum(map(size, batches.values())) + sum(size(p) for p in self.parts)
        return not (
            (self.max_pending and pending + count > self.max_pending)
            or (self.max_pending_bytes and total > self.max_pending_bytes)
        )


def size(events: list[int]) -> int:
    """Bytes of the events as a batch, which are as many as those of a splice."""
    return len(json.dumps(events, separators=(",", ":"))) if events else 0


class Network(Store):
    """A store whose requests and replies may be lost. The judge sees each command carried out."""

    def __init__(self, name: str, configuration: Configuration, judge: "Judge") -> None:
        super().__init__(name, configuration)
        # The catalog is not written by a script.
        catalog_entries.written.add(self.identity)
        self._judge = judge
        self.chance = random.Random(0)
        self.is_faulty = True
        self.sent: list[tuple[Script, list[str], tuple[Any, ...]]] = []

    def run(self, script: Script, keys: list[str], *args: Any) -> Any:
        return self._send(script, keys, *args)

    def run_once(self, script: Script, keys: list[str], *args: Any, **options: Any) -> Any:
        return self._send(script, keys, *args)

    def _send(self, script: Script, keys: list[str], *args: Any) -> Any:
        self.sent.append((script, keys, args))
        fate = self.chance.random() if self.is_faulty else 1.0
        if fate < 0.08:
            raise Lost("request")
        reply = self._carry_out(script, keys, *args)
        if fate < 0.2:
            raise Lost("reply")
        return reply

    def deliver_late_copy(self) -> None:
        if self.sent:
            script, keys, args = self.chance.choice(self.sent)
            with suppress(Lost):
                self._carry_out(script, keys, *args)

    def _carry_out(self, script: Script, keys: list[str], *args: Any) -> Any:
        try:
            run = super().run_once if script is scripts.APPEND else super().run
            reply = run(script, keys, *args)
        except BufferOutOfMemory:
            self._judge.hear_of_refusal(script)
            raise Lost("refused") from None
        self._judge.hear(script, keys, args, reply)
        return reply


class Judge:
    """Compares the contents of Redis before and after each command."""

    def __init__(self, plain: Redis, tell: Callable[[str], None]) -> None:
        self.past = Past()
        self.state = State([], {}, {})
        self.contents: dict[str, list[int]] = {}
        """Events of every batch there ever was, also of those before the server was set back."""
        self.processed: set[tuple[str, str]] = set()
        """Pairs of worker and batch id."""
        self.events_processed: set[int] = set()
        self._plain = plain
        self._observe = plain.register_script(OBSERVE)
        self._tell = tell
        self.keys: list[str] = []
        self.is_full = False
        """Whether the server has no memory left."""

    def hear_of_refusal(self, script: Script) -> None:
        check(self.is_full, "a server with memory refused")
        check(script in (scripts.APPEND, scripts.REPLAY), f"a full server refused to {script.name}")
        check(self.look() == self.state, "what was refused changed something")

    def look(self) -> State:
        open_, batches, dead, pending = self._observe(keys=self.keys)
        self.pending = {id.decode(): worker.decode() for id, worker, _, _ in pending}
        return State(
            json.loads(open_) if open_ else [],
            {id.decode(): json.loads(fields[1]) for id, fields in batches},
            {id.decode(): json.loads(fields[1]) for id, fields in dead},
        )

    def hear(self, script: Script, keys: list[str], args: Sequence[Any], reply: Any) -> None:
        before, after = self.state, self.look()
        self._tell(f"    {script.name} {_shown(args)} -> {_shown([reply])}")
        self._tell(f"        {after.open} {after.batches} dead {after.dead}")
        check(len(set(after.all)) == len(after.all), "an event lies in two places")
        for id, events in after.batches.items():
            check(events, "a batch is empty")
            known = self.contents.setdefault(id, events)
            check(known == events, f"batch {id} has other events than before")
        rule: Callable[..., None] = getattr(self, f"_after_{script.name}", self._after_nothing)
        if script is scripts.APPEND:
            args = [keys[-1].rpartition(":")[2], *args]
        rule(before, after, args, reply)
        self.state = after
        for id in after.batches:
            self.past.batches.setdefault(id, Batch())
        for id in [id for id in self.past.batches if id not in after.batches]:
            del self.past.batches[id]

    def _after_nothing(self, before: State, after: State, args: Any, reply: Any) -> None:
        check(before.row == after.row, "events were moved")
        check(before.dead == after.dead, "dead letters were changed")

    def _after_append(self, before: State, after: State, args: Any, reply: Any) -> None:
        producer, limits, sequence, nonce, _, _, *splices = args
        parts = [json.loads(b"[" + splice[1:]) for splice in splices]
        call = AppendCall._make([producer, *limits.args, int(sequence), nonce.decode(), parts])
        held = {id for id in before.batches if self._is_held(id)}
        expected = call.expected(before, held, last=self.past.last.get(call.producer))
        outcome, *_, dropped = reply if isinstance(reply, list) else (reply, 0)
        check(outcome.decode() == expected.outcome, f"an append was not {expected.outcome}")
        check(dropped == len(expected.dropped), "what was dropped was counted wrong")
        check(after.row == expected.row, "an append was not whole, or not at the end")
        check(after.open == expected.open, "a batch was sealed too early, or too late")
        check(before.dead == after.dead, "dead letters were changed")
        if outcome in (b"stored", b"dropped"):
            check(call.stamp not in self.past.stored, "an append was stored twice")
            self.past.last[call.producer] = call.stamp
        if outcome == b"stored":
            self.past.stored[call.stamp] = call.events
            self.past.oldest |= set(expected.dropped)
            self.past.gone["oldest"] += dropped
        elif outcome == b"dropped":
            self.past.dropped[call.stamp] = call.events
            self.past.gone["newest"] += dropped

    def _after_claim(self, before: State, after: State, args: Any, reply: Any) -> None:
        worker, lease_ms, linger_ms, behind, _ = args
        self._after_nothing(before, after, args, reply)
        for id in after.batches:
            self.past.batches.setdefault(id, Batch())
        rubbish, *found = reply
        check(rubbish == 0, "an event was taken for rubbish")
        have_ended = int(lease_ms) == 0
        if self.past.is_paused:
            own = [id for id, batch in self.past.batches.items() if batch.holder == worker]
            check(
                bool(found) == bool(own), "a paused bucket was drained, or what a worker holds kept"
            )
            check(not found or found[0].decode() in own, "a paused bucket was drained")
        if not found:
            if behind == "-" and not self.past.is_paused:
                for batch in self.past.batches.values():
                    waits = batch.is_backing_off and not have_ended
                    is_free = batch.holder in (None, worker) and not waits
                    check(not is_free, "a batch that nobody holds was not found")
                check(linger_ms < 0 or not after.open, "the open batch was not found")
            return
        id, attempt, count, array, failures, deaths, outages = found
        batch = self.past.batches[id.decode()]
        events = after.batches[id.decode()]
        check(json.loads(array) == events, "another batch was delivered than lies there")
        check(count == len(events), "the events of a batch were counted wrong")
        if batch.holder != worker:
            is_free = batch.holder is None and not batch.is_backing_off
            check(is_free or have_ended, "a batch was delivered before its lease had ended")
            batch.deaths += batch.holder is not None
            batch.attempt += 1
        check(attempt == batch.attempt, "deliveries were counted wrong")
        check(deaths == batch.deaths, "deaths were counted wrong")
        check(failures == batch.failures, "failures were counted wrong")
        check(outages == batch.outages, "outages were counted wrong")
        batch.holder, batch.is_backing_off = worker, False

    def _after_pause(self, before: State, after: State, args: Any, reply: Any) -> None:
        self._after_nothing(before, after, args, reply)
        check(reply == (not self.past.is_paused), "a pause was told wrong")
        self.past.is_paused = True

    def _after_resume(self, before: State, after: State, args: Any, reply: Any) -> None:
        self._after_nothing(before, after, args, reply)
        check(reply == self.past.is_paused, "the end of a pause was told wrong")
        self.past.is_paused = False

    def _is_held(self, id: str) -> bool:
        batch = self.past.batches.get(id)
        return batch is not None and batch.holder is not None

    def _fence(self, before: State, args: Any, reply: Any) -> Batch | None:
        """The batch if the command was carried out, else None. Only its holder may change it."""
        worker, id, attempt = args[:3]
        batch = self.past.batches.get(id)
        may = (
            id in before.batches
            and batch is not None
            and (batch.holder, batch.attempt)
            == (
                worker,
                attempt,
            )
        )
        check(bool(reply) == may, "a fence let through, or kept back, whom it should not")
        return batch if reply else None

    def _after_renew(self, before: State, after: State, args: Any, reply: Any) -> None:
        self._fence(before, args, reply)
        self._after_nothing(before, after, args, reply)

    def _after_release(self, before: State, after: State, args: Any, reply: Any) -> None:
        self._after_nothing(before, after, args, reply)
        if batch := self._fence(before, args, reply):
            batch.holder, batch.is_backing_off = None, int(args[4]) == 0
            batch.failures += args[5]
            if not args[5]:
                processed = self.past.gone["processed"]
                batch.outages += batch.processed not in (None, processed)
                batch.processed = processed

    def _after_retire(self, before: State, after: State, args: Any, reply: Any) -> None:
        self._after_nothing(before, after, args, reply)
        held = [batch for batch in self.past.batches.values() if batch.holder == args[0]]
        check(reply == len(held), "not all was released that a worker held")
        for batch in held:
            batch.holder, batch.is_backing_off = None, False

    def _after_ack(self, before: State, after: State, args: Any, reply: Any) -> None:
        worker, id = args[:2]
        check(before.dead == after.dead, "dead letters were changed")
        if self._fence(before, args, reply):
            check((worker, id) in self.processed, "a batch was acked that its worker has not done")
            kept = {key: events for key, events in before.batches.items() if key != id}
            check(after == State(before.open, kept, before.dead), "an ack removed something else")
            self.past.gone["processed"] += len(before.batches[id])
        else:
            check(after == before, "an ack in vain changed something")

    def _after_split(self, before: State, after: State, args: Any, reply: Any) -> None:
        id = args[1]
        if not self._fence(before, args, reply):
            check(after == before, "a split in vain changed something")
            return
        halves = [key for key in after.batches if key not in before.batches]
        check(len(halves) == 2, "a split made no two halves")
        left, right = (after.batches[half] for half in halves)
        check(left + right == before.batches[id], "the halves are not the whole")
        check(abs(len(left) - len(right)) <= 1, "the halves are none")
        kept = [key for key in before.batches if key != id]
        check([*after.batches] == kept + halves, "a split moved another batch")
        check(after.open == before.open, "a split changed the open batch")
        check(after.dead == before.dead, "dead letters were changed")
        for half in halves:
            self.past.batches[half] = Batch(failures=args[7], deaths=args[8], outages=args[9])

    def _after_bury(self, before: State, after: State, args: Any, reply: Any) -> None:
        worker, id, _, processed = args[:4]
        if not self._fence(before, args, reply):
            check(after == before, "a burial in vain changed something")
            return
        check((worker, id) in self.processed, "a batch was buried that its worker has not done")
        letters = {key: event for key, event in after.dead.items() if key not in before.dead}
        places = spans(json.dumps(before.batches[id], separators=(",", ":")).encode())
        buried = [at for at, place in enumerate(places) if place[0] + 1 in args[5::4]]
        check(
            [*letters.values()] == [before.batches[id][at] for at in buried],
            "other events were buried than asked for",
        )
        kept = {key: events for key, events in before.batches.items() if key != id}
        check((after.open, after.batches) == (before.open, kept), "a burial removed something else")
        self.past.gone["processed"] += processed
        self.past.gone["buried"] += len(letters)

    def _after_replay(self, before: State, after: State, args: Any, reply: Any) -> None:
        _, *ids = args
        moved = [before.dead[id] for id in ids if id in before.dead]
        check(reply == len(moved), "a replay was counted wrong")
        check(sorted(after.row) == sorted(before.row + moved), "a replay is not what was asked for")
        check(
            after.dead == {id: n for id, n in before.dead.items() if id not in ids},
            "a replay changed other dead letters",
        )
        self.past.gone["replayed"] += reply

    def _after_discard(self, before: State, after: State, args: Any, reply: Any) -> None:
        check(before.row == after.row, "events were moved")
        gone = {id: n for id, n in before.dead.items() if id in args}
        check(reply == len(gone), "what was discarded was counted wrong")
        kept = {id: n for id, n in before.dead.items() if id not in gone}
        check(after.dead == kept, "a discard changed other dead letters")
        self.past.oldest |= set(gone.values())
        self.past.gone["discarded"] += reply

    def _after_take(self, before: State, after: State, args: Any, reply: Any) -> None:
        counter, _, limit = args
        kept = {id: events for id, events in before.batches.items() if self._is_held(id)}
        gone = [n for n in before.row if n not in after.row]
        check(before.dead == after.dead, "dead letters were changed")
        check(reply[1] == len(gone), "what was taken was counted wrong")
        if limit == 0:
            check((after.open, after.batches) == ([], kept), "not all was taken that is pending")
            if counter == "processed":
                taken = [n for array in reply[3] for n in json.loads(array)]
                check(taken == gone, "other events were taken than removed")
        self.past.oldest |= set(gone)
        self.past.gone[counter] += len(gone)


class Appending:
    """A producer. It makes call after call, and repeats each until it is decided or given up."""

    def __init__(self, run: "Schedule") -> None:
        self._run = run
        self._producer = Producer()
        self._call: Call | None = None

    def step(self) -> None:
        if self._call is None:
            self._call = Call(self._producer.next_stamp(), self._run.new_events())
        if self._call.send(self._run) or self._run.chance.random() < 0.2:
            if not self._call.is_decided:
                # Given up until the end of the schedule. The producer is not used again.
                self._run.undecided.append(self._call)
                self._producer = Producer()
            self._call = None

    def crash(self) -> None:
        self._producer, self._call = Producer(), None


class Call:
    """One append, with the limits of the schedule each time it is sent."""

    def __init__(self, stamp: Stamp, events: list[int]) -> None:
        self.stamp = stamp
        self.events = events
        self.is_decided = False
        self._may_be_done = False

    def send(self, run: "Schedule", *, is_last: bool = False) -> bool:
        """Send the append. Returns whether it is decided."""
        encoded = [str(number).encode() for number in self.events]
        try:
            run.store.append(
                encoded,
                self.stamp,
                Limits(
                    batch_size=BATCH_SIZE,
                    batch_bytes=run.batch_bytes,
                    max_pending=None if is_last else run.max_pending,
                    max_pending_bytes=None if is_last else run.max_pending_bytes,
                    overflow=run.overflow,
                ),
            )
        except Lost:
            self._may_be_done = True
            return False
        except BucketFull:
            if self._may_be_done:
                return False
            check(self.stamp not in run.judge.past.stored, "what was refused is stored")
            self.is_decided = True
            return True
        past = run.judge.past
        check(self.stamp in past.stored or self.stamp in past.dropped, "confirmed and not stored")
        self.is_decided = True
        run.confirmed[self.stamp] = self.events
        return True


class Working:
    """A worker. It claims a batch, processes it, and ends it in one of all possible ways."""

    def __init__(self, run: "Schedule", name: str) -> None:
        self._run = run
        self._name = name
        self._claim: Claim | None = None

    def step(self) -> None:
        try:
            if self._claim is None:
                self._claim = self._claimed()
            else:
                self._go_on(self._claim)
        except Lost:
            self._claim = None
        except LeaseLost:
            self._claim = None

    def crash(self) -> None:
        """Go on under another name. The batch that it held may still be acked late."""
        self._name += "'"
        if self._run.chance.random() < 0.5:
            self._claim = None

    def _claimed(self, *, lease: timedelta = LEASE) -> Claim | None:
        chance = self._run.chance
        lease = ENDED if chance.random() < 0.25 else lease
        linger = None if chance.random() < 0.2 else timedelta(0)
        claim, _ = self._run.store.claim(self._name, lease=lease, linger=linger, after=None)
        return claim

    def _go_on(self, claim: Claim) -> None:
        store, chance = self._run.store, self._run.chance
        what = chance.choice(["ack"] * 4 + ["fail", "release", "split", "bury", "renew", "retire"])
        self._run.tell(f"  {self._name}: {what} {claim.id}")
        if what == "renew":
            store.renew(claim)
            return
        if what in ("ack", "bury"):
            self._process(claim)
        if what == "split" and claim.count > 1:
            store.split(
                claim,
                spans(claim.array),
                failures=claim.failures + 1,
                deaths=min(claim.deaths, 2),
                outages=claim.outages,
            )
        elif what == "bury":
            places = [place for place in spans(claim.array) if chance.random() < 0.5]
            burials = [Burial(*place, "no") for place in places]
            processed = claim.count - len(burials)
            store.bury(claim, burials, processed=processed, failures=claim.failures)
        elif what == "retire":
            store.retire(self._name, lease=LEASE)
        elif what == "ack":
            store.ack(claim)
        else:
            backoff = LEASE if chance.random() < 0.5 else timedelta(0)
            store.release(claim, lease=LEASE, backoff=backoff, failed=what == "fail")
        self._claim = None

    def _process(self, claim: Claim) -> None:
        judge = self._run.judge
        judge.processed.add((claim.worker, claim.id))
        judge.events_processed |= set(json.loads(claim.array))

    def finish(self) -> bool:
        """Claim and ack one batch, whatever its lease. False when there is none."""
        claim, _ = self._run.store.claim(self._name, lease=ENDED, linger=timedelta(0), after=None)
        if claim is None:
            return False
        self._process(claim)
        self._run.store.ack(claim)
        return True


@dataclass
class Snapshot:
    """The state to which a server returns that loses its last writes."""

    keys: dict[str, tuple[bytes, int]]
    past: Past
    confirmed: set[Stamp]


class Schedule:
    """One sequence of steps, determined by its seed."""

    def __init__(self, plain: Redis, configuration: Configuration, seed: int) -> None:
        self.chance = random.Random(seed)
        self._plain = plain
        self._trace: list[str] = []
        self.judge = Judge(plain, self.tell)
        self.store = Network(f"s{seed}", configuration, self.judge)
        self.store.chance = self.chance
        self._direct = Store(self.store.name, configuration)
        keys = self.store.keys
        self.judge.keys = [keys.open, keys.batches, keys.dead]
        self.batch_bytes = self.chance.choice([1000, 1000, 7, 10])
        self.max_pending = self.chance.choice([None, None, None, 6, 12])
        self.max_pending_bytes = self.chance.choice([None, None, None, 15, 30])
        self.overflow = self.chance.choice(["raise", "drop_newest", "drop_oldest"])
        self.undecided: list[Call] = []
        self.confirmed: dict[Stamp, list[int]] = {}
        self.lost: set[Stamp] = set()
        """Stamps of appends that were confirmed, and that the server then lost."""
        self._events = 0
        self._snapshot: Snapshot | None = None
        self._producers = [Appending(self) for _ in range(2)]
        self._workers = [Working(self, name) for name in "abc"]

    def tell(self, line: str) -> None:
        self._trace.append(line)

    @property
    def trace(self) -> str:
        return "\n".join(self._trace)

    def new_events(self) -> list[int]:
        count = self.chance.choice([1, 1, 1, 2, 3, 5, 7])
        self._events += count
        return [*range(self._events - count, self._events)]

    def run(self) -> None:
        """Run all steps, and delete all keys. Raises :class:`Violation`."""
        try:
            for _ in range(self.chance.randint(10, 40)):
                self._step()
            self._finish()
        finally:
            self._make_room()
            self._plain.delete(*self._keys())

    def _step(self) -> None:
        what = self.chance.choices(*zip(*STEPS.items(), strict=True))[0]
        self.tell(what)
        getattr(self, f"_{what}")()

    def _append(self) -> None:
        self.chance.choice(self._producers).step()

    def _work(self) -> None:
        self.chance.choice(self._workers).step()

    def _retry(self) -> None:
        if self.undecided:
            call = self.chance.choice(self.undecided)
            if call.send(self):
                self.undecided.remove(call)

    def _crash(self) -> None:
        actors: list[Appending | Working] = [*self._producers, *self._workers]
        self.chance.choice(actors).crash()

    def _late_copy(self) -> None:
        self.store.deliver_late_copy()

    def _look_after(self) -> None:
        """Do one of the things that people do now and then."""
        ids = [*self.judge.state.dead]
        some = [id for id in ids if self.chance.random() < 0.5]
        call = self.chance.choice(
            [
                *("take", "purge", "seal", "replay", "replay", "discard", "beat"),
                *("pause", "resume", "resume"),
            ]
        )
        self.tell(f"  {call}")
        try:
            if call in ("replay", "discard"):
                if some:
                    getattr(dead_letters, call)(self.store, some)
            elif call == "beat":
                self.store.beat("a")
            elif call == "seal":
                self.store.seal()
            else:
                getattr(pending, call)(self.store)
        except Lost:
            return

    def _fill(self) -> None:
        self._plain.config_set("maxmemory", 1)
        self.judge.is_full = True

    def _make_room(self) -> None:
        if self.judge.is_full:
            self._plain.config_set("maxmemory", 0)
            self.judge.is_full = False

    def _restart(self) -> None:
        self._plain.script_flush()

    def _save(self) -> None:
        self._make_room()  # MULTI needs memory in some versions
        with self._plain.pipeline(transaction=True) as pipeline:
            keys = self._keys()
            for key in keys:
                pipeline.dump(key)
                pipeline.pttl(key)
            found = pipeline.execute()
        self._snapshot = Snapshot(
            {
                key: (dumped, max(ttl, 0))
                for key, dumped, ttl in zip(keys, found[::2], found[1::2], strict=True)
                if dumped is not None
            },
            copy.deepcopy(self.judge.past),
            set(self.confirmed),
        )

    def _set_back(self) -> None:
        """Set the server back to the last snapshot, as if a crash had lost its last writes."""
        if self._snapshot is None:
            return
        self._make_room()
        with self._plain.pipeline(transaction=True) as pipeline:
            pipeline.delete(*self._keys())
            for key, (dumped, ttl) in self._snapshot.keys.items():
                pipeline.restore(key, ttl, dumped)
            pipeline.execute()
        self.judge.past = copy.deepcopy(self._snapshot.past)
        self.lost |= self.confirmed.keys() - self._snapshot.confirmed
        self.judge.state = self.judge.look()
        # A real restart takes more than a millisecond, so the times of ids never repeat.
        time.sleep(0.002)

    def _count(self) -> None:
        """Compare the counters and the status of the bucket with its contents."""
        status = read_status(self._direct)
        state, past = self.judge.state, self.judge.past
        held = {id for id, batch in past.batches.items() if batch.holder is not None}
        in_flight = sum(len(events) for id, events in state.batches.items() if id in held)
        check(status.in_flight == in_flight, "events in flight are counted wrong")
        check(status.pending == len(state.row) - in_flight, "pending events are counted wrong")
        check(status.dead == len(state.dead), "dead letters are counted wrong")
        check(status.batches == len(state.batches) + bool(state.open), "batches are counted wrong")
        arrays = [*state.batches.values(), *([state.open] if state.open else [])]
        check(status.bytes == sum(map(size, arrays)), "bytes are counted wrong")
        gone = past.gone
        expired = 0  # no schedule has a retention
        told = (gone["newest"], gone["oldest"], gone["purged"], gone["discarded"], expired)
        check(tuple(status.dropped) == told, "what was dropped is counted wrong")
        self._peek([events for id, events in state.batches.items() if id not in held])
        self._list_dead([*state.dead.items()])

    def _peek(self, sealed: list[list[int]]) -> None:
        limit, shown = self.chance.randint(1, 12), list[list[int]]()
        for events in [*sealed, self.judge.state.open]:
            if events and sum(map(len, shown)) < limit:
                shown.append(events)
        found = [json.loads(array) for array in pending.peek(self._direct, limit)]
        check(found == shown, "other events are shown than the oldest")

    def _list_dead(self, dead: list[tuple[str, int]]) -> None:
        store, limit = self._direct, self.chance.randint(1, 5)
        first = [
            (letter.id, int(letter.fields["event"]))
            for letter in dead_letters.list_dead(store, limit)
        ]
        check(first == dead[:limit], "other dead letters are listed than the oldest")
        newest = dead_letters.newest_dead(store)
        check(newest == (dead[-1][0] if dead else None), "the newest dead letter is another")
        if newest is None:
            return
        at = self.chance.randrange(len(dead))
        behind = dead_letters.list_dead(store, limit, after=dead[at][0])
        check(
            [letter.id for letter in behind] == [id for id, _ in dead[at + 1 : at + 1 + limit]],
            "other dead letters are listed than those behind",
        )
        until = dead_letters.dead_ids(store, 1000, last=dead[at][0])
        check(until == [id for id, _ in dead[: at + 1]], "other ids are listed than asked for")

    def _finish(self) -> None:
        """End all faults, and drain: every stored event is processed, and nothing is left."""
        self.tell("faults are over")
        self.store.is_faulty = False
        self._make_room()
        pending.resume(self.store)
        self._count()
        for call in self.undecided:
            call.send(self, is_last=True)
        worker = Working(self, "last")
        while worker.finish():
            pass
        if self.judge.state.dead:
            dead_letters.replay(self.store, [*self.judge.state.dead])
        while worker.finish():
            pass
        self._count()
        check(not self.judge.state.all, "something is left for ever")
        past = self.judge.past
        accounted = self.judge.events_processed | past.oldest
        for stamp, events in self.confirmed.items():
            if stamp in self.lost and stamp not in past.stored:
                continue
            if stamp not in past.dropped:
                check(set(events) <= accounted, "a confirmed event was lost")
        for stamp, events in past.stored.items():
            check(set(events) <= accounted, f"an event of {stamp} was lost")
        self._check_totals()

    def _check_totals(self) -> None:
        keys, past = self.store.keys, self.judge.past
        totals = {name.decode(): value for name, value in self._plain.hgetall(keys.stats).items()}
        appended = sum(map(len, past.stored.values()))
        expected = {"appended": appended, "sealed": 0, "claimed": 0, "sealed_bytes": 0, **past.gone}
        expected["dropped"] = 0
        for reason in ("newest", "oldest", "purged", "discarded"):
            expected["dropped"] += expected.get(reason, 0)
            expected[f"dropped_{reason}"] = expected.pop(reason, 0)
        for name, number in expected.items():
            check(int(totals.get(name, 0)) == number, f"the counter {name} is wrong")
        check(not self._plain.exists(keys.attempts), "attempts of batches that are gone are kept")
        if self._plain.exists(keys.batches):
            check(
                self._plain.xpending(keys.batches, "drain")["pending"] == 0,
                "a delivery is pending of a batch that is gone",
            )

    def _keys(self) -> list[str]:
        keys = self.store.keys
        producers = {sent[1][-1] for sent in self.store.sent if sent[0] is scripts.APPEND}
        return [
            *(getattr(keys, field.name) for field in fields(keys)),
            *sorted(producers),
        ]


STEPS: Final = {
    "append": 30,
    "work": 40,
    "late_copy": 8,
    "retry": 5,
    "crash": 4,
    "look_after": 5,
    "save": 3,
    "set_back": 2,
    "fill": 1.5,
    "make_room": 3,
    "restart": 0.3,
    "count": 4,
}
"""The steps, and how likely each is."""


def _shown(values: Sequence[Any]) -> str:
    text = repr([value.decode() if isinstance(value, bytes) else value for value in values])
    return text if len(text) < 200 else f"{text[:200]}…"


def search(plain: Redis, configuration: Configuration, seeds: Sequence[int]) -> None:
    """Raises :class:`Violation` for the first schedule in which a promise is broken."""
    for seed in seeds:
        schedule = Schedule(plain, configuration, seed)
        try:
            schedule.run()
        except Violation as violation:
            raise Violation(
                f"{violation}. To see how: python -m {__spec__.name} {seed}"
            ) from violation


def main(seed: int) -> None:
    """Run one schedule, and print its steps."""
    import redis
    from django.conf import settings

    from tests import server

    settings.configure(
        CACHES={"own": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.URL}}
    )
    with redis.Redis.from_url(server.URL) as plain:
        schedule = Schedule(plain, Configuration(cache="own", prefix="told"), seed)
        try:
            schedule.run()
        finally:
            print(schedule.trace)


if __name__ == "__main__":
    main(int(sys.argv[1]))
