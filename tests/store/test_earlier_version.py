"""Processes of two versions of this app use one bucket at the same time, as during a deployment.

``earlier/`` has scripts of the version before, which noted the open batch in the counters, and the
last append of each producer in a key of its own.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from django_jsonbuffer.appending.producers import Producer
from django_jsonbuffer.exceptions import BucketFull, StampOvertaken
from django_jsonbuffer.limits import Limits
from django_jsonbuffer.stamps import Stamp
from django_jsonbuffer.store import pending
from django_jsonbuffer.store.keys import PRODUCER
from django_jsonbuffer.store.status import read_status
from django_jsonbuffer.store.store import Store
from django_jsonbuffer.store.traces import NO_TRACES
from tests.server import Redis
from tests.stamps import a_stamp
from tests.store.steps import append_traced, claim, claimed, context

SCRIPTS = {path.stem: path.read_text() for path in Path(__file__).parent.glob("earlier/*.lua")}
BATCH_SIZE = 4
LIMITS = Limits(batch_size=BATCH_SIZE, batch_bytes=500)
DAY_MS = 24 * 60 * 60 * 1000


class Later:
    """A process of this version."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._producer = Producer()

    def append(self, *values: Any, limits: Limits = LIMITS, stamp: Stamp | None = None) -> None:
        events = [json.dumps(value).encode() for value in values]
        self._store.append(events, stamp or self._producer.next_stamp(), limits)

    def work(self) -> list[Any]:
        """Claim, process and ack one batch."""
        found = claim(self._store, "later")
        if found is None:
            return []
        assert found.count == len(json.loads(found.array))
        self._store.ack(found)
        return json.loads(found.array)  # type: ignore[no-any-return]

    def seal(self) -> None:
        self._store.seal()

    def take(self) -> list[Any]:
        return [event for array in pending.take(self._store) for event in json.loads(array)]


class Earlier:
    """A process of the version before."""

    def __init__(self, store: Store, plain: Redis) -> None:
        self._keys, self._plain = store.keys, plain
        self._producer = Producer()

    def run(self, script: str, keys: list[str], *args: Any) -> Any:
        return self._plain.eval(SCRIPTS[script], len(keys), *keys, *args)

    def append(self, *values: Any, limits: Limits = LIMITS, stamp: Stamp | None = None) -> None:
        keys, (producer, sequence, nonce) = self._keys, stamp or self._producer.next_stamp()
        events = [keys.open, keys.batches, keys.dead, keys.stats, keys.attempts]
        bounds = (
            limits.batch_size,
            limits.batch_bytes,
            limits.max_pending or 0,
            0,
            limits.overflow,
        )
        texts = [json.dumps(value) for value in values]
        counts, splices = " ".join("1" * len(texts)), [f",{text}]" for text in texts]
        args = (DAY_MS, *bounds, sequence, nonce, self._token(), counts, *splices)
        reply = self.run("append", [*events, f"{keys.open}{PRODUCER}{producer}"], *args)
        outcome = reply if reply == b"stored" else reply[0]
        if outcome == b"full":
            raise BucketFull
        assert outcome in (b"stored", b"repeated")

    def work(self) -> list[Any]:
        """Claim, process and ack one batch."""
        keys = self._keys
        events = [keys.open, keys.batches, keys.dead, keys.stats, keys.attempts, keys.paused]
        reply = self.run("claim", events, "earlier", 60_000, 0, "-", "+", 0, self._token())
        if len(reply) == 3:
            return []
        _, id, token, attempt, count, array, *_ = reply
        assert count == len(json.loads(array))
        batch, stream = f"{id.decode()}-{token.decode()}", [keys.batches, keys.stats, keys.attempts]
        assert self.run("ack", stream, "earlier", batch, attempt, count, len(array))
        return json.loads(array)  # type: ignore[no-any-return]

    def seal(self) -> None:
        keys = self._keys
        self.run(
            "seal", [keys.open, keys.batches, keys.dead, keys.stats, keys.paused], self._token()
        )

    def take(self) -> list[Any]:
        keys = self._keys
        events = [keys.open, keys.batches, keys.dead, keys.stats, keys.attempts]
        *_, arrays = self.run("take", events, "processed", 1, 0)
        return [event for array in arrays for event in json.loads(array)]

    @staticmethod
    def _token() -> str:
        return f"{random.getrandbits(32):08x}"


@pytest.fixture
def later(store: Store) -> Later:
    return Later(store)


@pytest.fixture
def earlier(store: Store, client_of_server: Redis) -> Earlier:
    return Earlier(store, client_of_server)


class TestTogether:
    @pytest.mark.parametrize("max_pending", [None, 12])
    @pytest.mark.parametrize("seed", range(20))
    def test_each_event_comes_once_and_in_order(
        self, store: Store, later: Later, earlier: Earlier, seed: int, max_pending: int | None
    ) -> None:
        chance = random.Random(seed)
        limits = Limits(batch_size=BATCH_SIZE, batch_bytes=500, max_pending=max_pending)
        appended, came = list[Any](), list[Any]()
        for number in range(400):
            process: Any = chance.choice([later, earlier])
            what = chance.choices(["append", "work", "seal", "take"], [20, 4, 1, 1])[0]
            if what == "append":
                event = ["x" * chance.choice([1, 40, 90]), number]
                try:
                    process.append(event, limits=limits)
                    appended.append(event)
                except BucketFull:
                    assert len(appended) - len(came) == max_pending
            elif what == "seal":
                process.seal()
            else:
                came += getattr(process, what)()
            status = read_status(store)
            assert (status.pending, status.appended) == (len(appended) - len(came), len(appended))
        came += later.take()
        assert came == appended

    def test_first_calls_of_this_version_keep_what_is_there(
        self, store: Store, later: Later, earlier: Earlier, client_of_server: Redis
    ) -> None:
        earlier.append(1)
        client_of_server.hset(store.keys.stats, "appended", 1001)
        assert (read_status(store).pending, read_status(store).appended) == (1, 1001)
        later.append(2)
        later.append(3)
        assert (read_status(store).pending, read_status(store).appended) == (3, 1003)
        assert later.work() == [1, 2, 3]
        assert read_status(store).appended == 1003

    @pytest.mark.parametrize("taker", ["later", "earlier"])
    def test_another_batch_that_looks_the_same_is_counted(
        self, later: Later, earlier: Earlier, taker: str
    ) -> None:
        """The earlier version does not take a batch of this version for its own."""
        end = "z" * 40
        earlier.append("a" * 50 + end)
        (later if taker == "later" else earlier).take()
        later.append("b" * 3)
        later.append("c" * 44 + end)  # now the array is as long, and ends in the same way
        earlier.append("d")
        assert len(earlier.work()) == 3

    @pytest.mark.parametrize("end", [Earlier.work, Earlier.take])
    def test_open_batch_that_the_earlier_version_has_emptied(
        self, store: Store, later: Later, earlier: Earlier, end: Callable[[Earlier], list[Any]]
    ) -> None:
        later.append(1)
        later.append(2)
        assert end(earlier) == [1, 2]
        later.append(3)
        assert read_status(store).pending == 1
        assert later.work() == [3]


class TestTraced:
    """The earlier version knows no traces."""

    def test_batch_is_processed_by_the_earlier_version(
        self, store: Store, earlier: Earlier
    ) -> None:
        append_traced(store, context(1), 1)
        store.seal()
        assert earlier.work() == [1]

    def test_open_batch_that_the_earlier_version_changes_loses_its_traces(
        self, store: Store, earlier: Earlier
    ) -> None:
        append_traced(store, context(1), 1)
        earlier.append(2)
        append_traced(store, context(3), 3)
        store.seal()
        claim = claimed(store)
        assert (claim.count, claim.traces) == (3, NO_TRACES)


class TestSpilled:
    """The earlier version may have stored an append that it has spilled."""

    def send(self, store: Store, stamp: Stamp) -> None:
        store.append([b"1"], stamp, LIMITS, is_spilled=True)

    def test_append_that_is_stored_is_a_repeat(self, store: Store, earlier: Earlier) -> None:
        stamp = a_stamp()
        earlier.append(1, stamp=stamp)
        self.send(store, stamp)
        self.send(store, stamp)
        assert pending.take(store) == [b"[1]"]

    def test_append_of_a_copy_is_overtaken(self, store: Store, earlier: Earlier) -> None:
        stamp = a_stamp()
        earlier.append(1, stamp=stamp)
        with pytest.raises(StampOvertaken):
            self.send(store, stamp._replace(nonce="another"))
        assert pending.take(store) == [b"[1]"]

    def test_append_that_is_not_stored_is_stored_once(self, store: Store) -> None:
        stamp = a_stamp()
        for _ in range(2):
            self.send(store, stamp)
        assert pending.take(store) == [b"[1]"]

    def test_group_is_a_repeat_up_to_its_last_number(self, store: Store, earlier: Earlier) -> None:
        group = "d0be2dc421be4fcd"
        earlier.append(1, stamp=Stamp(group, 7, ""))
        for number in (5, 7, 8, 6, 8):
            self.send(store, Stamp(group, number, ""))
        assert pending.take(store) == [b"[1,1]"]

    def test_is_a_repeat_behind_others_of_both_versions(
        self, store: Store, earlier: Earlier
    ) -> None:
        """The bucket knows the producer, and the open batch is as this version left it."""
        self.send(store, Stamp("d0be2dc421be4fcd", 5, ""))
        earlier.append(1, stamp=Stamp("d0be2dc421be4fcd", 7, ""))
        wide = Limits(batch_size=100, batch_bytes=500)
        store.append([b"2"], a_stamp(), wide)
        store.append([b"1"], Stamp("d0be2dc421be4fcd", 7, ""), wide, is_spilled=True)
        assert pending.take(store) == [b"[1,1,2]"]
