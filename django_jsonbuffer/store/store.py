"""The way of a batch through Redis: append, seal, claim, renew, ack or release, split, bury."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.exceptions import LeaseLost
from django_jsonbuffer.limits import Limits
from django_jsonbuffer.stamps import Stamp

from . import calls, catalog_entries, late_entries, reports, scripts
from .appends import Outcome, outcome, packed_limits, size_of, splices, stamp_args, trace_args
from .claims import Burial, Claim, Found, Outage, Reason, duration_of
from .coroutines import finish
from .errors import PATIENCE
from .keys import PRODUCER
from .links import BLOCKING, Link
from .scripts import MILLISECOND, Script
from .shard import Shard
from .traces import NO_TRACES, Traces
from .wire import Packed


class Store(Shard):
    """One shard of a bucket in Redis. Most buckets have only shard 0.

    Each method runs one script in one round trip. It is atomic: it does all that it says, or it
    raises and has changed no event. Only if the connection breaks, a method may raise although its
    script was carried out. Each method may be repeated, because a second copy of its command that
    arrives later changes nothing. Two may need another round trip: the first append of a process to
    a bucket also writes the catalog, and :meth:`claim` asks again after foreign values.
    """

    def __init__(self, name: str, configuration: Configuration, shard: int = 0) -> None:
        super().__init__(name, configuration, shard)
        self.groups_commits = configuration.group_commit
        """Whether appends that wait for a round trip leave together in the next one."""
        self._packed_limits: tuple[Limits, Packed] | None = None

    def append(self, events: Sequence[bytes], stamp: Stamp, limits: Limits, **options: Any) -> None:
        """Append in this thread. See :meth:`append_by`."""
        append = self.append_by(BLOCKING, events, stamp, limits, size=size_of(events), **options)
        if reported := finish(append):
            finish(reports.of_append(self.identity, reported, BLOCKING))

    async def append_by(
        self,
        link: Link,
        events: Sequence[bytes],
        stamp: Stamp,
        limits: Limits,
        *,
        size: int,
        traces: Traces = NO_TRACES,
        patience: timedelta = PATIENCE,
        is_spilled: bool = False,
    ) -> Outcome | None:
        """Append encoded events in their order, once for each stamp. Full batches are sealed.

        Returns what :func:`.reports.of_append` should report, if anything.

        `size` is the result of :func:`size_of`. `traces` are those of the events. `patience` is how
        long to wait if all connections are in use, and for the `durability` of the limits.
        `is_spilled` says that an older version of this app may have sent the append.

        Raises :class:`EventTooLarge` if the events are too large or fill too many batches for one
        call, :class:`BucketFull` if the bucket has no room, and :class:`StampOvertaken` if another
        append has the stamp.
        """
        counts, texts = splices(events, size, limits)
        if self.identity not in catalog_entries.written:
            await late_entries.write_before_append(
                self.identity, link, patience=patience, is_needed=self.needs_catalog
            )
        if (known := self._packed_limits) is None or known[0] is not limits:
            known = self._packed_limits = limits, packed_limits(limits)
        keys = self._append_keys
        if is_spilled:
            keys = (*keys, self.keys.open + PRODUCER + stamp.producer)
        args = (known[1], *stamp_args(stamp), calls.new_token(), counts, *texts)
        if traces.runs:
            args += trace_args(traces, counts)
        durability = limits.durability
        reply = await link.run_once(
            self.identity, scripts.APPEND, keys, args, patience=patience, durability=durability
        )
        return None if reply == b"stored" else outcome(reply, events, self.name)

    def seal(self) -> tuple[str | None, int]:
        """Seal the open batch, whatever its age.

        Returns the id of the newest batch, and how many foreign values became dead letters. The id
        is None if there is no batch or the bucket is paused.
        """
        keys = [*self.event_keys, self.keys.paused]
        newest, foreign = self.run(scripts.SEAL, keys, calls.new_token())
        reports.of_foreign(self.name, foreign)
        return newest.decode() if newest else None, foreign

    def claim(
        self,
        worker: str,
        *,
        lease: timedelta,
        linger: timedelta | None,
        after: str | None = None,
        newest: str | None = None,
        prefers_new: bool = False,
        beats: bool = False,
    ) -> Found:
        """Claim the next batch that no worker holds, or again the batch that `worker` holds.

        If there is no such batch, seals the open batch if it is as old as `linger`, and claims it.
        With `linger=None`, the open batch stays open. With `after`, skips delivered batches up to
        this id, and with `newest`, later batches that were never delivered, so that a drain comes
        to each batch once. After a failure, `prefers_new` lets batches that were never delivered
        come first. Of a paused bucket, claims only what `worker` holds. With `beats`, this is also
        a heartbeat, as by :meth:`beat`.
        """
        keys = [*self.event_keys, self.keys.attempts, self.keys.paused]
        keys += [self.keys.workers, self.keys.history]
        lease_ms = lease // MILLISECOND
        linger_ms = -1 if linger is None else linger // MILLISECOND
        bounds = ("-" if after is None else f"({after}", newest or "+")
        all_foreign = 0
        while True:
            args = (worker, lease_ms, linger_ms, *bounds, int(prefers_new), calls.new_token())
            foreign, *found = self.run(scripts.CLAIM, keys, *args, int(beats))
            all_foreign += foreign
            reports.of_foreign(self.name, foreign)
            if len(found) > 2:
                *claimed, next_ms = found
                next_wait = None if next_ms < 0 else next_ms * MILLISECOND
                claim = Claim.of(worker, claimed, shard=self.shard)
                return Found(claim, all_foreign, next_wait)
            if not foreign:
                wait_ms, reason = found[0], found[1].decode()
                wait = None if reason in ("", "paused") else wait_ms * MILLISECOND
                return Found(None, all_foreign, wait, reason)

    def renew(self, claim: Claim) -> None:
        """Begin the lease again. Raises :class:`LeaseLost`."""
        self._run_held(scripts.RENEW, [self.keys.batches, self.keys.attempts], claim)

    def ack(self, claim: Claim) -> timedelta | None:
        """Remove a batch that has been processed. Raises :class:`LeaseLost`.

        Returns how long the outage was that ends with this success, if there was one.
        """
        reply = self._run_held(scripts.ACK, self._claim_keys, claim, claim.count, len(claim.array))
        return duration_of(reply)

    def release(
        self,
        claim: Claim,
        *,
        lease: timedelta,
        backoff: timedelta,
        reason: Reason = Reason.RETRY,
        error: str = "",
        weight: int = 0,
        is_by_exception: bool = False,
        pause: timedelta | None = None,
    ) -> Outage | None:
        """Release a batch. It can be claimed again after the backoff (at most the lease).

        `error` is what the batch failed with. `weight` is how much this failure tells about an
        outage. In an outage, no worker claims a batch before the `pause` is over, if there is one.
        Returns the outage, if there is one. Raises :class:`LeaseLost`.
        """
        idle = max(lease - backoff, timedelta(0))
        by = "x" if is_by_exception else ""
        args = (claim.count, idle // MILLISECOND, reason.value, weight, by)
        rest = (-1 if pause is None else pause // MILLISECOND, claim.row.failed, error)
        since_ms, told = self._run_held(scripts.RELEASE, self._claim_keys, claim, *args, *rest)
        return None if since_ms < 0 else Outage(since_ms * MILLISECOND, told > 0, told == 2)

    def split(
        self,
        claim: Claim,
        spans: Sequence[tuple[int, int]],
        *,
        at: int,
        keeps: int = 0,
        deaths: int = 0,
        weight: int = 0,
        error: str = "",
    ) -> None:
        """Replace a batch by two pieces, of which the first has `at` events.

        `spans` are start and end of each event. The worker keeps one of the pieces (1 or 2), or
        none (0), and the other can be claimed at once. Both begin with these deaths. `error` and
        `weight` are those of a failure, if there was one. Raises :class:`LeaseLost`.
        """
        last, following = spans[at - 1][1], spans[at][0] + 1
        pieces = (last, following, at, len(spans) - at)
        rest = (deaths, keeps, weight, error, calls.new_token())
        both = ((0, at), (at, len(spans)))
        beside = [str(its.cut(*of)) for its in (claim.origins, claim.traces) for of in both]
        self._run_held(scripts.SPLIT, self._claim_keys, claim, *pieces, *rest, *beside)

    def bury(
        self, claim: Claim, burials: Sequence[Burial], *, processed: int, failures: int
    ) -> timedelta | None:
        """Move events of a batch to the dead letters, and remove the batch.

        `processed` is the number of the other events. `failures` becomes the field ``attempts`` of
        the dead letters. Returns how long the outage was that ends with this, if the processor
        succeeded, and there was one. Raises :class:`LeaseLost`.
        """
        keys = [self.keys.batches, self.keys.dead, self.keys.stats, self.keys.attempts]
        letters: list[str | int] = []
        for start, end, error, traceback, place in burials:
            origin = str(claim.origins.cut(place, place + 1))
            context = claim.traces.context_of(place)
            letters += (start + 1, end, error, traceback, origin, context)
        return duration_of(self._run_held(scripts.BURY, keys, claim, processed, failures, *letters))

    def beat(
        self,
        worker: str,
        *,
        lease: timedelta,
        busy: timedelta = timedelta(0),
        if_used: bool = False,
    ) -> bool:
        """Write the heartbeat of a worker. Once a minute, add a sample to the history. Returns
        False, and writes nothing, if another worker's last heartbeat is more recent than `busy`.
        So it does with `if_used` if the bucket was never used."""
        keys = [*self.event_keys, self.keys.workers, self.keys.history]
        times = lease // MILLISECOND, busy // MILLISECOND
        return bool(self.run(scripts.BEAT, keys, worker, *times, int(if_used)))

    def retire(self, worker: str, *, lease: timedelta) -> None:
        """Remove a worker's name. A batch that it still holds can be claimed at once."""
        keys = [self.keys.batches, self.keys.stats, self.keys.workers]
        self.run(scripts.RETIRE, keys, worker, lease // MILLISECOND)

    def _run_held(
        self, script: Script, keys: list[str], claim: Claim, *args: bytes | str | int
    ) -> Any:
        """Run a script that does nothing and returns nothing unless the worker holds the claim."""
        reply = self.run(script, keys, claim.worker, claim.stored_id, claim.attempt, *args)
        if not reply:
            raise LeaseLost(
                f"Batch {claim.id} of bucket {self.name!r} is no longer held by {claim.worker} "
                f"(delivery {claim.attempt})."
            )
        return reply
