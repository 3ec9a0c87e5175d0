"""Faults that a test injects: what happens in production once a year."""

import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Final, Literal, get_args

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.draining.batches import Batch
from django_jsonbuffer.exceptions import BufferUnavailable, LeaseLost
from django_jsonbuffer.store.breakers import breakers
from django_jsonbuffer.store.clients import clients, stand_ins
from django_jsonbuffer.store.keys import split_shard
from django_jsonbuffer.store.store import Store

from .blocks import block
from .commits import commit_appends
from .draining import drain_now
from .journal import required_isolation
from .leases import end_leases, give_away
from .processors import around_processors
from .stores import Watch, watches

Moment = Literal["claim", "processor", "commit", "ack"]
Reply = Literal["append", "ack"]


_NOTHING_DRAINED: Final = (
    "no worker in the block came so far. In a TestCase, drain with drain_now(), or call "
    "commit_appends() first, because no commit comes."
)


class WorkerCrashed(KeyboardInterrupt):
    """The worker dies here. :func:`crash` catches it.

    It is not an ``Exception``, because nothing that the worker does after an exception may happen.
    """


@block
def crash(*, after: Moment) -> Generator[None, None, None]:
    """Let the worker that drains in the block die at this moment, as if it were killed.

    ``"claim"``: it has claimed a batch. ``"processor"``: the processor has returned; its
    transaction is rolled back if it has ``atomic=`` or receipts. ``"commit"``: that transaction is
    committed. ``"ack"``: the batch is acknowledged.

    The block ends there, and the lease of the dead worker runs out. So the next drain gets the
    batch again, unless it was acknowledged. Raises ``AssertionError`` if no worker comes to the
    moment.
    """
    _check("after", after, Moment)
    required_isolation()
    died: list[Store] = []

    def watch(moment: str, store: Store, batch: str) -> None:
        if died:
            raise BufferUnavailable("The worker is dead, and sends nothing.")
        if moment == after:
            died.append(store)
            raise WorkerCrashed

    @contextmanager
    def die_after(batch: Batch) -> Iterator[None]:
        yield
        shard = split_shard(batch.id)[1]
        watch("processor", Bucket(batch.bucket)._definition.parts.store.of_shard(shard), batch.id)

    with _watching(watch), around_processors(die_after):
        try:
            yield
        except BaseException as error:
            if not _is_of_crash(error):
                raise
    if not died:
        raise AssertionError(f"No worker crashed after {after!r}: {_NOTHING_DRAINED}")
    end_leases(died[0])


def _is_of_crash(error: BaseException | None) -> bool:
    """Whether the crash has led to the error: `drain_buckets` has one of its own."""
    while error is not None and not isinstance(error, WorkerCrashed):
        error = error.__context__
    return error is not None


@block
def duplicate_delivery() -> Generator[None, None, None]:
    """Let each batch that is drained in the block be delivered once more, at the end of the block.

    Its first ack comes too late, after the lease. So the processor gets the same ``batch.id`` with
    the next ``batch.attempt``, unless receipts say that the events were processed.
    """
    with late_acks() as deliver_again:
        yield
    deliver_again()


@contextmanager
def late_acks() -> Iterator[Callable[..., None]]:
    """Let the first ack of each batch in the block come too late.

    Gives a function that delivers these batches once more, for a call after the block. Without the
    handle of a bucket, it drains with the declared options.
    """
    required_isolation()
    late: dict[str, Store] = {}

    def lose_ack(moment: str, store: Store, batch: str) -> None:
        if moment == "commit" and batch not in late:
            late[batch] = store
            give_away(store, batch)
            raise LeaseLost(f"Batch {batch} is acknowledged too late, as the test wants it.")

    def deliver_again(*buckets: Bucket) -> None:
        if not late:
            raise AssertionError(f"No batch was delivered twice: {_NOTHING_DRAINED}")
        for store in {store.identity: store for store in late.values()}.values():
            end_leases(store)
        drain_now(*(buckets or {store.name for store in late.values()}))

    with _watching(lose_ack):
        yield deliver_again


@block
def lost_reply(*, to: Reply = "append", times: int = 1) -> Generator[None, None, None]:
    """Let the replies to the first appends or acks of the block be lost, after Redis did them.

    Each is sent again, and Redis must notice it. In a ``TestCase``, what the block appends within
    ``atomic()`` leaves at the end of the block.
    """
    _check("to", to, Reply)
    commit_appends()
    lost: list[str] = []

    def lose(moment: str, store: Store, batch: str) -> None:
        if moment == to and len(lost) < times:
            lost.append(store.name)
            error = BufferUnavailable("The reply was lost, as the test wants it.")
            error.may_be_done = True
            raise error

    with _watching(lose):
        yield
        commit_appends()
    if len(lost) < times:
        raise AssertionError(
            f"The block had {len(lost)} replies to lose, and not {times}: it has sent no more "
            f"{'appends' if to == 'append' else 'acks'}."
        )


@block
def redis_away() -> Generator[None, None, None]:
    """Let Redis be unreachable in the block, for this process.

    In a ``TestCase``, what the block appends within ``atomic()`` leaves at the end of the block,
    when Redis is still away.
    """
    commit_appends()
    cache = configuration().cache
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/nobody.sock"
        stand_ins[cache] = Redis(unix_socket_path=path, retry=Retry(NoBackoff(), 0))
        clients.pop(cache, None)
        try:
            yield
            commit_appends()
        finally:
            del stand_ins[cache]
            clients.pop(cache, None)
            breakers.pop(cache, None)  # or appends would fail for a while


def _check(name: str, value: str, kind: object) -> None:
    if value not in (names := get_args(kind)):
        raise ValueError(f"{name}={value!r} must be one of {', '.join(map(repr, names))}.")


@contextmanager
def _watching(watch: Watch) -> Iterator[None]:
    watches.append(watch)
    try:
        yield
    finally:
        watches.remove(watch)
