"""A Redis user that may not run one of the commands. Nothing may ever be half written."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.acl import ROLES
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.limits import Limits
from django_jsonbuffer.store import dead_letters, deliveries, letter_groups, pending, scripts
from django_jsonbuffer.store.claims import Claim
from django_jsonbuffer.store.coroutines import finish
from django_jsonbuffer.store.links import BLOCKING
from django_jsonbuffer.store.patterns import Names
from django_jsonbuffer.store.registry import register
from django_jsonbuffer.store.script_files import MAY_BE_REFUSED, commands_of
from django_jsonbuffer.store.scripts import Script
from django_jsonbuffer.store.store import Store
from tests.prepared import store_of
from tests.server import Redis
from tests.stamps import next_stamp
from tests.store.steps import MINUTE, NOW, append, bury, claimed, dump


class User:
    """The Redis user of the buffer."""

    def __init__(self, plain: Redis) -> None:
        self._plain = plain
        self._set("on", ">s3cret", "~*", *ROLES["operator"].permissions())

    @contextmanager
    def without(self, command: str) -> Iterator[None]:
        self._set(f"-{command.lower()}")
        yield
        self._set(f"+{command.lower()}")

    def _set(self, *rules: str) -> None:
        self._plain.execute_command("ACL", "SETUSER", "app", *rules)


@pytest.fixture
def user(private_server: Redis, use_cache: Callable[..., str]) -> User:
    path = private_server.get_connection_kwargs()["path"]
    user = User(private_server)
    use_cache(f"unix://app:s3cret@{path}?db=0")
    return user


def events_of(plain: Redis, store: Store) -> list[Any]:
    """All events of the bucket, wherever they are. Foreign values are there as texts."""
    arrays = [fields[b"events"] for _, fields in plain.xrange(store.keys.batches)]
    arrays += [plain.get(store.keys.open) or b"[]"]
    letters = [fields[b"event"].decode() for _, fields in plain.xrange(store.keys.dead)]
    return letters + [event for array in arrays for event in json.loads(array)]


def dump_of_bucket(plain: Redis, store: Store) -> dict[bytes, bytes | None]:
    """What the bucket holds, without the catalog."""
    opened = {store.keys.open.encode(): plain.dump(store.keys.open)}
    return opened | dump(plain, store.keys.open)


Call = Callable[[], object]


def refusal_of(call: Call) -> BufferUnavailable | None:
    try:
        call()
    except BufferUnavailable as error:
        return error
    return None


def to_seal(plain: Redis, store: Store) -> None:
    append(store, 1)


def foreign(plain: Redis, store: Store) -> None:
    append(store, 1)
    plain.set(store.keys.open, "rubbish")


def padded(plain: Redis, store: Store) -> None:
    append(store, 1)
    plain.set(store.keys.open, " [1,2] ")


def full(plain: Redis, store: Store) -> None:
    append(store, 1, 2, 3, 4, 5, batch_size=2)
    store.release(claimed(store), lease=MINUTE, backoff=NOW)


def empty(plain: Redis, store: Store) -> None:
    append(store, 1)
    pending.take(store)


def new(plain: Redis, store: Store) -> None:
    pass


BEFORE_APPENDS: dict[str, tuple[Callable[[Redis, Store], None], dict[str, Any]]] = {
    "first of a bucket": (new, {}),
    "to an empty bucket": (empty, {}),
    "to an open batch": (to_seal, {}),
    "to an open batch with a cap": (to_seal, {"max_pending": 9}),
    "that seals": (to_seal, {"batch_size": 2}),
    "of several batches": (to_seal, {"batch_size": 1}),
    "to a foreign value": (foreign, {}),
    "to a value with white space": (padded, {}),
    "that drops the oldest": (full, {"max_pending": 5, "overflow": "drop_oldest"}),
    "that drops all": (full, {"max_pending": 2, "overflow": "drop_oldest"}),
    "to a bucket with receipts": (to_seal, {"has_receipts": True}),
    "that drops itself": (full, {"max_pending": 5, "overflow": "drop_newest"}),
}


@pytest.mark.parametrize("case", BEFORE_APPENDS)
class TestAppend:
    def test_is_stored_or_refused(self, private_server: Redis, user: User, case: str) -> None:
        prepare, limits = BEFORE_APPENDS[case]
        store = store_of("orders")
        options = Limits(**{"batch_size": 1000, "batch_bytes": 1000, **limits})
        for command in commands_of(scripts.APPEND.source):
            private_server.flushdb()
            prepare(private_server, store)
            before, stamp = dump_of_bucket(private_server, store), next_stamp()
            with user.without(command):
                error = refusal_of(partial(store.append, [b"8", b"9"], stamp, options))
            if error is not None:
                assert dump_of_bucket(private_server, store) == before
                assert f"'{command.lower()}'" in str(error)
                assert "manage.py redis_acl" in str(error)
                assert (error.may_be_done, error.may_be_repeated) == (False, True)
            store.append([b"8", b"9"], stamp, options)
            stored = 0 if "itself" in case else 1
            assert [events_of(private_server, store).count(n) for n in (8, 9)] == [stored] * 2

    def test_that_is_spilled_is_processed_once(
        self, private_server: Redis, user: User, case: str, tmp_path: Path
    ) -> None:
        prepare, limits = BEFORE_APPENDS[case]
        options = {name: limits[name] for name in limits if name != "has_receipts"}
        bucket = Bucket("orders", on_unavailable="spill", spill_dir=tmp_path, lease=NOW, **options)
        processed: list[Any] = []
        bucket.processor(processed.extend)
        for command in commands_of(scripts.APPEND.source):
            private_server.flushdb()
            prepare(private_server, store_of("orders"))
            with user.without(command):
                bucket.extend([8, 9])
            processed.clear()
            bucket.drain()
            stored = 0 if "itself" in case else 1
            assert [processed.count(n) for n in (8, 9)] == [stored] * 2


def foreign_everywhere(plain: Redis, store: Store) -> None:
    full(plain, store)
    plain.xadd(store.keys.batches, {"foreign": "x"})
    foreign(plain, store)


def seal(plain: Redis, store: Store) -> Call:
    foreign(plain, store)
    return store.seal


def claim(plain: Redis, store: Store) -> Call:
    foreign_everywhere(plain, store)
    return partial(claimed, store)


def take(plain: Redis, store: Store) -> Call:
    foreign_everywhere(plain, store)
    return partial(pending.take, store)


def held(store: Store) -> Claim:
    append(store, 1, 2, batch_size=2)
    append(store, 3)
    return claimed(store)


def release(plain: Redis, store: Store) -> Call:
    return partial(store.release, held(store), lease=MINUTE, backoff=NOW)


def retry_now(plain: Redis, store: Store) -> Call:
    claim = held(store)
    store.release(claim, lease=MINUTE, backoff=MINUTE)
    return partial(deliveries.retry_now, store, claim.stored_id)


def split(plain: Redis, store: Store) -> Call:
    return partial(store.split, held(store), [(1, 2), (3, 4)], at=1)


def beat(plain: Redis, store: Store) -> Call:
    held(store)
    return partial(store.beat, "worker", lease=MINUTE)


def retire(plain: Redis, store: Store) -> Call:
    held(store)
    return partial(store.retire, "worker", lease=MINUTE)


def resume(plain: Redis, store: Store) -> Call:
    pending.pause(store)
    return partial(pending.resume, store)


def letters(store: Store) -> list[str]:
    append(store, 1, batch_size=1)
    bury(store, claimed(store))
    return dead_letters.dead_ids(store, 10, last="+")


def expire(plain: Redis, store: Store) -> Call:
    letters(store)
    letters(store)
    return partial(dead_letters.expire, store, max_dead=1, dead_after=None)


def forget_group(plain: Redis, store: Store) -> Call:
    [id] = letters(store)
    plain.xdel(store.keys.dead, id)
    return partial(letter_groups.forget_group, store, "no", last=id)


def note_count(plain: Redis, store: Store) -> Call:
    append(store, 1)
    plain.set(store.keys.open, "[1,2]")
    args = (2, len("[1,2]"), "[1,2]")
    keys = [store.keys.open, store.keys.stats, store.keys.appends]
    return partial(store.run, scripts.NOTE_COUNT, keys, *args)


CALLS: dict[Script, Callable[[Redis, Store], Call]] = {
    scripts.SEAL: seal,
    scripts.CLAIM: claim,
    scripts.RETRY_NOW: retry_now,
    scripts.RENEW: lambda plain, store: partial(store.renew, held(store)),
    scripts.ACK: lambda plain, store: partial(store.ack, held(store)),
    scripts.RELEASE: release,
    scripts.SPLIT: split,
    scripts.BURY: lambda plain, store: partial(bury, store, held(store)),
    scripts.BEAT: beat,
    scripts.RETIRE: retire,
    scripts.TAKE: take,
    scripts.SET_ASIDE: lambda plain, store: partial(pending.set_aside, store, [b"x"], error="no"),
    scripts.PAUSE: lambda plain, store: partial(pending.pause, store),
    scripts.RESUME: resume,
    scripts.LOSE: lambda plain, store: lambda: finish(pending.count_lost(store, 3, BLOCKING)),
    scripts.REPLAY: lambda plain, store: partial(dead_letters.replay, store, letters(store)),
    scripts.DISCARD: lambda plain, store: partial(dead_letters.discard, store, letters(store)),
    scripts.EXPIRE: expire,
    scripts.FORGET_GROUP: forget_group,
    scripts.NOTE_COUNT: note_count,
    scripts.REGISTER: lambda plain, store: partial(
        register, "one", Names(["orders"]), configuration()
    ),
}
"""For each script that writes but append: prepares a bucket, and returns a call of the script."""

READERS = {
    *(scripts.PEEK, scripts.STATUS, scripts.STATUSES, scripts.DELIVERIES),
    *(scripts.LIST_DEAD, scripts.LIST_DEAD_IDS, scripts.REFUSALS, scripts.WAITING),
    *(scripts.LIST_DEAD_GROUPS, scripts.SEARCH_DEAD),
}


def test_each_script_that_writes_is_tested() -> None:
    all_scripts = {value for value in vars(scripts).values() if isinstance(value, Script)}
    assert all_scripts == {scripts.APPEND, *CALLS, *READERS}
    assert all("Writes nothing." in script.source for script in READERS)


@pytest.mark.parametrize("script", CALLS, ids=lambda script: script.name)
def test_refused_call_changes_nothing_and_names_the_command(
    private_server: Redis, user: User, script: Script
) -> None:
    store = store_of("orders")
    for command in {*commands_of(script.source)} - MAY_BE_REFUSED:
        private_server.flushdb()
        call = CALLS[script](private_server, store)
        before = dump(private_server, configuration().prefix)
        with user.without(command), pytest.raises(BufferUnavailable, match=f"'{command.lower()}'"):
            call()
        assert dump(private_server, configuration().prefix) == before
        call()
        assert dump(private_server, configuration().prefix) != before or script is scripts.RENEW
