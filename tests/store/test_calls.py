import re
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis.connection

from django_jsonbuffer import Bucket
from django_jsonbuffer.catalog import histories, known_buckets, statuses
from django_jsonbuffer.exceptions import AppendUndecided, BufferUnavailable
from django_jsonbuffer.store import dead_letters
from django_jsonbuffer.store.clients import clients
from django_jsonbuffer.store.errors import pauses_of
from django_jsonbuffer.store.store import Store
from tests.server import Redis
from tests.store.steps import append, bury, claimed
from tests.threads import at_once


class TestNewToken:
    def test_is_a_field_of_each_batch_and_differs_from_call_to_call(
        self, store: Store, client_of_server: Redis
    ) -> None:
        append(store, 1, batch_size=1)
        bury(store, claimed(store))
        append(store, 2, 3, batch_size=1)
        append(store, 4)
        store.seal()
        dead_letters.replay(store, dead_letters.dead_ids(store, 10, last="+"))
        append(store, 5)
        for worker in "abcde":
            claimed(store, worker)
        batches = client_of_server.xrange(store.keys.batches)
        tokens = {fields[b"events"]: fields[b"token"].decode() for _, fields in batches}
        assert [*tokens] == [b"[2]", b"[3]", b"[4]", b"[[1]]", b"[5]"]
        assert tokens[b"[2]"] == tokens[b"[3]"]
        assert len({*tokens.values()}) == 4
        assert all(re.fullmatch("[0-9a-f]{8}", token) for token in tokens.values())


def few_connections(private_server: Redis, use_cache: Callable[..., str]) -> str:
    path = private_server.get_connection_kwargs()["path"]
    return use_cache(
        f"unix://{path}?db=0", OPTIONS={"CONNECTION_POOL_KWARGS": {"max_connections": 4}}
    )


class TestPool:
    @pytest.mark.parametrize("options", [{}, {"on_unavailable": "spill"}], ids=["raise", "spill"])
    def test_of_few_connections_serves_many_threads(
        self,
        private_server: Redis,
        use_cache: Callable[..., str],
        tmp_path: Path,
        options: dict[str, Any],
    ) -> None:
        few_connections(private_server, use_cache)
        bucket = Bucket("orders", spill_dir=tmp_path / "spill", **options)

        def use() -> None:
            for number in range(20):
                bucket.append(number)
                statuses([bucket])
                bucket.peek()

        at_once([use] * 24)
        assert sorted(bucket.take()) == sorted([*range(20)] * 24)
        assert not (tmp_path / "spill").exists()

    def test_gets_the_kept_connection_back_when_all_others_are_in_use(
        self, private_server: Redis, use_cache: Callable[..., str]
    ) -> None:
        path = private_server.get_connection_kwargs()["path"]
        bucket, pool = Bucket("orders"), {"max_connections": 10}
        alias = use_cache(f"unix://{path}?db=0", OPTIONS={"CONNECTION_POOL_KWARGS": pool})
        bucket.append(1)
        in_use = [clients[alias].connection_pool.get_connection() for _ in range(9)]
        began = time.monotonic()
        assert bucket.peek() == [1]
        assert time.monotonic() - began < 1
        for each in in_use:
            clients[alias].connection_pool.release(each)

    def test_that_is_closed_meanwhile_loses_no_append(
        self, private_server: Redis, use_cache: Callable[..., str]
    ) -> None:
        """django-redis closes it at the end of each request, if the project says so."""
        pool: Any = clients[few_connections(private_server, use_cache)].connection_pool
        bucket, is_over = Bucket("orders"), threading.Event()

        def close() -> None:
            while not is_over.wait(0.005):
                pool.disconnect()

        def append() -> None:
            try:
                for number in range(200):
                    bucket.append(number)
            finally:
                is_over.set()

        at_once([close, append])
        assert bucket.take() == [*range(200)]

    def test_is_asked_less_often_the_more_callers_wait_for_it(self) -> None:
        alone = next(pauses_of(timedelta(seconds=5)))
        waiting = [pauses_of(timedelta(seconds=5)) for _ in range(200)]
        assert max(map(next, waiting)) > 20 * alone
        waiting.clear()
        assert next(pauses_of(timedelta(seconds=5))) <= 0.001

    def test_is_asked_until_the_patience_is_over(self) -> None:
        waiting = [pauses_of(timedelta(seconds=0.02)) for _ in range(500)]
        assert max(map(next, waiting)) <= 0.02


class TestFailure:
    CALLS = (
        *(Bucket.status, Bucket.peek, Bucket.take, Bucket.pause),
        *(lambda bucket: statuses([bucket]), lambda bucket: histories([bucket])),
        lambda bucket: known_buckets(),
    )

    @pytest.mark.parametrize("error", [TypeError, AttributeError, ValueError, AssertionError])
    def test_of_any_kind_becomes_an_error_of_ours(
        self, private_server: Redis, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
    ) -> None:
        bucket = Bucket("orders", append_timeout=timedelta(0))
        bucket.append(1)

        def fail(*args: object, **options: object) -> None:
            raise error("of the client")

        with monkeypatch.context() as broken:
            broken.setattr(redis.connection.AbstractConnection, "read_response", fail)
            for call in self.CALLS:
                with pytest.raises(BufferUnavailable) as caught:
                    call(bucket)
                assert type(caught.value.__cause__) is error
            with pytest.raises(AppendUndecided):
                bucket.append(2)
