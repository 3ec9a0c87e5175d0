from contextlib import suppress
from typing import Any

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import BufferUnavailable
from django_jsonbuffer.store.claims import Claim
from django_jsonbuffer.store.store import Store
from tests.draining.drains import report


class TestLostAck:
    def test_is_sent_again(self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
        ack: Any = Store.ack
        sent: list[str] = []

        def lossy(store: Store, claim: Claim) -> None:
            ack(store, claim)
            sent.append(claim.id)
            error = BufferUnavailable("the reply was lost")
            error.may_be_done = True
            raise error

        def ack_once_more(store: Store, claim: Claim) -> None:
            if sent:
                ack(store, claim)
            lossy(store, claim)

        monkeypatch.setattr(Store, "ack", ack_once_more)
        got: list[int] = []
        bucket.processor(got.extend)
        bucket.append(1)
        assert bucket.drain() == report(processed=1, batches=1)
        assert got == [1]
        assert bucket.status().batches == 0

    def test_is_made_up_for_when_redis_is_back(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        ack: Any = Store.ack
        refusals = [BufferUnavailable("away")] * 3

        def refusing(store: Store, claim: Claim) -> None:
            if refusals:
                raise refusals.pop()
            ack(store, claim)

        monkeypatch.setattr(Store, "ack", refusing)
        got: list[int] = []
        bucket.processor(got.extend)
        bucket.extend([1, 2, 3])
        bucket._definition.parts.store.seal()
        with bucket.drain_steps(watch=True) as drain:
            for _ in range(3):
                with pytest.raises(BufferUnavailable):
                    drain.step()
            while drain.step():
                pass
        assert got == [1, 2, 3]
        assert drain.report == report(processed=3, batches=2)
        assert "could not be acknowledged yet" in caplog.text

    def test_is_made_up_for_when_the_worker_ends(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ack: Any = Store.ack
        refusals = [BufferUnavailable("away")]

        def refusing(store: Store, claim: Claim) -> None:
            if refusals:
                raise refusals.pop()
            ack(store, claim)

        monkeypatch.setattr(Store, "ack", refusing)
        got: list[int] = []
        bucket.processor(got.extend)
        bucket.append(1)
        with bucket.drain_steps() as drain, suppress(BufferUnavailable):
            drain.step()
        assert drain.report == report(processed=1, batches=1)
        assert bucket.drain() == report()
        assert got == [1]
