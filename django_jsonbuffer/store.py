"""Every call to Redis. Each is one script, atomic, and one round trip."""

import hashlib
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from importlib import resources
from types import NoneType, TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import redis.exceptions

from . import connections
from .conf import Configuration
from .connections import Packed, packed
from .exceptions import (
    BucketFull,
    BufferOutOfMemory,
    BufferUnavailable,
    EventTooLarge,
    JSONBufferError,
    KeyOccupied,
    LeaseLost,
)
from .keys import bucket_keys, register_key
from .producers import REMEMBERED, Stamp

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger("django_jsonbuffer")

MAX_APPEND_BYTES: Final = 256 * 1024 * 1024
"""Of all events of one call. Redis takes 512 MiB in a string and 1 GiB in a command."""

MAX_APPEND_BATCHES: Final = 10_000
"""That the events of one call may fill, so that no call holds up the server for long."""

DRIVER_ERRORS: Final = (redis.exceptions.RedisError, redis.exceptions.RedisClusterException)

_registered: Final[set[tuple[str, str, str]]] = set()
"""Buckets that this process has put into the register, so that it does so once each."""

_MOST_REGISTERED: Final = 10_000

_PURGE_BATCHES: Final = 100
"""That one call of a purge discards, so that none holds up the server for long."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an append has to keep to. See the options of these names."""

    batch_size: int | None
    batch_bytes: int
    max_pending: int | None = None
    max_pending_bytes: int | None = None
    overflow: str = "raise"

    @cached_property
    def packed(self) -> Packed:
        return packed(
            milliseconds(REMEMBERED),
            self.batch_size or 0,
            self.batch_bytes,
            self.max_pending or 0,
            self.max_pending_bytes or 0,
            self.overflow,
        )


class Drops(NamedTuple):
    """Numbers of events that were given up on purpose."""

    newest: int = 0
    """Refused by ``overflow="drop_newest"``."""

    oldest: int = 0
    """Removed by ``overflow="drop_oldest"``."""

    purged: int = 0
    discarded: int = 0
    """Dead letters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketStatus:
    """How a bucket stands at one moment, read in one round trip."""

    pending: int
    """Events that are waiting: open, or sealed and not claimed."""

    open: int
    """Those of them that are in the open batch."""

    in_flight: int
    """Events that a worker has claimed and not yet acknowledged. Those of a worker that died stay
    here until their lease has run out and another worker claims them."""

    dead: int
    """Dead letters."""

    batches: int
    """Batches that hold the events: the open one, those sealed, those in flight."""

    batches_in_flight: int

    bytes: int
    """Bytes of JSON in these batches."""

    oldest: timedelta | None
    """How long the oldest pending event has waited; None when nothing waits."""

    workers: int
    """Workers that drain the bucket: those that were heard of within the last 30 seconds."""

    paused: timedelta | None
    """For how long the bucket has been paused; None when it is not."""

    failing: int
    """Batches that have failed, and not succeeded since: of the oldest 100 that were delivered."""

    attempt: int
    """How often the oldest of these was delivered."""

    error: str
    """The kind of the error that it last failed with. Empty when its worker died."""

    sampled: timedelta | None
    """How long ago a worker last noted how the bucket stood. None when none ever did."""

    appended_per_minute: float | None
    """Over the last minute or two; longer if no worker was there to note how the bucket stood. None
    when that is not known."""

    processed_per_minute: float | None

    appended: int
    """Events in all that were appended."""

    processed: int
    """Events in all that were processed, or taken by ``take()``."""

    buried: int
    """Events in all that became dead letters."""

    replayed: int
    """Dead letters in all that were replayed."""

    lost: int
    """Events in all that could not be handed to Redis, and for which no caller got an error. Their
    process reports them with its next append to the bucket that succeeds; if the reply to that
    report is lost, it is made and counted once more."""

    dropped: "Drops"
    """Events in all that were given up, by reason."""

    @property
    def batches_open(self) -> int:
        return 1 if self.open else 0

    @property
    def batches_sealed(self) -> int:
        """Those that no worker holds."""
        return self.batches - self.batches_open - self.batches_in_flight


class Sample(NamedTuple):
    """How a bucket stood when a worker noted it."""

    at: datetime
    pending: int
    dead: int
    appended: int
    """Events in all, as `processed`."""

    processed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A batch that was delivered and is not acknowledged."""

    batch: str
    """Its id."""

    worker: str
    """Name of the worker that holds it. Empty when it was given back, to be claimed again."""

    attempt: int
    """How often it was delivered."""

    claimed: timedelta | None
    """How long ago that last was. None when that is not known."""

    idle: timedelta
    """How long ago its lease was last renewed."""

    failures: int
    """How often the processor failed with it."""

    deaths: int
    """How many workers died with it."""

    error: str
    """The kind of the error that it last failed with. Empty when there was none."""


class Deliveries(NamedTuple):
    """Who drains a bucket, and what they hold."""

    workers: Mapping[str, timedelta]
    """By name, how long ago each was heard of."""

    batches: Sequence[Delivery]
    """The oldest first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A batch as one worker holds it, under a lease."""

    id: str
    """The stream id: the same on every delivery of the batch, and never used again."""

    consumer: str
    """Name of the worker."""

    deliveries: int
    """How often the batch was delivered, this time included. Together with the id and the consumer
    it tells this claim from every other, so that a late copy of a command does nothing."""

    count: int
    """Events in the batch."""

    array: bytes
    """The JSON array of the events, as they were appended."""

    failures: int
    """How often the processor failed with it. The halves of a batch begin with what it had."""

    deaths: int
    """How many workers let its lease run out."""

    outages: int
    """How often the sink was away for it, though other events had been processed meanwhile."""


class Burial(NamedTuple):
    """An event of a claimed batch that cannot be processed."""

    start: int
    """Where it begins in the bytes of the batch, and where it ends."""

    end: int
    error: str
    """What is wrong with it."""

    traceback: str = ""


class Letter(NamedTuple):
    """A dead letter as it lies in Redis."""

    id: str
    fields: Mapping[str, bytes]


class Script:
    """A Lua file of this package, with the files that it includes where it names them."""

    _INCLUDE: Final = re.compile(r"^-- @include (.+)$", re.MULTILINE)

    def __init__(self, name: str, *, returns: Callable[[Any], bool]) -> None:
        self.name = name
        self.returns = returns
        """Whether this may be its reply."""

    @cached_property
    def source(self) -> str:
        text = _read_script(self.name + ".lua")
        return self._INCLUDE.sub(
            lambda included: "\n".join(map(_read_script, included[1].split())), text
        )

    @cached_property
    def sha(self) -> str:
        return hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


def _read_script(file: str) -> str:
    return resources.files(__package__).joinpath("scripts", file).read_text("utf-8")


def _number(reply: Any) -> bool:
    return isinstance(reply, int)


def _is_stored(reply: Any) -> bool:
    return bool(reply == b"stored")


def _row(*kinds: type) -> Callable[[Any], bool]:
    """A list of just these."""
    return lambda reply: (
        isinstance(reply, list) and len(reply) == len(kinds) and all(map(isinstance, reply, kinds))
    )


def _texts(reply: Any) -> bool:
    return isinstance(reply, list) and all(isinstance(text, bytes) for text in reply)


def _one_of(*shapes: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda reply: any(shape(reply) for shape in shapes)


def _letters(reply: Any) -> bool:
    return isinstance(reply, list) and all(
        _row(bytes, list)(letter) and _texts(letter[1]) and len(letter[1]) % 2 == 0
        for letter in reply
    )


def _told_deliveries(reply: Any) -> bool:
    is_batch = _row(bytes, bytes, int, int, int, int, int, bytes)
    return (
        _row(list, list)(reply)
        and len(reply[0]) % 2 == 0
        and all(is_batch(each) for each in reply[1])
    )


_STORED: Final = (b"stored", b"repeated", b"dropped")

APPEND: Final = Script("append", returns=_one_of(_is_stored, _row(bytes, int, int, int)))
SEAL: Final = Script("seal", returns=_one_of(_row(bytes, int), _row(NoneType, int)))
CLAIM: Final = Script(
    "claim", returns=_one_of(_row(int), _row(int, bytes, int, int, bytes, int, int, int))
)
ACK: Final = Script("ack", returns=_number)
RELEASE: Final = Script("release", returns=_number)
RENEW: Final = Script("renew", returns=_number)
SPLIT: Final = Script("split", returns=_one_of(_row(), _row(bytes)))
BURY: Final = Script("bury", returns=_number)
BEAT: Final = Script("beat", returns=_number)
RETIRE: Final = Script("retire", returns=_number)
TAKE: Final = Script("take", returns=_row(int, int, int, list))
SET_ASIDE: Final = Script("set_aside", returns=_number)
PEEK: Final = Script("peek", returns=_texts)
STATUS: Final = Script("status", returns=_row(*[int] * 25, bytes))
DELIVERIES: Final = Script("deliveries", returns=_told_deliveries)
PAUSE: Final = Script("pause", returns=_number)
RESUME: Final = Script("resume", returns=_number)
LOSE: Final = Script("lose", returns=_number)
LIST_DEAD: Final = Script("list_dead", returns=_letters)
LIST_DEAD_IDS: Final = Script("list_dead", returns=_texts)
REPLAY: Final = Script("replay", returns=_number)
DISCARD: Final = Script("discard", returns=_number)


class Store:
    """One bucket as it lies in Redis.

    Each method is one script, and atomic: it does all that it says, or it raises and has changed no
    event. Only when the connection breaks may a command have been carried out all the same. Each
    may be repeated, and a late copy of it does nothing.
    """

    def __init__(self, name: str, configuration: Configuration) -> None:
        self.name = name
        self.keys = bucket_keys(configuration.prefix, name)
        self.cache = configuration.cache
        self.identity = (configuration.cache, configuration.prefix, name)
        """Tells the bucket from every other."""
        self._configuration = configuration

    def append(self, events: Sequence[bytes], stamp: Stamp, limits: Limits) -> None:
        """Append encoded events, in their order and once for each stamp, and seal what is full.

        Raises :class:`EventTooLarge` for more than :data:`MAX_APPEND_BYTES` or
        :data:`MAX_APPEND_BATCHES`, and :class:`BucketFull` when there is no room.
        """
        splices = _splices(events, limits)
        self._register()
        reply = self._run(
            APPEND,
            [*self._event_keys, self.keys.attempts, self.keys.producer(stamp.producer)],
            limits.packed,
            b"%d" % stamp.sequence,
            b" ".join([b"%d" % splice.events for splice in splices]),
            *[splice.text for splice in splices],
        )
        if _is_stored(reply):
            return
        outcome, is_new, rubbish, dropped = reply
        if outcome == b"large":
            raise BucketFull(
                f"The open batch of bucket {self.name!r} has no room for "
                f"{sum(map(len, events)):,} bytes more: a string in Redis holds 512 MiB. Let a "
                "consumer take it, or give the bucket a batch_size."
            )
        if outcome == b"full":
            raise BucketFull(
                f"Bucket {self.name!r} has no room for {len(events):,} events more: see its "
                "max_pending and max_pending_bytes. Let more workers drain it, or raise them."
            )
        if outcome not in _STORED:
            raise _no_redis(self.name)
        if is_new:
            self._register_anew()
        self._report_rubbish(rubbish)
        if dropped:
            logger.warning("Bucket %s is full. Dropped: %d events.", self.name, dropped)

    def _register(self, *, anew: bool = False) -> None:
        """Put the bucket into the register of all buckets.

        Before its first append, so that no event lies where nobody looks; and anew when the append
        found the bucket without counters, since the register may be gone with them. It is no part
        of the script: in a cluster, the register lies on another node.
        """
        if self.identity in _registered and not anew:
            return
        key = register_key(self._configuration.prefix)
        with _Asking(self._configuration.cache, self.name, key=key) as client:
            client.sadd(key, self.name)
        if len(_registered) >= _MOST_REGISTERED:
            _registered.clear()
        _registered.add(self.identity)

    def _register_anew(self) -> None:
        """What went wrong here must not be taken for a failure of the append, which is done."""
        try:
            self._register(anew=True)
        except JSONBufferError as error:
            _registered.discard(self.identity)
            logger.warning("Bucket %s is not in the register of buckets yet: %s", self.name, error)

    def seal(self) -> tuple[str | None, int]:
        """Seal the open batch, whatever its age.

        Returns the id of the newest batch, None when there is none or the bucket is paused, and how
        many values were found that are no batch and went to the dead letters, whole.
        """
        newest, rubbish = self._run(SEAL, [*self._event_keys, self.keys.paused])
        self._report_rubbish(rubbish)
        return newest.decode() if newest else None, rubbish

    def claim(
        self, consumer: str, *, lease: timedelta, linger: timedelta | None, after: str | None
    ) -> tuple[Claim | None, int]:
        """Claim the oldest batch that nobody holds, or again the one that `consumer` holds.

        An open batch as old as `linger` is sealed for it; None leaves it open. Batches that were
        delivered before are claimed only past the id `after`, and of a paused bucket none that
        `consumer` does not hold. Returns the claim, and how many values were found that are no
        batches and went to the dead letters, whole.
        """
        all_rubbish = 0
        while True:
            rubbish, *found = self._run(
                CLAIM,
                [*self._event_keys, self.keys.attempts, self.keys.paused],
                consumer,
                milliseconds(lease),
                -1 if linger is None else milliseconds(linger),
                "-" if after is None else f"({after}",
            )
            self._report_rubbish(rubbish)
            all_rubbish += rubbish
            if found:
                id, deliveries, count, array, failures, deaths, outages = found
                claim = Claim(
                    id=id.decode(),
                    consumer=consumer,
                    deliveries=deliveries,
                    count=count,
                    array=array,
                    failures=failures,
                    deaths=deaths,
                    outages=outages,
                )
                return claim, all_rubbish
            if not rubbish:
                return None, all_rubbish

    def renew(self, claim: Claim) -> None:
        """Let the lease begin anew. Raises :class:`LeaseLost`."""
        self._run_held(RENEW, [self.keys.batches], claim)

    def ack(self, claim: Claim) -> None:
        """Remove a batch that has been processed. Raises :class:`LeaseLost`."""
        keys = [self.keys.batches, self.keys.stats, self.keys.attempts]
        self._run_held(ACK, keys, claim, claim.count, len(claim.array))

    def release(
        self,
        claim: Claim,
        *,
        lease: timedelta,
        backoff: timedelta,
        failed: bool = False,
        error: str = "",
    ) -> None:
        """Give a batch back, to be claimed again after the backoff, which the lease bounds.

        `failed` counts it as one of the batch's attempts; otherwise its sink was away. `error` is
        the kind of what was raised. Raises :class:`LeaseLost`.
        """
        keys = [self.keys.batches, self.keys.stats, self.keys.attempts]
        idle = max(lease - backoff, timedelta(0))
        self._run_held(
            RELEASE, keys, claim, claim.count, milliseconds(idle), int(failed), _as_kind(error)
        )

    def split(
        self,
        claim: Claim,
        spans: Sequence[tuple[int, int]],
        *,
        failures: int,
        deaths: int,
        outages: int = 0,
        error: str = "",
    ) -> str:
        """Replace a batch by its two halves, and return the id of the second, the newest batch.

        `spans` tells where its events begin and end; the others are what both halves have behind
        them, `error` the kind of what they last failed with. Raises :class:`LeaseLost`.
        """
        middle = len(spans) // 2
        keys = [self.keys.batches, self.keys.stats, self.keys.attempts]
        (newest,) = self._run_held(
            SPLIT,
            keys,
            claim,
            spans[middle - 1][1],
            spans[middle][0] + 1,
            middle,
            len(spans) - middle,
            failures,
            deaths,
            outages,
            _as_kind(error),
        )
        return newest.decode()  # type: ignore[no-any-return]

    def bury(
        self, claim: Claim, burials: Sequence[Burial], *, processed: int, attempts: int
    ) -> None:
        """Move events of a batch to the dead letters, and remove the batch.

        `processed` is the number of the others, `attempts` what the letters tell of these. Raises
        :class:`LeaseLost`.
        """
        keys = [self.keys.batches, self.keys.dead, self.keys.stats, self.keys.attempts]
        letters: list[str | int] = []
        for start, end, error, traceback in burials:
            letters += (start + 1, end, error, traceback)
        self._run_held(BURY, keys, claim, processed, attempts, *letters)

    def beat(self, consumer: str) -> None:
        """Note that a worker lives, and once a minute how the bucket stands."""
        keys = [self.keys.open, self.keys.batches, self.keys.dead, self.keys.stats]
        self._run(BEAT, [*keys, self.keys.workers, self.keys.history], consumer)

    def retire(self, consumer: str, *, lease: timedelta) -> None:
        """Let a worker go: what it still holds can be claimed at once, and its name is removed."""
        keys = [self.keys.batches, self.keys.stats, self.keys.workers]
        self._run(RETIRE, keys, consumer, milliseconds(lease))

    def take(self) -> list[bytes]:
        """Remove all that is pending, and return it as JSON arrays, oldest first."""
        _, arrays, _ = self._take(counter="processed", returns=True, limit=0)
        return arrays

    def purge(self) -> int:
        """Remove all that is pending, and return how many events that were.

        In portions, each of them atomic.
        """
        total, is_limited = 0, True
        while is_limited:
            count, _, is_limited = self._take(counter="purged", returns=False, limit=_PURGE_BATCHES)
            total += count
        return total

    def _take(self, *, counter: str, returns: bool, limit: int) -> tuple[int, list[bytes], bool]:
        rubbish, count, is_limited, arrays = self._run(
            TAKE, [*self._event_keys, self.keys.attempts], counter, int(returns), limit
        )
        self._report_rubbish(rubbish)
        return count, arrays, bool(is_limited)

    def set_aside(self, values: Sequence[bytes], *, error: str) -> None:
        """Keep what was taken and cannot be read among the dead letters."""
        self._run(SET_ASIDE, [self.keys.dead, self.keys.stats], error, *values)
        self._report_rubbish(len(values))

    def count_lost(self, count: int) -> None:
        """Count events that were lost before they came here."""
        self._run(LOSE, [self.keys.stats], count)

    def pause(self) -> bool:
        """Let no batch be claimed from now on. False when the bucket was paused already."""
        return bool(self._run(PAUSE, [self.keys.paused]))

    def resume(self) -> bool:
        """Let batches be claimed again. False when the bucket was not paused."""
        return bool(self._run(RESUME, [self.keys.paused]))

    def peek(self, limit: int, *, most_bytes: int = 0) -> list[bytes]:
        """JSON arrays, oldest first, that hold at least `limit` pending events if there are.

        With `most_bytes` no more than these, so the last array may be cut.
        """
        return self._run(  # type: ignore[no-any-return]
            PEEK, [self.keys.open, self.keys.batches, self.keys.stats], limit, most_bytes
        )

    def deliveries(self, limit: int) -> Deliveries:
        """The workers, and the oldest batches that were delivered and are not acknowledged."""
        keys = [self.keys.batches, self.keys.attempts, self.keys.workers]
        heard, batches = self._run(DELIVERIES, keys, limit)
        return Deliveries(
            {
                name.decode(errors="replace"): timedelta(milliseconds=ms)
                for name, ms in zip(heard[::2], heard[1::2], strict=True)
            },
            [_delivery(*batch) for batch in batches],
        )

    def status(self) -> BucketStatus:
        return _status(self._run(STATUS, self.status_keys))

    def list_dead(
        self, limit: int, *, after: str | None = None, most_bytes: int = 0
    ) -> list[Letter]:
        """Dead letters, oldest first: the first of all, or those behind the id `after`.

        With `most_bytes` no more than these of each event.
        """
        first = "-" if after is None else f"({after}"
        letters = self._run(LIST_DEAD, [self.keys.dead], first, "+", limit, most_bytes)
        return [_letter(letter) for letter in letters]

    def find_dead(self, id: str) -> Letter | None:
        """The dead letter of that id."""
        found = self._run(LIST_DEAD, [self.keys.dead], id, id, 1, 0)
        return _letter(found[0]) if found else None

    def newest_dead(self) -> str | None:
        """The id of the newest dead letter."""
        newest = self._run(LIST_DEAD_IDS, [self.keys.dead], "newest", "", 1, -1)
        return newest[0].decode() if newest else None

    def dead_ids(self, limit: int, *, last: str) -> list[str]:
        """Ids of the oldest dead letters, as far as the id `last`."""
        ids = self._run(LIST_DEAD_IDS, [self.keys.dead], "-", last, limit, -1)
        return [id.decode() for id in ids]

    def replay(self, ids: Sequence[str]) -> int:
        """Make one batch of the events of dead letters. Returns how many there were."""
        return self._run(  # type: ignore[no-any-return]
            REPLAY, [self.keys.batches, self.keys.dead, self.keys.stats], *ids
        )

    def discard(self, ids: Sequence[str]) -> int:
        """Remove dead letters. Returns how many there were."""
        return self._run(  # type: ignore[no-any-return]
            DISCARD, [self.keys.dead, self.keys.stats], *ids
        )

    @property
    def _event_keys(self) -> list[str]:
        return [self.keys.open, self.keys.batches, self.keys.dead, self.keys.stats]

    @property
    def status_keys(self) -> list[str]:
        return [
            *self._event_keys,
            self.keys.attempts,
            self.keys.workers,
            self.keys.history,
            self.keys.paused,
        ]

    def _run(self, script: Script, keys: list[str], *args: bytes | str | int | Packed) -> Any:
        with _Asking(self.cache, self.name) as client:
            evaluate = _evaluate_once if script is APPEND else _evaluate
            reply = evaluate(client, script, keys, *args)
        if not script.returns(reply):
            raise _no_redis(self.name)
        return reply

    def _run_held(self, script: Script, keys: list[str], claim: Claim, *args: str | int) -> Any:
        """Run a script that does nothing, and returns nothing, unless the claim still holds."""
        reply = self._run(script, keys, claim.consumer, claim.id, claim.deliveries, *args)
        if not reply:
            raise LeaseLost(
                f"Batch {claim.id} of bucket {self.name!r} is no longer held by {claim.consumer} "
                f"as of its delivery {claim.deliveries}."
            )
        return reply

    def _report_rubbish(self, rubbish: int) -> None:
        if rubbish:
            logger.warning(
                "Bucket %s held what is no JSON array of events, put there by another client. "
                "Set aside as dead letters: %d.",
                self.name,
                rubbish,
            )


def statuses(
    names: Sequence[str], configuration: Configuration
) -> list[BucketStatus | JSONBufferError]:
    """The status of each bucket, in one round trip, or what is wrong with that one bucket.

    Raises :class:`BufferUnavailable` when Redis is away, or gives none.
    """
    stores = [Store(name, configuration) for name in names]
    with _Asking(configuration.cache) as client:
        replies = _status_replies(client, stores)
        if any(isinstance(reply, redis.exceptions.NoScriptError) for reply in replies):
            client.script_load(STATUS.source)
            replies = _status_replies(client, stores)
    if not all(isinstance(reply, Exception) or STATUS.returns(reply) for reply in replies):
        raise _no_redis()
    outcomes = [
        _translated(reply, name) if isinstance(reply, Exception) else _status(reply)
        for name, reply in zip(names, replies, strict=True)
    ]
    refusals = [outcome for outcome in outcomes if isinstance(outcome, BufferUnavailable)]
    # Some may be of buckets whose keys this user of Redis may not read.
    if refusals and not any(isinstance(outcome, BucketStatus) for outcome in outcomes):
        raise refusals[0]
    return outcomes


def histories(names: Sequence[str], configuration: Configuration) -> list[list[Sample]]:
    """The samples of each bucket, oldest first, in one round trip."""
    with _Asking(configuration.cache) as client, client.pipeline(transaction=False) as pipeline:
        queue: Callable[..., Any] = pipeline.execute_command
        for name in names:
            key = bucket_keys(configuration.prefix, name).history
            queue("LRANGE", key, 0, -1, NEVER_DECODE=True)
        replies = pipeline.execute(raise_on_error=False)
    return [_samples(reply) for reply in replies]


def registered_names(configuration: Configuration) -> set[str]:
    """The name of every bucket that was ever appended to."""
    key = register_key(configuration.prefix)
    try:
        with _Asking(configuration.cache, key=key) as client:
            members: Any = client.smembers(key)
        return {
            member.decode(errors="replace") if isinstance(member, bytes) else member
            for member in members
        }
    except TypeError as error:
        raise _no_redis() from error


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerFacts:
    """What the server says of itself, where it matters to what it is given to keep."""

    version: tuple[int, ...]
    eviction_policy: str
    has_aof: bool
    has_snapshots: bool


OLDEST_VERSION: Final = (6, 2)
"""The first with ``XPENDING … IDLE`` and exclusive ranges of ids."""


def server_facts(configuration: Configuration) -> ServerFacts:
    saves: Any = {}
    try:
        with _Asking(configuration.cache) as client:
            info: Any = client.info()
            with suppress(redis.exceptions.ResponseError):  # hosted servers have no CONFIG
                saves = client.config_get("save")
        return ServerFacts(
            version=tuple(int(part) for part in str(info["redis_version"]).split(".")[:2]),
            eviction_policy=info.get("maxmemory_policy", "noeviction"),
            has_aof=bool(info.get("aof_enabled")),
            has_snapshots=any(saves.values()),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _no_redis() from error


def position(id: str) -> tuple[int, int]:
    """A stream id is the server's milliseconds, a dash, and a sequence number."""
    time, _, sequence = id.partition("-")
    return int(time), int(sequence)


def milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def batches_of(events: Sequence[bytes], limits: Limits) -> int:
    """How many batches the events of one call fill.

    Raises :class:`EventTooLarge` when those, or their bytes, are more than one call may have.
    """
    return len(_checked_portions(events, limits))


def size_of(events: Sequence[bytes]) -> int:
    """Bytes of a call with these events, and a comma for each."""
    return sum(map(len, events)) + len(events)


class _Splice(NamedTuple):
    """Events as they are written over the closing bracket of the open batch, in one copy."""

    events: int
    """How many there are."""

    text: bytes
    """``,<event>,<event>]``"""


def _splices(events: Sequence[bytes], limits: Limits) -> list[_Splice]:
    portions = _checked_portions(events, limits)
    return [_Splice(len(portion), b",%b]" % b",".join(portion)) for portion in portions]


def _checked_portions(events: Sequence[bytes], limits: Limits) -> list[Sequence[bytes]]:
    """The events of one call, each portion as large as a batch may be at the most."""
    size = size_of(events)
    batch_size, batch_bytes = limits.batch_size, limits.batch_bytes
    if batch_size is None or (len(events) <= batch_size and 1 + size <= batch_bytes):
        portions = [events]
    else:
        portions = [*_portions(events, batch_size, batch_bytes)]
    if size > MAX_APPEND_BYTES or len(portions) > MAX_APPEND_BATCHES:
        raise EventTooLarge(
            f"The {len(events):,} events of one call have {size:,} bytes as JSON and fill "
            f"{len(portions):,} batches; {MAX_APPEND_BYTES:,} and {MAX_APPEND_BATCHES:,} are "
            "allowed. Append them in smaller portions."
        )
    return portions


def _portions(
    events: Iterable[bytes], batch_size: int, batch_bytes: int
) -> Iterator[Sequence[bytes]]:
    portion: list[bytes] = []
    size = 1
    for event in events:
        if portion and (len(portion) == batch_size or size + 1 + len(event) > batch_bytes):
            yield portion
            portion, size = [], 1
        portion.append(event)
        size += 1 + len(event)
    yield portion


class _Asking:
    """The client, for a block in which it is asked; the driver's errors come out as this app's.

    A class and no generator, since each append passes through it.
    """

    def __init__(self, alias: str, name: str | None = None, *, key: str = "") -> None:
        self._client = connections.client(alias)
        self._alias = alias
        self._name = name
        self._key = key
        """The one that is asked for, where it is not the bucket's."""
        self._around = sys.exception()

    def __enter__(self) -> "Redis":
        return self._client

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            return
        if isinstance(error, DRIVER_ERRORS):
            translated = _translated(error, self._name, key=self._key)
            if isinstance(translated, BufferUnavailable):
                was_not_sent = connections.was_not_sent(error, around=self._around)
                translated.may_be_done = not was_not_sent
            raise translated from None if _ARGUMENTS in str(error) else error
        if option := connections.wrong_option(error):
            raise connections.misconfigured_option(self._alias, option) from error
        # Between a command and its reply: whoever had the connection next would read it.
        connections.close_idle(self._client)


def _evaluate(client: "Redis", script: Script, keys: list[str], *args: object) -> Any:
    """The script's reply, as bytes even where the client decodes replies."""
    execute: Callable[..., Any] = partial(client.execute_command, NEVER_DECODE=True)
    try:
        return execute("EVALSHA", script.sha, len(keys), *keys, *args)
    except redis.exceptions.NoScriptError:
        return execute("EVAL", script.source, len(keys), *keys, *args)


def _evaluate_once(client: "Redis", script: Script, keys: list[str], *args: Any) -> Any:
    """The same, without the client's own repeating. All keys but the last are always the same."""
    *same, last = keys
    execute = partial(connections.execute_once, client, key=last)
    try:
        return execute(packed("EVALSHA", script.sha, len(keys), *same), last.encode(), *args)
    except redis.exceptions.NoScriptError:
        source, these = script.source.encode(), packed(len(keys), *same)
        return execute(packed("EVAL"), source, these, last.encode(), *args)


def _status_replies(client: "Redis", stores: Iterable[Store]) -> list[Any]:
    with client.pipeline(transaction=False) as pipeline:
        queue: Callable[..., Any] = pipeline.execute_command
        for store in stores:
            keys = store.status_keys
            queue("EVALSHA", STATUS.sha, len(keys), *keys, NEVER_DECODE=True)
        return pipeline.execute(raise_on_error=False)


def _status(reply: list[Any]) -> BucketStatus:
    open_, sealed, claimed, batches, batches_in_flight, size, dead, waited_ms, *rest = reply
    workers, paused_ms, failing, attempt, sampled_ms, since_ms, *rest = rest
    appended_then, processed_then, *rest = rest
    appended, processed, buried, replayed, lost, *drops, error = rest
    return BucketStatus(
        pending=open_ + sealed,
        open=open_,
        in_flight=claimed,
        dead=dead,
        batches=batches,
        batches_in_flight=batches_in_flight,
        bytes=size,
        oldest=_duration(waited_ms),
        workers=workers,
        paused=_duration(paused_ms),
        failing=failing,
        attempt=attempt,
        error=error.decode(errors="replace"),
        sampled=_duration(sampled_ms),
        appended_per_minute=_per_minute(appended - appended_then, since_ms),
        processed_per_minute=_per_minute(processed - processed_then, since_ms),
        appended=appended,
        processed=processed,
        buried=buried,
        replayed=replayed,
        lost=lost,
        dropped=Drops(*drops),
    )


def _duration(ms: int) -> timedelta | None:
    return None if ms < 0 else timedelta(milliseconds=ms)


def _per_minute(events: int, ms: int) -> float | None:
    """None over less than half a minute, which tells little, and when a total began again."""
    return None if ms < _SHORTEST_MS or events < 0 else events * 60_000 / ms


def _delivery(
    id: bytes,
    worker: bytes,
    deliveries: int,
    claimed_ms: int,
    idle_ms: int,
    failures: int,
    deaths: int,
    error: bytes,
) -> Delivery:
    return Delivery(
        batch=id.decode(),
        worker=worker.decode(errors="replace"),
        attempt=deliveries,
        claimed=_duration(claimed_ms),
        idle=timedelta(milliseconds=idle_ms),
        failures=failures,
        deaths=deaths,
        error=error.decode(errors="replace"),
    )


def _samples(texts: Any) -> list[Sample]:
    """Without those that another client has spoilt; none of a key that cannot be read."""
    if not _texts(texts):
        return []
    rows = [text.split(b" ") for text in texts if _SAMPLE.fullmatch(text)]
    return [
        Sample(datetime.fromtimestamp(int(ms) / 1000, UTC), *map(int, figures))
        for ms, *figures in rows
    ]


def _as_kind(error: str) -> str:
    """Of the name of a class as much as anybody reads."""
    return " ".join(error.split())[:100]


def _letter(reply: tuple[bytes, list[bytes]]) -> Letter:
    id, fields = reply
    names = (name.decode(errors="replace") for name in fields[::2])
    return Letter(id.decode(), dict(zip(names, fields[1::2], strict=True)))


_SHORTEST_MS: Final = 30_000

_SAMPLE: Final = re.compile(rb"[0-9]{1,14}( [0-9]{1,15}){4}")
"""Fourteen digits of ms reach to the year 5138."""

_ARGUMENTS: Final = ", with args beginning with"
"""Behind it, a server that does not know a command repeats what it was sent: events, a password."""


def _no_redis(name: str | None = None) -> BufferUnavailable:
    bucket = f" for bucket {name!r}" if name else ""
    unavailable = BufferUnavailable(
        f"What answered{bucket} is no Redis: its reply makes no sense. See where CACHES points."
    )
    unavailable.may_be_done = True
    return unavailable


def _translated(error: Exception, name: str | None = None, *, key: str = "") -> JSONBufferError:
    """The error of this app for one of the driver. Messages of Redis hold keys, never events."""
    bucket = f" for bucket {name!r}" if name else ""
    # Before 7.0, an error within a script keeps its code only in its text. Behind it stands where
    # in the script it was.
    text = str(error).partition(" script: ")[0].partition(_ARGUMENTS)[0]
    if isinstance(error, redis.exceptions.OutOfMemoryError) or "OOM " in text:
        return BufferOutOfMemory(
            f"Redis has no memory left{bucket}, and took nothing. Drain faster, or raise its "
            "maxmemory."
        )
    if "WRONGTYPE" in text:
        which = f"The key {key!r}" if key else f"A key{bucket}"
        return KeyOccupied(
            f"{which} holds a value of another type, which this app did not put there: see the "
            "TYPE of its keys. Nothing was changed. Move that key away, or choose another name or "
            "PREFIX."
        )
    if isinstance(error, redis.exceptions.AuthenticationError):
        return BufferUnavailable(f"Redis does not let this site in{bucket}: {text}")
    if isinstance(error, redis.exceptions.TimeoutError | redis.exceptions.ConnectionError):
        unavailable = BufferUnavailable(f"Redis cannot be reached{bucket}: {text}")
        unavailable.is_unreachable = not (
            isinstance(error, redis.exceptions.BusyLoadingError)
            or connections.is_pool_exhausted(error)
        )
        return unavailable
    return BufferUnavailable(f"Redis refused a command{bucket}: {text}")
