"""The judge of the schedules: it compares the contents of Redis before and after each command.

The judge knows what each command should do. It keeps its own record of the bucket, and it knows
the true time, which the clock of the server does not always show.
"""

import json
import math
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any, Final, NamedTuple

from django_jsonbuffer.json_arrays import spans
from django_jsonbuffer.stamps import Stamp
from django_jsonbuffer.store import scripts
from django_jsonbuffer.store.claims import batch_id, position
from django_jsonbuffer.store.scripts import MILLISECOND, Script
from tests.faults.contexts import Contexts
from tests.faults.identities import Identities, identities_of
from tests.server import Redis

LEASE: Final = timedelta(seconds=30)
LEASE_MS: Final = LEASE // MILLISECOND

MINUTE_MS: Final = 60_000

SHORTEST_OUTAGE_MS: Final = 10_000
"""How long workers must have waited until what failed meanwhile is not suspected any more."""

MOST_DEATHS_IN_OUTAGE: Final = 3
"""Deaths that are counted while nothing succeeds."""

OBSERVE: Final = """
local pending = redis.pcall('XPENDING', KEYS[2], 'drain', '-', '+', 1000)
return {
  redis.call('GET', KEYS[1]), redis.call('XRANGE', KEYS[2], '-', '+'),
  redis.call('XRANGE', KEYS[3], '-', '+'), pending.err and {} or pending, redis.call('TIME'),
  redis.call('HMGET', KEYS[4], 'server', 'opened', 'origin', 'traces'),
}
"""


_NOTICED_SECONDS: Final = 15
"""A step of the clock by more than this is noticed."""


class Violation(AssertionError):
    """A promise was broken."""


def check(holds: object, promise: str) -> None:
    if not holds:
        raise Violation(promise)


REJECTED: Final = "rejected"
"""The error of events that the processor rejects. They need not have failed before."""


@dataclass
class State:
    """The contents of Redis. Events are numbers, and only one call appends each number."""

    open: list[int]
    batches: dict[str, list[int]]
    """By the id in the stream."""
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

    id: str
    """The public id, with the token."""

    is_piece: bool = False
    is_untried: bool = False
    """Whether Redis knows it as a piece that nobody has tried."""
    holder: str | None = None
    attempt: int = 0
    is_ready: bool | None = True
    """Whether a worker can claim it at once. None if the judge does not know."""
    idle: float = 0
    """Seconds for which it had been idle when it was released."""
    failures: int = 0
    deaths: int = 0
    successes: int | None = None
    """The successes of the bucket at its first failure."""
    has_changed: bool = False
    """Whether its error has changed since the last failure that was counted."""
    is_outlived: bool = False
    """Whether others have succeeded since its first failure."""
    renewed: float = 0
    """When its lease or its backoff last began, by the true time."""
    steps: int = 0
    """How often the clock had been set by then."""


class Source(Enum):
    """Where a claim looks for a batch."""

    FRESH = "fresh"
    """Batches that were never delivered."""
    PIECE = "a piece"
    """Pieces of split batches that nobody has tried."""
    READY = "ready"
    """Batches whose backoff is over."""


@dataclass
class Outage:
    """The judge's record of the failures in a row."""

    failed: int = 0
    alone: int = 0
    is_on: bool = False
    is_told: bool = False
    """Whether a worker has logged it."""
    since_ms: int = 0
    by: str = ""
    retry_ms: int = 0
    tries: int = 0


@dataclass
class Past:
    """The history of the server. When the server is set back, its history is set back too."""

    stored: dict[Stamp, list[int]] = field(default_factory=dict)
    dropped: dict[Stamp, list[int]] = field(default_factory=dict)
    """Events that an append dropped, as the newest ones."""
    events: set[int] = field(default_factory=set)
    """All events that were stored or dropped."""
    last: dict[str, Stamp] = field(default_factory=dict)
    """The last append of each producer."""
    batches: dict[str, Batch] = field(default_factory=dict)
    """By the id in the stream."""
    gone: Counter[str] = field(default_factory=Counter)
    """Number of events by what became of them."""
    oldest: set[int] = field(default_factory=set)
    """Events that were dropped as the oldest ones, taken, purged or discarded."""
    is_paused: bool = False
    outage: Outage = field(default_factory=Outage)
    successes: int = 0
    acquitted: list[int] = field(default_factory=list)
    misnamed: set[int] = field(default_factory=set)
    """Events of batches that a late copy has given the id of another batch."""
    """The successes before each outage in which workers waited."""
    told_ms: int = 0
    """When an outage was last told to a worker."""
    failed: dict[int, int] = field(default_factory=dict)
    """For each event that has failed, the successes at its first failure."""
    clock_ms: int | None = None
    """What the clock showed at the last heartbeat."""


class Outcome(NamedTuple):
    """The result that an append should have had."""

    outcome: str
    row: list[int]
    open: list[int]
    dropped: list[int]


class AppendCall(NamedTuple):
    """The arguments of the script."""

    batch_size: float
    batch_bytes: float
    max_pending: float
    max_pending_bytes: float
    overflow: str
    stamp: Stamp
    parts: list[list[int]]
    """The events of each splice."""
    has_receipts: bool = False

    @classmethod
    def of(cls, args: Sequence[Any]) -> "AppendCall":
        if isinstance(args[0], int):
            return cls._of_earlier_version(args)
        limits, producer, stamp, _, counts, *splices = args
        del splices[len(counts.split()) :]  # the traces
        [packed] = limits.args
        _, *bounds = struct.unpack("<5d", packed[:40])
        batch_size, batch_bytes, max_pending, max_pending_bytes = bounds
        number, nonce = stamp.decode().split(" ")
        parts = [json.loads(b"[" + splice[1:]) for splice in splices]
        return cls(
            batch_size=batch_size,
            batch_bytes=batch_bytes,
            max_pending=max_pending,
            max_pending_bytes=max_pending_bytes,
            overflow=packed[41:].decode(),
            has_receipts=packed[40] == 1,
            stamp=Stamp(producer.decode(), int(number), nonce),
            parts=parts,
        )

    @classmethod
    def _of_earlier_version(cls, args: Sequence[Any]) -> "AppendCall":
        """See :mod:`.earlier`."""
        _, batch_size, batch_bytes, pending, pending_bytes, overflow, number, its, *rest = args
        return cls(
            batch_size=batch_size,
            batch_bytes=batch_bytes,
            max_pending=pending or math.inf,
            max_pending_bytes=pending_bytes or math.inf,
            overflow=overflow,
            stamp=Stamp(its.partition("_")[0], number, its.partition("_")[2]),
            parts=[json.loads(b"[" + splice[1:]) for splice in rest[2:]],
        )

    @property
    def events(self) -> list[int]:
        return [event for part in self.parts for event in part]

    def expected(
        self, before: State, held: set[str], *, last: Stamp | None, is_restarted: bool
    ) -> Outcome:
        unchanged = Outcome("repeated", before.row, before.open, [])
        if last is not None and self.stamp.sequence <= last.sequence:
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
        if self.has_receipts and is_restarted:
            sealed, open_ = sealed + open_, []
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
        return not (pending + count > self.max_pending or total > self.max_pending_bytes)


class Judge:
    """Compares the contents of Redis before and after each command."""

    def __init__(
        self,
        plain: Redis,
        tell: Callable[[str], None],
        keeps: Callable[[str, str], bool],
    ) -> None:
        self.past = Past()
        self.state = State([], {}, {})
        self.contents: dict[str, list[int]] = {}
        """Events of every batch there ever was, also of those before the server was set back."""
        self.old_ids: set[str] = set()
        """Ids from before the server was set back."""
        self.is_late_copy = False
        """Whether this command is a late copy. If it comes in the same millisecond of the clock as
        before the server was set back, it can seal another batch with the same token."""
        self.refused: set[int] = set()
        """Events whose caller knows that they are not stored."""
        self.identities: Identities | None = None
        """Of a bucket with receipts."""
        self.contexts = Contexts()
        self.keeps_contexts = True
        """Whether no older version of this app appends as well, and the user may note contexts."""
        self.is_restarted = True
        """Whether no append has noticed yet that the server has restarted."""
        self.processed: set[tuple[str, str]] = set()
        """Pairs of worker and batch id."""
        self.events_processed: set[int] = set()
        self._plain = plain
        self._observe = plain.register_script(OBSERVE)
        self._replication_id = plain.info("replication")["master_replid"].encode()
        self._tell = tell
        self._keeps = keeps
        """Whether the worker of this name lives, renews its lease, and works on this batch."""
        self.keys: list[str] = []
        self.is_full = False
        """Whether the server has no memory left."""
        self.forbidden: str | None = None
        """A command that the user of the buffer may not run."""
        self.true_time = 0.0
        """Seconds since the beginning."""
        self.steps = 0
        """How often the clock of the server was set."""
        self.unnoticed_seconds = 0.0
        """Sum of the steps forward that no heartbeat notices, since time has last passed."""
        self.now_ms = 0
        """What the clock of the server shows."""

    def step_clock(self, step_seconds: float) -> None:
        """The clock of the server is set."""
        is_back = step_seconds < 0
        self.steps += 1
        if 0 < step_seconds < _NOTICED_SECONDS:
            self.unnoticed_seconds += step_seconds
        self.look()
        for batch in self.past.batches.values():
            if is_back and batch.holder is None and batch.is_ready:
                is_certain = batch.is_untried or not (batch.attempt or batch.is_piece)
                batch.is_ready = True if is_certain else None

    def hear_of_refusal(self, script: Script, *, is_full: bool) -> None:
        if is_full:
            check(self.is_full, "a server with memory refused")
            is_refused = script.name in (scripts.APPEND.name, scripts.REPLAY.name)
            check(is_refused, f"a full server refused to {script.name}")
        else:
            check(self.forbidden, "a user with all permissions was refused")
        check(self.look() == self.state, "what was refused changed something")

    def look(self) -> State:
        open_, batches, dead, pending, (seconds, microseconds), appends = self._observe(
            keys=self.keys
        )
        server, opened, origin, traces = appends
        self.is_restarted = server != self._replication_id
        self.now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        self.pending = {id.decode(): worker.decode() for id, worker, _, _ in pending}
        self.ids = {id.decode(): batch_id(id, fields[7]) for id, fields in batches}
        state = State(
            json.loads(open_) if open_ else [],
            {id.decode(): json.loads(fields[1]) for id, fields in batches},
            {id.decode(): json.loads(fields[1]) for id, fields in dead},
        )
        if state.open and (origin or b"").startswith((opened or b"") + b"-"):
            self._check_identities(state.open, [b"origins", b"%b:0:%d" % (origin, len(state.open))])
            if self.keeps_contexts:  # an older version does not note that it changes the open batch
                is_its_own = (traces or b"").startswith(origin + b" ")
                its_traces = traces[len(origin) :] if is_its_own else b""
                self._check_contexts(state.open, [b"traces", its_traces])
        for id, fields in batches:
            self._check_identities(state.batches[id.decode()], fields)
            self._check_contexts(state.batches[id.decode()], fields)
        for id, fields in dead:
            self._check_identities([state.dead[id.decode()]], fields, b"origin")
            context = fields[fields.index(b"trace") + 1] if b"trace" in fields else b""
            traces = b"%b:0:1" % context if context else b""
            self._check_contexts([state.dead[id.decode()]], [b"traces", traces])
        return state

    def _check_identities(
        self, events: list[int], fields: list[bytes], name: bytes = b"origins"
    ) -> None:
        if self.identities is not None:
            for event, identity in identities_of(events, fields, name):
                fault = self.identities.fault(event, identity)
                check(not fault, fault)

    def _check_contexts(self, events: list[int], fields: list[bytes]) -> None:
        text = fields[fields.index(b"traces") + 1] if b"traces" in fields else b""
        fault = self.contexts.fault(events, text, is_complete=self.keeps_contexts)
        check(not fault, fault)

    def hear(self, script: Script, args: Sequence[Any], reply: Any) -> None:
        was_restarted, before, after = self.is_restarted, self.state, self.look()
        self._was_restarted = was_restarted
        self._tell(f"    {script.name} {shown(args)} -> {shown([reply])}")
        self._tell(f"        {after.open} {after.batches} dead {after.dead}")
        check(len(set(after.all)) == len(after.all), "an event lies in two places")
        for id, events in after.batches.items():
            check(events, "a batch is empty")
            known = self.contents.setdefault(self.ids[id], events)
            if self.is_late_copy and self.ids[id] in self.old_ids:
                self.contents[self.ids[id]] = known = events
                # A worker that still holds the old batch of this id may ack the new one.
                self.past.misnamed |= set(events)
            check(known == events, f"batch {self.ids[id]} has other events than before")
            self.past.batches.setdefault(id, Batch(self.ids[id]))
        rule: Callable[..., None] = getattr(self, f"_after_{script.name}", self._after_nothing)
        rule(before, after, args, reply)
        self.state = after
        for id in [id for id in self.past.batches if id not in after.batches]:
            del self.past.batches[id]

    def _after_nothing(self, before: State, after: State, args: Any, reply: Any) -> None:
        check(before.row == after.row, "events were moved")
        check(before.dead == after.dead, "dead letters were changed")

    def _after_append(self, before: State, after: State, args: Any, reply: Any) -> None:
        call = AppendCall.of(args)
        held = {id for id in before.batches if self._is_held(id)}
        last = self.past.last.get(call.stamp.producer)
        expected = call.expected(before, held, last=last, is_restarted=self._was_restarted)
        outcome, *_, dropped = reply if isinstance(reply, list) else (reply, 0)
        check(outcome.decode() == expected.outcome, f"an append was not {expected.outcome}")
        check(call.events == sorted(call.events), "the events of one call are out of order")
        check(dropped == len(expected.dropped), "what was dropped was counted wrong")
        check(after.row == expected.row, "an append was not whole, or not at the end")
        check(after.open == expected.open, "a batch was sealed too early, or too late")
        check(before.dead == after.dead, "dead letters were changed")
        if outcome in (b"stored", b"dropped"):
            check(call.stamp not in self.past.stored, "an append was stored twice")
            check(self.past.events.isdisjoint(call.events), "an event was stored twice")
            check(self.refused.isdisjoint(call.events), "an event was stored after its refusal")
            self.past.events |= {*call.events}
            self.past.last[call.stamp.producer] = call.stamp
        if outcome == b"stored":
            self.past.stored[call.stamp] = call.events
            self.past.oldest |= set(expected.dropped)
            self.past.gone["oldest"] += dropped
        elif outcome == b"dropped":
            self.past.dropped[call.stamp] = call.events
            self.past.gone["newest"] += dropped

    def _after_claim(self, before: State, after: State, args: Any, reply: Any) -> None:
        worker, _, linger_ms, behind, newest, prefers_new, _, beats = args
        self._after_nothing(before, after, args, reply)
        if beats:
            self._after_beat(before, after, args, reply)
        foreign, *found = reply
        check(foreign == 0, "an event was taken for a foreign value")
        own = [id for id, batch in self.past.batches.items() if batch.holder == worker]
        is_waiting = self._is_waiting()
        if len(found) == 2:
            check(not own, "a worker did not get what it holds")
            if not self.past.is_paused:
                self._nothing_found(after, args, found, is_waiting=is_waiting)
            return
        check(own or not self.past.is_paused, "a paused bucket was drained")
        check(own or not is_waiting, "a worker did not wait in an outage")
        id = found[0].decode()
        check(not own or id in own, "a worker got another batch than it holds")
        batch, events = self.past.batches[id], after.batches[id]
        if not own:
            self._delivered(id, batch, behind, newest, prefers_new=bool(prefers_new))
        self._claimed(batch, events, found[:-1], is_own=bool(own))
        has_more = any(each.holder is None for each in self.past.batches.values())
        lingers = after.open and linger_ms >= 0
        check(found[-1] == (0 if has_more or lingers else -1), "what is left was told wrong")

    def _is_waiting(self) -> bool:
        """Whether the workers wait because of an outage."""
        return 0 < self.past.outage.retry_ms - self.now_ms <= LEASE_MS

    def _nothing_found(
        self, state: State, args: Any, found: list[Any], *, is_waiting: bool
    ) -> None:
        (_, _, linger_ms, behind, newest, *_), (wait_ms, reason) = args, found
        check(0 <= wait_ms <= LEASE_MS, "a wait is too long")
        has_work = state.batches or (state.open and linger_ms >= 0)
        if has_work:
            check((reason == b"outage") == is_waiting, "an outage was told wrong")
        if reason == b"doubt":
            held = [batch for batch in self.past.batches.values() if batch.holder is not None]
            check(held, "there was doubt about no lease")
            check(wait_ms <= LEASE_MS / 2, "the doubt lasts too long")
        if is_waiting:
            return
        for id, batch in self.past.batches.items():
            is_fresh = not batch.attempt and not batch.is_piece
            is_once = newest != "+"
            is_allowed = is_before(id, newest) if is_fresh else not is_once or is_after(id, behind)
            is_free = batch.holder is None and batch.is_ready and is_allowed
            check(not is_free, "a batch that nobody holds was not found")
        check(linger_ms < 0 or not state.open, "the open batch was not found")

    def _delivered(
        self, id: str, batch: Batch, behind: str, newest: str, *, prefers_new: bool
    ) -> None:
        """A batch comes to a worker that did not hold it."""
        ids = self._ids(behind, newest)
        if batch.attempt or batch.is_piece:
            is_piece = batch.is_untried and self._prefers_pieces(newest)
            check(
                newest == "+" or is_piece or is_after(id, behind),
                "a batch came twice to one drain",
            )
            source = Source.PIECE if is_piece else Source.READY
        else:
            check(is_before(id, newest), "a batch was delivered behind the newest")
            source = Source.FRESH
        order = self._order(prefers_new=prefers_new)
        for earlier in order[: order.index(source)]:
            check(not ids[earlier], f"a batch came before one that is {earlier.value}")
        if source is Source.READY and newest == "+":
            later = [one for one in ids[source] if is_after(one, behind)]
            check(is_after(id, behind) or not later, "a worker went round too early")
            ids[source] = later if is_after(id, behind) else ids[source]
        if ids[source]:
            self._in_turn(id, batch, source, ids[source])
        if batch.holder is None:
            check(
                batch.is_ready is not False
                or batch.steps != self.steps
                or self._has_run_out(batch),
                "a batch was delivered before its backoff had ended",
            )
            return
        check(
            not self._keeps(batch.holder, batch.id)
            or self._has_run_out(batch)
            or self.unnoticed_seconds >= _NOTICED_SECONDS,
            "a batch was delivered that a living worker holds",
        )
        check(
            batch.steps != self.steps or self._has_run_out(batch),
            "a batch was delivered before its lease had ended",
        )

    def _in_turn(self, id: str, batch: Batch, source: Source, ids: list[str]) -> None:
        """A batch is the first one of its source. `ids` has the batches of this source."""
        is_in_outage = self.past.outage.retry_ms > 0
        first = ids[0]
        if source is Source.FRESH and is_in_outage and self.past.outage.tries % 2 == 1:
            first = ids[-1]
        elif source is Source.READY and is_in_outage:
            first = min(ids, key=lambda one: self.past.batches[one].attempt)
            fewest = self.past.batches[first].attempt
            check(batch.attempt <= fewest, "a batch came before one with fewer deliveries")
            if batch.attempt < fewest:
                return
        check(id == first or not is_after(id, first), "a batch came out of turn")

    def _ids(self, behind: str, newest: str) -> dict[Source, list[str]]:
        """What a worker can claim at once from each source, oldest first."""
        free = {id: its for id, its in self.past.batches.items() if its.holder is None}
        ids = {
            Source.PIECE: [
                id for id, its in free.items() if its.is_untried and self._prefers_pieces(newest)
            ],
            Source.READY: [
                id
                for id, its in free.items()
                if (its.attempt or its.is_piece)
                and its.is_ready
                and (newest == "+" or is_after(id, behind))
            ],
            Source.FRESH: [
                id
                for id, its in free.items()
                if not (its.attempt or its.is_piece) and is_before(id, newest)
            ],
        }
        return {source: sorted(found, key=position) for source, found in ids.items()}

    def _prefers_pieces(self, newest: str) -> bool:
        """Whether pieces come out of the order of their ids."""
        outage = self.past.outage
        return newest == "+" or (outage.retry_ms > 0 and outage.tries > 0)

    def _order(self, *, prefers_new: bool) -> list[Source]:
        """The sources, in the order in which a worker looks for a batch."""
        outage = self.past.outage
        if outage.retry_ms:
            fresh_first = outage.tries % 8 != 0
        else:
            fresh_first = prefers_new or (outage.alone > 20 and outage.alone % 40 > 19)
        rest = [Source.PIECE, Source.READY]
        return [Source.FRESH, *rest] if fresh_first else [*rest, Source.FRESH]

    def _has_run_out(self, batch: Batch) -> bool:
        return self.true_time - batch.renewed + batch.idle >= LEASE.total_seconds()

    def _claimed(self, batch: Batch, events: list[int], found: list[Any], *, is_own: bool) -> None:
        worker_before = batch.holder
        id, token, attempt, count, array, failures, deaths, *rest = found
        suspicion, _, failed, alone, by, tries, *_ = rest
        past, outage = self.past, self.past.outage
        check(batch_id(id, token) == batch.id, "a batch was told with another token")
        check(json.loads(array) == events, "another batch was delivered than lies there")
        check(count == len(events), "the events of a batch were counted wrong")
        if batch.successes is not None and batch.successes != past.successes:
            if batch.successes in past.acquitted and not batch.is_outlived:
                batch.successes = past.successes
            batch.is_outlived = True
        if not is_own:
            batch.attempt += 1
            if worker_before is not None:
                self._dies(batch, events)
        check(attempt == batch.attempt, "deliveries were counted wrong")
        check(deaths == batch.deaths, "deaths were counted wrong")
        check(failures == batch.failures, "failures were counted wrong")
        has_failed = batch.successes is not None
        others_succeeded = batch.successes is not None and past.successes > batch.successes
        has_changed = others_succeeded and batch.has_changed
        check(
            suspicion == has_failed + others_succeeded + has_changed, "the suspicion was told wrong"
        )
        if others_succeeded:
            check(
                all(past.failed[event] < past.successes for event in events),
                "others were said to have succeeded since events failed",
            )
        row = (outage.failed, outage.alone, outage.by, outage.tries if outage.retry_ms else 0)
        check((failed, alone, by.decode(), tries) == row, "the failures in a row were told wrong")
        if not is_own and outage.retry_ms:
            outage.retry_ms = self.now_ms + LEASE_MS
        batch.holder, batch.is_ready, batch.is_untried = self.pending[id.decode()], None, False
        self._begin_lease(batch)

    def _begin_lease(self, batch: Batch) -> None:
        batch.renewed, batch.steps, batch.idle = self.true_time, self.steps, 0

    def _fails(self, batch: Batch, events: list[int]) -> None:
        if batch.successes is None:
            batch.successes = self.past.successes
        for event in events:
            self.past.failed.setdefault(event, self.past.successes)

    def _dies(self, batch: Batch, events: list[int]) -> None:
        others_succeeded = batch.successes is not None and self.past.successes > batch.successes
        batch.deaths += others_succeeded or batch.deaths < MOST_DEATHS_IN_OUTAGE
        self._fails(batch, events)

    def _succeeds(self, ended_ms: int) -> None:
        past, outage = self.past, self.past.outage
        check((ended_ms >= 0) == outage.is_told, "the end of an outage was told wrong")
        if outage.is_on and self.now_ms - outage.since_ms >= SHORTEST_OUTAGE_MS:
            past.acquitted.append(past.successes)
        past.successes += 1
        past.outage = Outage()

    def _after_beat(self, before: State, after: State, args: Any, reply: Any) -> None:
        self._after_nothing(before, after, args, reply)
        clock_ms = self.past.clock_ms
        if clock_ms is not None and clock_ms - self.now_ms > 1000:
            for batch in self.past.batches.values():
                if batch.holder is None:
                    batch.is_ready, batch.is_untried = True, False
        self.past.clock_ms = self.now_ms

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
        batch = self.past.batches.get(stream_id(id))
        may = (
            stream_id(id) in before.batches
            and batch is not None
            and (batch.id, batch.holder, batch.attempt) == (id, worker, attempt)
        )
        check(bool(reply) == may, "a fence let through, or kept back, whom it should not")
        return batch if reply else None

    def _after_renew(self, before: State, after: State, args: Any, reply: Any) -> None:
        if batch := self._fence(before, args, reply):
            self._begin_lease(batch)
        self._after_nothing(before, after, args, reply)

    def _after_release(self, before: State, after: State, args: Any, reply: Any) -> None:
        self._after_nothing(before, after, args, reply)
        if not (batch := self._fence(before, args, reply)):
            return
        _, id, _, count, idle_ms, reason, weight, by, pause_ms, known, _ = args
        batch.holder, batch.is_ready = None, int(idle_ms) == LEASE_MS
        self._begin_lease(batch)
        batch.idle = int(idle_ms) / 1000
        if reason == "death":
            self._dies(batch, before.batches[stream_id(id)])
        self._fails(batch, before.batches[stream_id(id)])
        outage = self.past.outage
        if reason == "outage" and outage.failed < known:
            reason = "retry"  # another worker has succeeded
        batch.failures += reason in ("failure", "doubtful")
        outage.failed += weight
        outage.alone += weight if count == 1 or by else 0
        if reason not in ("failure", "death"):
            batch.successes = self.past.successes
        if reason in ("changed", "failure", "doubtful"):
            batch.has_changed = reason == "changed"
        if reason == "outage":
            outage.since_ms = min(outage.since_ms, self.now_ms) if outage.is_on else self.now_ms
            outage.is_on, outage.by, outage.tries = True, by, outage.tries + 1
            is_often = pause_ms >= 0 or not outage.is_told
            self._tells(*reply, every_ms=MINUTE_MS if is_often else 60 * MINUTE_MS)
            if pause_ms >= 0:
                outage.retry_ms = self.now_ms + pause_ms
        check((reply[0] >= 0) == outage.is_on, "an outage was told wrong")

    def _tells(self, since_ms: int, told: int, *, every_ms: int) -> None:
        """A worker learns of an outage. It must log it if no worker has done so for a while."""
        silence_ms = abs(self.now_ms - self.past.told_ms)
        check(not told or silence_ms > every_ms - 1000, "an outage was logged too often")
        check(told > 0 or silence_ms < every_ms + 1000, "an outage was not logged")
        if told:
            its = "goes on" if self.past.outage.is_told else "begins"
            check(told == 1 + self.past.outage.is_told, f"it was not said that an outage {its}")
            self.past.outage.is_told, self.past.told_ms = True, self.now_ms

    def _after_retire(self, before: State, after: State, args: Any, reply: Any) -> None:
        self._after_nothing(before, after, args, reply)
        held = [batch for batch in self.past.batches.values() if batch.holder == args[0]]
        check(reply == len(held), "not all was released that a worker held")
        for batch in held:
            batch.holder, batch.is_ready = None, True
        self._is_not_tried(bool(held))

    def _is_not_tried(self, is_so: bool) -> None:
        """A worker gives up a batch that it has not tried."""
        if is_so and self.past.outage.retry_ms:
            self.past.outage.retry_ms = self.now_ms

    def _after_ack(self, before: State, after: State, args: Any, reply: Any) -> None:
        worker, id = args[:2]
        check(before.dead == after.dead, "dead letters were changed")
        if self._fence(before, args, reply):
            check((worker, id) in self.processed, "a batch was acked that its worker has not done")
            kept = {key: its for key, its in before.batches.items() if key != stream_id(id)}
            check(after == State(before.open, kept, before.dead), "an ack removed something else")
            self.past.gone["processed"] += len(before.batches[stream_id(id)])
            self._succeeds(*reply)
        else:
            check(after == before, "an ack in vain changed something")

    def _after_split(self, before: State, after: State, args: Any, reply: Any) -> None:
        worker, id, _, _, _, count, _, deaths, keeps, weight, error, *_ = args
        if not (batch := self._fence(before, args, reply)):
            check(after == before, "a split in vain changed something")
            return
        pieces = [key for key in after.batches if key not in before.batches]
        check(len(pieces) == 2, "a split made no two pieces")
        left, right = (after.batches[piece] for piece in pieces)
        whole = before.batches[stream_id(id)]
        check((left, right) == (whole[:count], whole[count:]), "the pieces are not the whole")
        kept = [key for key in before.batches if key != stream_id(id)]
        check([*after.batches] == kept + pieces, "a split moved another batch")
        check(after.open == before.open, "a split changed the open batch")
        check(after.dead == before.dead, "dead letters were changed")
        if error:
            self._fails(batch, whole)
        self.past.outage.failed += weight
        self._is_not_tried(not keeps)
        for number, piece in enumerate(pieces, start=1):
            its = self.past.batches[piece] = Batch(
                self.ids[piece],
                is_piece=True,
                deaths=deaths,
                successes=batch.successes,
                is_outlived=batch.is_outlived,
            )
            if number == keeps:
                its.holder, its.attempt, its.is_ready = worker, 1, None
                self._begin_lease(its)
            else:
                its.is_untried = True

    def _after_bury(self, before: State, after: State, args: Any, reply: Any) -> None:
        worker, id, _, processed = args[:4]
        if not self._fence(before, args, reply):
            check(after == before, "a burial in vain changed something")
            return
        check((worker, id) in self.processed, "a batch was buried that its worker has not done")
        letters = {key: event for key, event in after.dead.items() if key not in before.dead}
        whole = before.batches[stream_id(id)]
        places = spans(json.dumps(whole, separators=(",", ":")).encode())
        buried = [at for at, place in enumerate(places) if place[0] + 1 in args[5::6]]
        check(
            [*letters.values()] == [whole[at] for at in buried],
            "other events were buried than asked for",
        )
        if REJECTED not in args[7::6]:
            check(
                all(self.past.failed[event] < self.past.successes for event in letters.values()),
                "an event was buried although no other one has succeeded since it failed",
            )
        kept = {key: its for key, its in before.batches.items() if key != stream_id(id)}
        check((after.open, after.batches) == (before.open, kept), "a burial removed something else")
        self.past.gone["processed"] += processed
        self.past.gone["buried"] += len(letters)
        if processed:
            self._succeeds(*reply)
        else:
            check(reply == [-1], "an outage ended without a success")
            self._is_not_tried(True)

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


def stream_id(id: str) -> str:
    """The id in the stream of a batch with this public id."""
    time, number, _ = id.split("-")
    return f"{time}-{number}"


def is_after(id: str, bound: str) -> bool:
    return bound == "-" or position(id) > position(bound.removeprefix("("))


def is_before(id: str, bound: str) -> bool:
    """Whether an id is not behind the bound."""
    return bound == "+" or position(id) <= position(bound)


def size(events: list[int]) -> int:
    """Bytes of the events as a batch, which are as many as those of a splice."""
    return len(json.dumps(events, separators=(",", ":"))) if events else 0


def shown(values: Sequence[Any]) -> str:
    text = repr([value.decode() if isinstance(value, bytes) else value for value in values])
    return text if len(text) < 200 else f"{text[:200]}…"
