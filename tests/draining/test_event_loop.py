import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import httpx
import pytest
from asgiref.sync import async_to_sync, sync_to_async

from django_jsonbuffer import Batch, Bucket
from tests.draining.drains import drain_until, report
from tests.sinks.servers import serve
from tests.test_drain_buckets import environment


class Noting:
    """An async processor that notes the event loop of each batch."""

    def __init__(self) -> None:
        self.loops: list[asyncio.AbstractEventLoop] = []

    async def __call__(self, batch: Batch) -> None:
        self.loops.append(asyncio.get_running_loop())


class TestEventLoop:
    def test_is_one_for_all_batches_drains_and_buckets(self, bucket: Bucket) -> None:
        other, processor = Bucket("other"), Noting()
        for each in (bucket, other):
            each.processor(processor)
            each.extend(range(4))
        for each in (bucket, other, bucket):
            each.drain()
            each.append(5)
        assert len(processor.loops) == 4
        assert len(set(processor.loops)) == 1

    def test_is_one_for_all_threads(self, bucket: Bucket) -> None:
        """So that two workers can share a client."""
        processor = Noting()
        bucket.processor(processor)
        for _ in range(2):
            bucket.append(1)
            worker = threading.Thread(target=bucket.drain)
            worker.start()
            worker.join()
        assert len(processor.loops) == 2
        assert len(set(processor.loops)) == 1

    def test_of_an_async_caller_runs_the_processor(self, bucket: Bucket) -> None:
        processor = Noting()
        bucket.processor(processor)
        bucket.extend(range(4))

        async def drain() -> asyncio.AbstractEventLoop:
            await bucket.adrain()
            return asyncio.get_running_loop()

        loop = asyncio.run(drain())
        assert processor.loops == [loop, loop]

    def test_does_not_run_what_the_thread_calls_later(self, bucket: Bucket) -> None:
        processor = Noting()

        @bucket.processor
        async def call_in_thread(batch: Batch) -> None:
            await processor(batch)
            await sync_to_async(int)()

        async def loop_of_call() -> asyncio.AbstractEventLoop:
            return asyncio.get_running_loop()

        bucket.append(1)
        bucket.drain()
        assert async_to_sync(loop_of_call)() not in processor.loops

    def test_that_the_processor_has_stopped_is_replaced(self, bucket: Bucket) -> None:
        processor = Noting()

        @bucket.processor
        async def stop(batch: Batch) -> None:
            await processor(batch)
            if batch.attempt == 1:
                asyncio.get_running_loop().stop()
                await asyncio.sleep(60)

        bucket.append(1)
        assert bucket.drain() == report(failed=1)
        drain_until(bucket, processed=1)
        assert len(set(processor.loops)) == 2

    def test_outlives_a_task_that_exits(self, bucket: Bucket) -> None:
        processor = Noting()

        async def leave() -> None:
            sys.exit("bye")

        @bucket.processor
        async def call_exit(batch: Batch) -> None:
            await processor(batch)
            if batch.attempt == 1:
                await asyncio.gather(leave())

        bucket.append(1)
        assert bucket.drain() == report(failed=1)
        drain_until(bucket, processed=1)
        assert len(set(processor.loops)) == 1

    def test_of_a_forked_child_is_its_own(self, bucket: Bucket) -> None:
        bucket.processor(Noting())
        bucket.append(1)
        bucket.drain()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads
            child = os.fork()
        if not child:
            bucket.append(2)
            os._exit(bucket.drain().processed + 10)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 11


class TestBetweenBatches:
    def test_client_keeps_its_connection(self, bucket: Bucket) -> None:
        client = httpx.AsyncClient(trust_env=False)

        @bucket.processor
        async def send(batch: Batch) -> None:
            (await client.post(server.url, json=[*batch])).raise_for_status()
            if 11 in batch:
                await client.aclose()

        with serve() as server:
            for first in (0, 6):
                bucket.extend(range(first, first + 6))
                assert bucket.drain() == report(processed=6, batches=3)
        assert (len(server.requests), server.connections) == (6, 1)

    def test_task_goes_on(self, bucket: Bucket) -> None:
        is_done = threading.Event()
        tasks: list[asyncio.Task[None]] = []

        async def go_on() -> None:
            await asyncio.sleep(0.01)
            is_done.set()

        @bucket.processor
        async def begin(batch: Batch) -> None:
            tasks.append(asyncio.create_task(go_on()))

        bucket.append(1)
        assert bucket.drain() == report(processed=1, batches=1)
        assert is_done.wait(10)


class TestThreadOfTheWorker:
    def test_runs_the_functions_of_sync_to_async(self, bucket: Bucket) -> None:
        threads: list[int] = []

        @bucket.processor
        async def look(batch: Batch) -> None:
            threads.append(await sync_to_async(threading.get_ident)())
            threads.append(threading.get_ident())

        bucket.extend(range(4))
        bucket.drain()
        worker, loop = threading.get_ident(), threads[1]
        assert threads == [worker, loop, worker, loop]
        assert worker != loop

    def test_cancels_the_coroutine_when_it_is_interrupted(self, bucket: Bucket) -> None:
        said: list[str] = []

        @bucket.processor
        async def hang(batch: Batch) -> None:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            try:
                await asyncio.sleep(60)
            finally:
                said.append("cleaned up")

        bucket.append(1)
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            bucket.drain()
        assert said == ["cleaned up"]
        assert time.monotonic() - began < 4
        assert bucket.status().pending == 1

    def test_does_not_wait_for_ever_for_a_coroutine_that_goes_on(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_jsonbuffer.draining.event_loop._LONGEST_CLEAN_UP_SECONDS", 0.05)
        goes_on = threading.Event()

        @bucket.processor
        async def hang(batch: Batch) -> None:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            goes_on.wait(10)

        bucket.append(1)
        with pytest.raises(KeyboardInterrupt):
            bucket.drain()
        goes_on.set()


END_OF_A_PROCESS = """
import asyncio
import django
django.setup()
from django_jsonbuffer import Bucket

bucket = Bucket("orders")
kept = []

async def generate():
    try:
        yield 1
    finally:
        print("generator closed")

async def go_on():
    try:
        await asyncio.sleep(600)
    finally:
        print("task cancelled")

@bucket.processor
async def begin(batch):
    generator = generate()
    kept.extend([generator, await anext(generator), asyncio.create_task(go_on())])
    await asyncio.sleep(0)

bucket.append(1)
print(bucket.drain().processed)
"""


def test_end_of_the_process_cancels_tasks_and_closes_generators() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", END_OF_A_PROCESS],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split("\n") == ["1", "task cancelled", "generator closed", ""]
    assert done.stderr == ""
