import ctypes
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from django_jsonbuffer import Bucket
from django_jsonbuffer.appending import producers
from django_jsonbuffer.appending.producers import Once, Producer
from django_jsonbuffer.exceptions import (
    AppendUndecided,
    BucketFull,
    BufferOutOfMemory,
    BufferUnavailable,
    JSONBufferError,
    StampOvertaken,
)
from django_jsonbuffer.stamps import Stamp
from django_jsonbuffer.store.coroutines import finish
from django_jsonbuffer.store.links import BLOCKING, Link
from tests.server import Redis
from tests.test_drain_buckets import environment
from tests.threads import at_once

SOON = timedelta(milliseconds=300)


@pytest.fixture(autouse=True)
def no_idle_producer() -> Iterator[None]:
    producers._idle.clear()
    yield
    producers._idle.clear()


def lost() -> BufferUnavailable:
    """The error that is raised when a reply is lost."""
    error = BufferUnavailable("the line broke")
    error.may_be_done = True
    return error


class Server:
    """Gives its answers one after the other. The last one is repeated."""

    def __init__(self, *answers: BaseException | None) -> None:
        self.answers = [*answers]
        self.stamps: list[Stamp] = []

    def __call__(self, stamp: Stamp) -> None:
        self.stamps.append(stamp)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer


class Append(Once):
    """An append that makes this call."""

    timeout = timedelta(0)

    def __init__(self, call: Callable[[Stamp], None], timeout: timedelta) -> None:
        self.call = call
        self.timeout = timeout

    async def _call(self, link: Link, stamp: Stamp) -> None:
        self.call(stamp)


def append_once(call: Callable[[Stamp], None], *, timeout: timedelta) -> None:
    finish(Append(call, timeout).send(BLOCKING))


class TestOnce:
    def test_is_sent_again_under_the_same_stamp_until_a_reply_comes(self) -> None:
        server = Server(lost(), lost(), None)
        append_once(server, timeout=timedelta(seconds=10))
        assert len(server.stamps) == 3
        assert len(set(server.stamps)) == 1

    @pytest.mark.parametrize(
        "refusal", [BufferUnavailable("refused"), BucketFull(), BufferOutOfMemory(), ValueError()]
    )
    def test_refusal_is_raised_at_once(self, refusal: Exception) -> None:
        server = Server(refusal)
        with pytest.raises(type(refusal)) as caught:
            append_once(server, timeout=timedelta(seconds=10))
        assert caught.value is refusal
        assert len(server.stamps) == 1

    @pytest.mark.parametrize("refusal", [BufferUnavailable("refused"), BucketFull("full")])
    def test_refusal_behind_a_lost_reply_decides_nothing(self, refusal: JSONBufferError) -> None:
        server = Server(lost(), refusal)
        with pytest.raises(AppendUndecided, match=str(refusal)) as caught:
            append_once(server, timeout=SOON)
        assert caught.value.__cause__ is refusal
        assert caught.value.stamp == server.stamps[0]

    def test_undecided_can_be_retried_until_it_is_not(self) -> None:
        server = Server(lost())
        with pytest.raises(AppendUndecided, match="retry") as first:
            append_once(server, timeout=SOON)
        with pytest.raises(AppendUndecided) as second:
            first.value.retry()
        server.answers = [None]
        second.value.retry()
        first.value.retry()
        assert len(set(server.stamps)) == 1

    def test_undecided_cannot_be_retried_when_it_is_forgotten(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(producers, "REMEMBERED", timedelta(0))
        server = Server(lost())
        with pytest.raises(AppendUndecided) as caught:
            append_once(server, timeout=SOON)
        sent = len(server.stamps)
        with pytest.raises(BufferUnavailable, match="too late"):
            caught.value.retry()
        assert len(server.stamps) == sent

    def test_that_was_stopped_in_the_middle_is_not_sent_again(self) -> None:
        stopped = lost()
        stopped.may_be_repeated = False
        server = Server(stopped)
        with pytest.raises(AppendUndecided, match="Look for its events") as caught:
            append_once(server, timeout=timedelta(seconds=10))
        with pytest.raises(BufferUnavailable, match="could be stored twice"):
            caught.value.retry()
        assert not caught.value.may_be_repeated
        assert len(server.stamps) == 1

    def test_time_that_is_over_at_once_still_sends_once(self) -> None:
        server = Server(lost())
        with pytest.raises(AppendUndecided):
            append_once(server, timeout=timedelta(0))
        assert len(server.stamps) == 1


class TestProducer:
    def stamps(self, *answers: Exception | None) -> list[Stamp]:
        """The stamps of calls that are made one after the other, each with its answer."""
        found = []
        for answer in answers:
            server = Server(answer)
            with suppress(JSONBufferError):
                append_once(server, timeout=timedelta(0))
            found.append(server.stamps[0])
        return found

    def test_counts_its_calls(self) -> None:
        first, second = self.stamps(None, None)
        assert (first.producer, first.sequence + 1) == (second.producer, second.sequence)

    def test_goes_on_after_a_refusal(self) -> None:
        first, second = self.stamps(BucketFull(), None)
        assert first.producer == second.producer
        assert first.sequence < second.sequence

    def test_is_not_used_again_after_an_undecided_call(self) -> None:
        first, second = self.stamps(lost(), None)
        assert first.producer != second.producer

    def test_is_not_used_again_after_an_interrupt(self) -> None:
        server = Server(KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            append_once(server, timeout=SOON)
        assert self.stamps(None)[0].producer != server.stamps[0].producer

    def test_is_shared_by_no_two_calls_at_once(self) -> None:
        together = threading.Barrier(8)
        found: list[Stamp] = []

        def send(stamp: Stamp) -> None:
            together.wait(10)
            found.append(stamp)

        at_once([lambda: append_once(send, timeout=SOON)] * 8)
        assert len({stamp.producer for stamp in found}) == 8

    def test_is_not_shared_with_a_forked_child(self) -> None:
        (before,) = self.stamps(None)
        child = in_child(lambda: self.stamps(None)[0].producer)
        assert child != before.producer
        assert self.stamps(None)[0].producer == before.producer

    def test_is_not_shared_with_a_child_of_a_fork_that_python_did_not_see(self) -> None:
        """uWSGI forks so. With a shared producer, a child's appends would look like repeats."""
        (before,) = self.stamps(None)
        fork = ctypes.PyDLL(None).fork
        child = in_child(lambda: self.stamps(None)[0].producer, fork=fork)
        assert len(child) == len(before.producer)
        assert child != before.producer
        assert self.stamps(None)[0].producer == before.producer

    def test_of_a_call_under_way_is_not_kept_by_a_forked_child(self) -> None:
        mine: list[Stamp] = []
        read, write = os.pipe()

        def send(stamp: Stamp) -> None:
            mine.append(stamp)
            if os.fork() == 0:
                mine.append(Stamp("child", 0, ""))

        append_once(send, timeout=SOON)
        if len(mine) == 2:
            os.write(write, self.stamps(None)[0].producer.encode())
            os._exit(0)
        os.wait()
        assert os.read(read, 100).decode() != mine[0].producer
        os.close(read)
        os.close(write)


def in_child(call: Callable[[], str], *, fork: Callable[[], int] = os.fork) -> str:
    """The value that the call returns in a forked child."""
    read, write = os.pipe()
    if (pid := fork()) == 0:
        os.write(write, call().encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        return pipe.read()


CLONE = """
import os, random, sys
import django
django.setup()
from django_jsonbuffer import Bucket
from django_jsonbuffer.appending import producers
bucket, me = Bucket("orders", batch_size=5), sys.argv[1]
os.urandom = random.Random(7).randbytes  # both processes continue with the same random numbers
for line in sys.stdin:
    clone = producers.Producer()
    clone._id, clone._sequence = line.strip(), 5
    producers._idle[:] = [clone]
    for number in range(6):
        bucket.append(f"{line.strip()} {me} {number}")
    print("done", flush=True)
"""


class TestClones:
    """A snapshot of a machine or a process was resumed twice: both have the same producers."""

    def test_store_each_append_once(
        self, private_server: Redis, use_cache: Callable[..., str]
    ) -> None:
        url = f"unix://{private_server.get_connection_kwargs()['path']}?db=0"
        clones = [
            subprocess.Popen(
                [sys.executable, "-c", CLONE, name],
                env=environment(REDIS_URL=url),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for name in "ab"
        ]
        for number in range(50):
            for clone in clones:
                assert clone.stdin is not None
                clone.stdin.write(f"{number}\n")
                clone.stdin.flush()
            for clone in clones:
                assert clone.stdout is not None
                assert clone.stdout.readline() == "done\n"
        assert [clone.communicate() and clone.returncode for clone in clones] == [0, 0]
        expected = {f"{n} {name} {i}" for n in range(50) for name in "ab" for i in range(6)}
        use_cache(url)
        assert sorted(Bucket("orders").take()) == sorted(expected)

    def test_use_a_producer_of_their_own_from_then_on(self) -> None:
        producers._idle[:] = [Producer(), Producer()]
        cloned = {producer._id for producer in producers._idle}
        server = Server(StampOvertaken(), None)
        append_once(server, timeout=SOON)
        assert len({stamp.producer for stamp in server.stamps}) == 2
        append_once(server, timeout=SOON)
        assert server.stamps[2].producer == server.stamps[1].producer
        assert server.stamps[2].producer not in cloned

    def test_append_that_may_be_stored_is_undecided(self) -> None:
        server = Server(lost(), StampOvertaken("overtaken"))
        with pytest.raises(AppendUndecided, match=r"overtaken Look for its events") as caught:
            append_once(server, timeout=timedelta(seconds=10))
        assert len(server.stamps) == 2
        with pytest.raises(BufferUnavailable, match="could be stored twice"):
            caught.value.retry()

    def test_nonce_of_each_append_differs_and_stays_when_it_is_sent_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "urandom", lambda size: b"x" * size)
        server = Server(lost(), None)
        for _ in range(100):
            append_once(server, timeout=timedelta(seconds=10))
        assert server.stamps[0] == server.stamps[1]
        assert len({stamp.nonce for stamp in server.stamps}) == 100


class TestBucket:
    def test_of_a_server_that_is_not_there_says_that_nothing_was_written(
        self, unreachable: str
    ) -> None:
        with pytest.raises(BufferUnavailable) as caught:
            Bucket("orders").append(1)
        assert not isinstance(caught.value, AppendUndecided)
        assert not caught.value.may_be_done

    def test_of_a_server_that_never_answers_is_undecided_when_its_time_is_over(
        self, private_server: Redis, use_cache: Callable[..., str]
    ) -> None:
        path = private_server.get_connection_kwargs()["path"]
        use_cache(f"unix://{path}?db=0", OPTIONS={"SOCKET_TIMEOUT": 0.1})
        bucket = Bucket("orders", append_timeout=SOON)
        bucket.append(1)
        private_server.execute_command("CLIENT", "PAUSE", 700)
        with pytest.raises(AppendUndecided) as caught:
            bucket.append(2)
        private_server.ping()  # answers when the pause is over
        copied = pickle.loads(pickle.dumps(caught.value))
        assert (str(copied), copied.stamp) == (str(caught.value), caught.value.stamp)
        with pytest.raises(BufferUnavailable, match="original"):
            copied.retry()
        caught.value.retry()
        assert bucket.take() == [1, 2]
