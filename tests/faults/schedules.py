"""A seeded search for schedules in which the scripts break a promise: the network, the workers, the
producers and the server fail in any order, and the memory of the server is full at times. Somebody
sets its clock, and takes permissions away.

A schedule is a random sequence of steps. Its seed determines all of it. Producers and workers are
as simple as possible, and every command is one of :class:`Store`. Workers end a batch in all
possible ways, and one of them is :class:`Failures`, with its own decisions. In more than half of
the schedules, tasks and threads append in groups as well: see :mod:`.processes`. Between them and
the server is a network that loses requests and replies, and delivers late copies. After each
command that the server has carried out, a judge compares the contents of Redis with those before.

The clock of the server stands still, except in the steps that set it or let time pass. So a server
that loses its last writes gives the same ids again.

``python -m tests.faults.schedules SEED`` prints one schedule step by step.
"""

import copy
import json
import logging
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import redis
from django.conf import settings
from django.test import override_settings

from django_jsonbuffer.appending.producers import Producer
from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.draining.cursors import Cursor
from django_jsonbuffer.draining.failures import Failures
from django_jsonbuffer.draining.report import DrainReport
from django_jsonbuffer.exceptions import (
    BucketFull,
    BufferOutOfMemory,
    BufferUnavailable,
    LeaseLost,
    StampOvertaken,
)
from django_jsonbuffer.json_arrays import spans
from django_jsonbuffer.limits import Limits
from django_jsonbuffer.options import Options
from django_jsonbuffer.stamps import Stamp
from django_jsonbuffer.store import catalog_entries, dead_letters, pending, scripts
from django_jsonbuffer.store.appends import size_of
from django_jsonbuffer.store.calls import run_once
from django_jsonbuffer.store.claims import Burial, Claim, Found, Reason
from django_jsonbuffer.store.coroutines import finish
from django_jsonbuffer.store.keys import Identity
from django_jsonbuffer.store.links import BLOCKING
from django_jsonbuffer.store.script_files import commands_of
from django_jsonbuffer.store.scripts import Script
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from django_jsonbuffer.store.traces import Run, Traces
from tests.clock import Clock, server_with_clock
from tests.faults import grouping
from tests.faults.earlier import EarlierStore
from tests.faults.identities import Identities
from tests.faults.judging import LEASE, REJECTED, AppendCall, Judge, Past, Violation, check, size
from tests.server import Redis

HEARTBEAT: Final = timedelta(seconds=10)
BATCH_SIZE: Final = 3
BEGINNING: Final = datetime(2026, 1, 1, tzinfo=UTC)
NOW: Final = timedelta(0)
OPTIONS: Final = Options(lease=LEASE, max_attempts=2)
ERRORS: Final = [ValueError("no"), ValueError("no"), KeyError("path"), ConnectionError("down")]

COMMANDS: Final = sorted(
    {
        command
        for script in vars(scripts).values()
        if isinstance(script, Script)
        for command in commands_of(script.source)
    }
)
"""The commands that all scripts run."""


class Lost(Exception):
    """No reply came to a command."""


@dataclass(frozen=True)
class Arena:
    """A server with a clock that can be set, and a Redis user for the buffer."""

    plain: Redis
    clock: Clock
    configuration: Configuration

    def permit(self, rule: str) -> None:
        self.plain.execute_command("ACL", "SETUSER", "app", rule)


@contextmanager
def arena() -> Iterator[Arena]:
    """Start a server for schedules."""
    with server_with_clock() as (embedded, clock), redis.Redis.from_url(embedded.url) as plain:
        plain.execute_command("ACL", "SETUSER", "app", "on", ">s3cret", "~*", "+@all")
        cache = {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": embedded.url.replace("unix://", "unix://app:s3cret@"),
            "OPTIONS": {"SOCKET_TIMEOUT": 3},
        }
        alias = f"arena-{embedded.pid}"
        with override_settings(CACHES={**settings.CACHES, alias: cache}), silence():
            yield Arena(plain, clock, Configuration(cache=alias, prefix="schedule"))


@contextmanager
def silence() -> Iterator[None]:
    """Log nothing, because most failures are on purpose."""
    logger = logging.getLogger("django_jsonbuffer")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


class Network(Store):
    """A store whose requests and replies may be lost. The judge sees each command carried out."""

    def __init__(self, name: str, configuration: Configuration, judge: Judge) -> None:
        super().__init__(name, configuration)
        # The catalog is not written by a script.
        catalog_entries.written.add(self.identity)
        self._judge = judge
        self.chance = random.Random(0)
        self.is_faulty = True
        self.sent: list[tuple[Script, list[str], tuple[Any, ...]]] = []

    def run(self, script: Script, keys: list[str], *args: Any) -> Any:
        return self.send(script, keys, *args)

    def append(self, events: Sequence[bytes], stamp: Stamp, limits: Limits, **options: Any) -> None:
        link = BLOCKING._replace(run_once=self._run_once)
        size = size_of(events)
        context = self._judge.contexts.of(int(events[0]))
        runs = (Run(context, 0, len(events)),) if context else ()
        traces = Traces(runs)
        append = self.append_by(link, events, stamp, limits, size=size, traces=traces, **options)
        finish(append)

    async def _run_once(
        self, bucket: Identity, script: Script, keys: list[str], args: Sequence[Any], **options: Any
    ) -> Any:
        return self.send(script, keys, *args)

    def fate(self) -> float:
        """A number that decides which way of a command is lost: below 0.08 the way there, below 0.2
        the way back."""
        return self.chance.random() if self.is_faulty else 1.0

    def send(self, script: Script, keys: list[str], *args: Any) -> Any:
        self.sent.append((script, keys, args))
        fate = self.fate()
        if fate < 0.08:
            raise Lost("request")
        reply = self._carry_out(script, keys, *args)
        if fate < 0.2:
            raise Lost("reply")
        return reply

    def deliver_late_copy(self) -> list[int]:
        """Let a copy of an earlier command arrive. Returns its events, if it is an append."""
        appends = [command for command in self.sent if command[0] is scripts.APPEND]
        sent = appends if appends and self.chance.random() < 0.3 else self.sent
        if not sent:
            return []
        script, keys, args = self.chance.choice(sent[-4:] if self.chance.random() < 0.5 else sent)
        self._judge.is_late_copy = True
        with suppress(Lost):
            self._carry_out(script, keys, *args)
        self._judge.is_late_copy = False
        return AppendCall.of(args).events if script is scripts.APPEND else []

    def _carry_out(self, script: Script, keys: list[str], *args: Any) -> Any:
        answer = self.answer(script, keys, *args)
        if isinstance(answer, BufferUnavailable):
            raise Lost("refused")
        return answer

    def answer(self, script: Script, keys: list[str], *args: Any) -> Any:
        """The reply of the server, or its refusal."""
        try:
            if script is scripts.APPEND:
                reply = finish(run_once(self.identity, script, (*keys,), args))
            else:
                reply = super().run(script, keys, *args)
        except BufferUnavailable as refusal:
            self._judge.hear_of_refusal(script, is_full=isinstance(refusal, BufferOutOfMemory))
            return refusal
        self._judge.hear(script, args, reply)
        return reply


class Appending:
    """A producer. It makes call after call, and repeats each until it is decided or given up."""

    def __init__(self, run: "Schedule", store: "Network | EarlierStore") -> None:
        self._run = run
        self._store = store
        self._producer = Producer()
        self._call: Call | None = None

    def step(self) -> None:
        if self._call is None:
            new_events = self._run.new_events()
            self._call = Call(self._producer.next_stamp(), new_events, self._store)
        if self._call.send(self._run) or self._run.chance.random() < 0.2:
            if not self._call.is_decided or self._call.is_overtaken:
                # Given up until the end of the schedule. The producer is not used again.
                self._producer = Producer()
            if not self._call.is_decided:
                self._run.undecided.append(self._call)
            self._call = None

    def crash(self) -> None:
        self._producer, self._call = Producer(), None

    def become_copy_of(self, other: "Appending") -> None:
        """Go on as a snapshot of another producer, which goes on too."""
        self._producer = copy.copy(other._producer)
        self._call = None


class Call:
    """One append, with the limits of the schedule each time it is sent."""

    def __init__(self, stamp: Stamp, events: list[int], store: "Network | EarlierStore") -> None:
        self._store = store
        self.stamp = stamp
        self.events = events
        self.is_decided = False
        self.is_overtaken = False
        """Whether the producer has a copy."""
        self._may_be_done = False

    def send(self, run: "Schedule", *, is_last: bool = False) -> bool:
        """Send the append. Returns whether it is decided."""
        encoded = [str(number).encode() for number in self.events]
        try:
            self._store.append(
                encoded,
                self.stamp,
                Limits(
                    batch_size=BATCH_SIZE,
                    batch_bytes=run.batch_bytes,
                    max_pending=None if is_last else run.max_pending,
                    max_pending_bytes=None if is_last else run.max_pending_bytes,
                    overflow=run.overflow,
                    has_receipts=run.has_receipts,
                ),
            )
        except Lost:
            self._may_be_done = True
            return False
        except StampOvertaken:
            self.is_overtaken = True
            if not self._may_be_done:
                self.stamp = Producer().next_stamp()
            return False
        except BucketFull:
            if self._may_be_done:
                return False
            check(self.stamp not in run.judge.past.stored, "what was refused is stored")
            self.is_decided = True
            return True
        self.is_decided = True
        run.confirm(self.events)
        return True


class Working:
    """A worker. It claims a batch, processes it, and ends it in one of all possible ways.

    Either it watches, or it drains: then it comes to each batch once, and to no batch that is newer
    than its drain.
    """

    def __init__(self, run: "Schedule", name: str) -> None:
        self._run = run
        self._name = name
        self.is_silent = False
        """Whether it sends no heartbeats, and does not renew its lease."""
        self._has_begun = False
        self._claim: Claim | None = None
        self._keeps_probe = False
        self._cursor = Cursor(watch=True)
        self._failures = Failures(run.store, OPTIONS, DrainReport(), logs_messages=True)

    def keeps(self, name: str, batch: str) -> bool:
        """Whether it is the living worker of this name, and works on this batch."""
        is_it = self._name == name and self._claim is not None and self._claim.id == batch
        return is_it and not self.is_silent

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
        self._has_begun = False
        self._cursor = Cursor(watch=True)
        if self._run.chance.random() < 0.5:
            self._claim = None

    def beat(self) -> None:
        """Send the heartbeat, and renew the lease. Nothing is lost on the way."""
        if self.is_silent:
            return
        with self._run.without_faults(), suppress(Lost):
            self._run.store.beat(self._name, lease=LEASE)
            if self._claim is not None:
                try:
                    self._run.store.renew(self._claim)
                except LeaseLost:
                    self._claim = None

    def _claimed(self) -> Claim | None:
        chance = self._run.chance
        if chance.random() < 0.2:
            newest = self._run.store.seal()[0] if chance.random() < 0.5 else None
            self._cursor = Cursor(watch=newest is None)
            self._cursor.newest = newest
        newest = self._cursor.newest
        linger = None if newest or chance.random() < 0.2 else NOW
        prefers_new = newest is None and chance.random() < 0.3
        bounds = {"after": self._cursor.last, "newest": newest, "prefers_new": prefers_new}
        beats = not self._has_begun or chance.random() < 0.2
        claim = self._find(linger=linger, beats=beats, **bounds).claim
        self._has_begun = True
        if claim is not None:
            self._cursor.note_claim(claim, is_probe=self._keeps_probe)
        self._keeps_probe = False
        return claim

    def _find(self, **bounds: Any) -> Found:
        return self._run.store.claim(self._name, lease=LEASE, **bounds)

    def _go_on(self, claim: Claim) -> None:
        store, chance = self._run.store, self._run.chance
        what = chance.choice(
            [
                *["ack"] * 4,
                *("fail", "fail", "fail", "fail"),
                *("failure", "doubtful", "retry", "changed", "outage", "outage", "death"),
                *("halve", "halve", "probe", "bury", "reject", "renew", "retire"),
            ]
        )
        self._run.tell(f"  {self._name}: {what} {claim.id}")
        if what == "renew":
            store.renew(claim)
            return
        if what in ("ack", "reject"):
            self._process(claim)
        elif what in ("fail", "bury"):
            self._run.judge.processed.add((claim.worker, claim.id))
        if what == "ack":
            store.ack(claim)
        elif what == "retire":
            store.retire(self._name, lease=LEASE)
        elif what in ("halve", "probe"):
            self._split(claim, is_probe=what == "probe")
        elif what == "fail":
            self._fail(claim)
        elif what == "reject":
            places = [place for place in spans(claim.array) if chance.random() < 0.5]
            self._bury(claim, places, REJECTED)
        elif what == "bury":
            # Only an event that stands alone, and that others did not fail with.
            if claim.count == 1 and claim.others_succeeded:
                self._bury(claim, spans(claim.array), "no")
        else:
            self._release(claim, what)
        self._claim = None

    def _fail(self, claim: Claim) -> None:
        """Let the processor fail, after a look whether it should be called at all."""
        random.seed(self._run.chance.random())  # for the jitter of the backoff
        if not self._failures.replaces(claim):
            self._failures.failed(claim, self._run.chance.choice(ERRORS))
        self._keeps_probe, self._failures.keeps_probe = self._failures.keeps_probe, False

    def _split(self, claim: Claim, *, is_probe: bool) -> None:
        if claim.count == 1:
            return
        at, keeps = claim.count // 2, 0
        if is_probe:
            at, keeps = self._run.chance.choice([(1, 1), (claim.count - 1, 2)])
        self._run.store.split(
            claim,
            spans(claim.array),
            at=at,
            keeps=keeps,
            deaths=min(claim.deaths, 2),
            weight=0 if is_probe else self._run.chance.choice([0, 1, 20]),
            error="" if is_probe else "KeyError",
        )
        self._keeps_probe = is_probe

    def _bury(self, claim: Claim, places: Sequence[tuple[int, int]], error: str) -> None:
        at = {start: place for place, (start, _) in enumerate(spans(claim.array))}
        burials = [Burial(*place, error, place=at[place[0]]) for place in places]
        processed = claim.count - len(burials)
        self._run.store.bury(claim, burials, processed=processed, failures=claim.failures)

    def _release(self, claim: Claim, what: str) -> None:
        chance = self._run.chance
        is_outage = what == "outage"
        self._run.store.release(
            claim,
            lease=LEASE,
            backoff=chance.choice([NOW, NOW, LEASE / 6, LEASE]),
            reason=Reason(what),
            error="KeyError",
            weight=chance.choice([0, 1, 20, 40]),
            is_by_exception=is_outage and chance.random() < 0.5,
            pause=chance.choice([None, NOW, LEASE / 6, LEASE]) if is_outage else None,
        )

    def _process(self, claim: Claim) -> None:
        judge = self._run.judge
        judge.processed.add((claim.worker, claim.id))
        judge.events_processed |= set(json.loads(claim.array))

    def finish(self) -> bool:
        """Claim and ack one batch. False if there is none at this moment."""
        found = self._find(linger=NOW)
        if found.claim is None:
            return False
        self._process(found.claim)
        self._run.store.ack(found.claim)
        return True


@dataclass
class Snapshot:
    """The state to which a server returns that loses its last writes."""

    keys: dict[str, tuple[bytes, int]]
    past: Past
    now_ms: int
    """What the clock of the server showed."""


class Schedule:
    """One sequence of steps, determined by its seed."""

    def __init__(self, arena: Arena, seed: int) -> None:
        self.chance = random.Random(seed)
        self._arena = arena
        self._plain = arena.plain
        self._trace: list[str] = []
        self.judge = Judge(arena.plain, self.tell, self._does_anyone_keep)
        self.store = Network(f"s{seed}", arena.configuration, self.judge)
        self.store.chance = self.chance
        self._workers = [Working(self, name) for name in "abc"]
        self._direct = Store(self.store.name, arena.configuration)
        keys = self.store.keys
        self.judge.keys = [keys.open, keys.batches, keys.dead, keys.appends]
        self.has_receipts = self.chance.random() < 0.5
        self.batch_bytes = self.chance.choice([1000, 1000, 7, 10])
        self.max_pending = self.chance.choice([None, None, None, 6, 12])
        self.max_pending_bytes = self.chance.choice([None, None, None, 15, 30])
        self.overflow = self.chance.choice(["raise", "drop_newest", "drop_oldest"])
        self.undecided: list[Call] = []
        self.confirmed: set[int] = set()
        """Events whose append has succeeded, as far as its caller knows."""
        self.lost: set[int] = set()
        """Events that were stored, and that the server then lost."""
        self._events = 0
        self._snapshot: Snapshot | None = None
        self._has_forgotten = False
        self._producers = [Appending(self, self.store) for _ in range(2)]
        self._earlier = EarlierStore(self.store)
        self._deployed = Appending(self, self._earlier)
        self._is_deployment = self.chance.random() < 0.3
        self.judge.keeps_contexts = not self._is_deployment
        if self.has_receipts and not self._is_deployment:
            self.judge.identities = Identities()
        self._has_groups = self.chance.random() < 0.6
        self.grouping = grouping.Grouping(self, self._options())
        self.grouping.begin()

    def _options(self) -> Options:
        return Options(
            batch_size=BATCH_SIZE,
            batch_bytes=self.batch_bytes,
            max_pending=self.max_pending,
            max_pending_bytes=self.max_pending_bytes,
            overflow=self.overflow,
            receipts="default" if self.has_receipts else None,
            append_timeout=self.chance.choice([NOW, timedelta(milliseconds=100)]),
        )

    def tell(self, line: str) -> None:
        self._trace.append(line)

    @property
    def trace(self) -> str:
        return "\n".join(self._trace)

    def new_events(self) -> list[int]:
        count = self.chance.choice([1, 1, 1, 2, 3, 5, 7])
        self._events += count
        events = [*range(self._events - count, self._events)]
        self.judge.contexts.note(events)
        return events

    def confirm(self, events: list[int]) -> None:
        """The caller of an append learns that its events are stored."""
        known = self.judge.past.events | self.lost
        check(known.issuperset(events), "confirmed and not stored")
        self.confirmed |= {*events}

    @contextmanager
    def without_faults(self) -> Iterator[None]:
        was_faulty, self.store.is_faulty = self.store.is_faulty, False
        yield
        self.store.is_faulty = was_faulty

    def run(self) -> None:
        """Run all steps, and delete all keys. Raises :class:`Violation`."""
        try:
            self._arena.clock.stop(BEGINNING)
            self.judge.look()
            for _ in range(self.chance.randint(10, 40) * (3 if self._has_groups else 1)):
                self._step()
            self._finish()
        finally:
            self.grouping.close()
            self._make_room()
            self._allow()
            self._plain.delete(*self._keys())

    def _step(self) -> None:
        steps = STEPS | grouping.STEPS if self._has_groups else STEPS
        what = self.chance.choices(*zip(*steps.items(), strict=True))[0]
        self.tell(what)
        if what in grouping.STEPS:
            self.grouping.step(what)
        else:
            getattr(self, f"_{what}")()

    def _append(self) -> None:
        is_earlier = self._is_deployment and self.chance.random() < 0.4
        (self._deployed if is_earlier else self.chance.choice(self._producers)).step()

    def _work(self) -> None:
        worker = self.chance.choice(self._workers)
        worker.is_silent = False
        worker.step()

    def _retry(self) -> None:
        if self.undecided:
            call = self.chance.choice(self.undecided)
            if call.send(self):
                self.undecided.remove(call)

    def _crash(self) -> None:
        actors: list[Appending | Working] = [*self._producers, self._deployed, *self._workers]
        self.chance.choice(actors).crash()

    def _clone(self) -> None:
        original, copy_ = self.chance.sample(self._producers, 2)
        copy_.become_copy_of(original)

    def _late_copy(self) -> None:
        self.grouping.note_late_copy(self.store.deliver_late_copy())

    def _fall_silent(self) -> None:
        self.chance.choice(self._workers).is_silent = True

    def _wait(self) -> None:
        self._let_pass(self.chance.choice([1, 2, 3, 4]) * HEARTBEAT, self._workers)

    def _let_pass(self, duration: timedelta, workers: list[Working]) -> None:
        """Let time pass. Meanwhile, the workers send heartbeats and renew their leases."""
        self.tell(f"  {duration}")
        while duration > NOW:
            portion = min(duration, HEARTBEAT)
            self._arena.clock.step(portion)
            self.judge.true_time += portion.total_seconds()
            self.judge.unnoticed_seconds = 0
            duration -= portion
            for worker in self.chance.sample(workers, len(workers)):
                worker.beat()

    def _set_clock(self) -> None:
        """Set the clock of the server, while no time passes.

        A heartbeat notices each step. So the judge promises nothing if there is none between two.
        """
        self._allow()
        with self.without_faults():
            self.store.beat("a", lease=LEASE)
        step = timedelta(seconds=self.chance.choice([1, -1]) * self.chance.choice([3, 8, 40, 3600]))
        self.tell(f"  {step}")
        self._arena.clock.step(step)
        self.judge.step_clock(step.total_seconds())

    def _does_anyone_keep(self, name: str, batch: str) -> bool:
        return any(worker.keeps(name, batch) for worker in self._workers)

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
                self.store.beat("a", lease=LEASE)
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

    def _forget(self) -> None:
        """Let the bucket forget old producers, once: the calls of a schedule are of one day."""
        if not self._has_forgotten and self.judge.past.last:
            self._make_room()
            a_day_ago = self.judge.now_ms - 25 * 3600 * 1000
            self._plain.hset(self.store.keys.appends, "since", a_day_ago)
            self._has_forgotten = True

    def _forbid(self) -> None:
        """Take the permission for one command away from the Redis user of the buffer."""
        self._allow()
        self.judge.forbidden = self.chance.choice(COMMANDS)
        self.tell(f"  {self.judge.forbidden}")
        if self.judge.forbidden in ("HGET", "HSTRLEN"):
            self.judge.keeps_contexts = False  # an append stores its events all the same
        self._arena.permit(f"-{self.judge.forbidden.lower()}")

    def _allow(self) -> None:
        if self.judge.forbidden:
            self._arena.permit("+@all")
            self.judge.forbidden = None

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
        self.judge.look()
        self._snapshot = Snapshot(
            {
                key: (dumped, max(ttl, 0))
                for key, dumped, ttl in zip(keys, found[::2], found[1::2], strict=True)
                if dumped is not None
            },
            copy.deepcopy(self.judge.past),
            self.judge.now_ms,
        )

    def _set_back(self) -> None:
        """Set the server back to the last snapshot, as if a crash had lost its last writes.

        Its clock may be set back too. Then it gives ids that it has given before.
        """
        if self._snapshot is None:
            return
        self._make_room()
        if self.chance.random() < 0.7:
            self.judge.look()
            behind_ms = self._snapshot.now_ms - self.judge.now_ms
            self._arena.clock.step(timedelta(milliseconds=behind_ms))
        with self._plain.pipeline(transaction=True) as pipeline:
            pipeline.delete(*self._keys())
            for key, (dumped, ttl) in self._snapshot.keys.items():
                pipeline.restore(key, ttl, dumped)
            pipeline.execute()
        if self._plain.hexists(self.store.keys.appends, "server"):
            self._plain.hset(self.store.keys.appends, "server", "the one before the crash")
        self.lost |= self.judge.past.events - self._snapshot.past.events
        self.judge.past = copy.deepcopy(self._snapshot.past)
        if self.judge.identities is not None:
            self.judge.identities.set_back(self.judge.past.events)
        self.judge.old_ids |= self.judge.contents.keys()
        self.judge.step_clock(-1)
        self.judge.state = self.judge.look()

    def _count(self) -> None:
        """Compare the counters and the status of the bucket with its contents."""
        self._allow()
        status = read_status(self._direct)
        state, past = self.judge.state, self.judge.past
        held = {id for id, batch in past.batches.items() if batch.holder is not None}
        in_flight = sum(len(events) for id, events in state.batches.items() if id in held)
        check(status.in_flight == in_flight, "events in flight are counted wrong")
        check(status.pending == len(state.row) - in_flight, "pending events are counted wrong")
        check(status.dead == len(state.dead), "dead letters are counted wrong")
        appended = sum(map(len, past.stored.values()))
        check(status.appended == appended, "appended events are counted wrong")
        check(status.batches == len(state.batches) + bool(state.open), "batches are counted wrong")
        check((status.oldest is None) == (status.pending == 0), "the oldest event is told wrong")
        check((status.outage is not None) == past.outage.is_on, "the outage is told wrong")
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
        behind = dead_letters.list_dead(store, limit, first=f"({dead[at][0]}")
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
        self._allow()
        pending.resume(self.store)
        self.grouping.finish()
        self._count()
        for call in self.undecided:
            call.send(self, is_last=True)
        self._drain()
        self.grouping.settle()
        if self.judge.state.dead:
            dead_letters.replay(self.store, [*self.judge.state.dead])
        self._drain()
        self._count()
        check(not self.judge.state.all, "something is left for ever")
        past = self.judge.past
        accounted = self.judge.events_processed | past.oldest | past.misnamed
        dropped = {event for events in past.dropped.values() for event in events}
        gone = dropped | (self.lost - past.events)
        check(self.confirmed <= accounted | gone, "a confirmed event was lost")
        for stamp, events in past.stored.items():
            check(set(events) <= accounted, f"an event of {stamp} was lost")
        self._check_totals()

    def _drain(self) -> None:
        """Process everything. A batch comes as soon as its lease or its backoff has ended."""
        worker = Working(self, "last")
        for _ in range(3):
            while worker.finish():
                pass
            if not self.judge.state.row:
                return
            self._let_pass(LEASE, [worker])

    def _check_totals(self) -> None:
        keys, past = self.store.keys, self.judge.past
        totals = {name.decode(): value for name, value in self._plain.hgetall(keys.stats).items()}
        appended = sum(map(len, past.stored.values()))
        expected = {"appended": appended, "sealed": 0, "claimed": 0, "sealed_bytes": 0, **past.gone}
        expected["successes"] = past.successes
        if self._earlier.producer_keys:
            del expected["appended"]  # the status is right, but the note may not be in the counter
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
        names = [getattr(keys, field.name) for field in fields(keys)]
        return [*names, *sorted(self._earlier.producer_keys)]


STEPS: Final = {
    "append": 30,
    "work": 45,
    "late_copy": 8,
    "retry": 5,
    "crash": 4,
    "clone": 1,
    "fall_silent": 2,
    "wait": 8,
    "set_clock": 3,
    "look_after": 5,
    "save": 3,
    "set_back": 2,
    "fill": 1.5,
    "make_room": 3,
    "forget": 1,
    "forbid": 1.5,
    "allow": 3,
    "restart": 0.3,
    "count": 4,
}
"""The steps, and how likely each is."""


def search(arena: Arena, seeds: Sequence[int]) -> None:
    """Raises :class:`Violation` for the first schedule in which a promise is broken."""
    for seed in seeds:
        schedule = Schedule(arena, seed)
        try:
            schedule.run()
        except Violation as violation:
            raise Violation(
                f"{violation}. To see how: python -m {__spec__.name} {seed}"
            ) from violation


def main(seed: int) -> None:
    """Run one schedule, and print its steps."""
    settings.configure()
    with arena() as its:
        schedule = Schedule(its, seed)
        try:
            schedule.run()
        finally:
            print(schedule.trace)


if __name__ == "__main__":
    main(int(sys.argv[1]))
