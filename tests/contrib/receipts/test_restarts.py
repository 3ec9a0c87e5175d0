"""Redis restarts, and has lost its last writes. Each row is written once all the same."""

from datetime import timedelta
from typing import Final

import pytest

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.declarations import declared
from django_jsonbuffer.json_arrays import spans
from tests.contrib.receipts.conftest import names
from tests.faults.restarts import RestartingServer

LEASE: Final = timedelta(minutes=1)

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_batch_that_is_back_is_not_processed_again(
    restarting: RestartingServer, bucket: Bucket
) -> None:
    bucket.extend([*"abc"])
    restarting.save()
    assert bucket.drain().processed == 3
    restarting.restart()
    assert bucket.drain().repeated == 3
    assert names() == [*"abc"]


def test_events_in_the_place_of_lost_ones_are_processed(
    restarting: RestartingServer, bucket: Bucket
) -> None:
    bucket.extend([*"ab"])
    restarting.save()
    bucket.extend([*"cd"])
    assert bucket.drain().processed == 4
    restarting.restart()
    bucket.extend([*"efg"])
    report = bucket.drain()
    assert (report.processed, report.repeated, report.batches) == (3, 2, 2)
    assert names() == [*"abcdefg"]


def test_events_equal_to_lost_ones_are_processed(
    restarting: RestartingServer, bucket: Bucket
) -> None:
    got: list[str] = []
    bucket.processor(got.extend)
    bucket.append("same")
    restarting.save()
    bucket.append("same")
    bucket.drain()
    restarting.restart()
    bucket.append("same")
    bucket.drain()
    assert got == ["same"] * 3


def test_a_batch_that_was_split_and_is_whole_again(
    restarting: RestartingServer, bucket: Bucket
) -> None:
    bucket.extend([*"abcdefgh"])
    bucket._definition.parts.store.seal()
    restarting.save()
    claim = bucket._definition.parts.store.claim("worker", lease=LEASE, linger=None).claim
    assert claim is not None
    bucket._definition.parts.store.split(claim, spans(claim.array), at=3)
    with bucket.drain_steps() as drain:
        drain.step()
    assert names() == [*"abc"]
    restarting.restart()
    report = bucket.drain()
    assert (report.processed, report.repeated) == (5, 3)
    assert names() == [*"abcdefgh"]


def test_a_dead_letter_that_is_back_is_not_processed_again(
    restarting: RestartingServer, bucket: Bucket
) -> None:
    process = declared.processor_of("audit").function

    def refuse(batch: Batch) -> None:
        batch.reject("b", "no")
        process(Batch("ac", id=batch.id, attempt=1, bucket="audit"))

    bucket.processor(refuse)
    bucket.extend([*"abc"])
    bucket.drain()
    bucket.processor(process)
    restarting.save()
    assert bucket.dead.replay_all() == 1
    assert bucket.drain().processed == 1
    restarting.restart()
    assert bucket.dead.replay_all() == 1
    assert bucket.drain().repeated == 1
    assert names() == [*"abc"]
