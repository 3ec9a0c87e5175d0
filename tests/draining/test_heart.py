import gc
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from django_jsonbuffer.draining import heart as module
from django_jsonbuffer.draining.heart import Heart

BEAT_SECONDS = 0.02


class Patient:
    """Something that has to beat."""

    def __init__(self, seconds: float = BEAT_SECONDS) -> None:
        self.period_seconds = seconds
        self.beats = 0

    def renew(self) -> None:
        self.beats += 1


def wait_until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Sleeps(threading.Event):
    """An event that notes how long its waits should take at most."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        return super().wait(timeout)


@pytest.fixture
def sleeps() -> Sleeps:
    return Sleeps()


@pytest.fixture
def heart(sleeps: Sleeps) -> Iterator[Heart]:
    heart = Heart()
    heart._hurry = sleeps
    yield heart
    wait_until(lambda: not heart._due)


def test_renews_while_it_is_asked_to(heart: Heart) -> None:
    patient = Patient()
    heart.start(patient)
    heart.add(patient)
    wait_until(lambda: patient.beats > 3)
    heart.discard(patient)
    beats = patient.beats
    time.sleep(3 * BEAT_SECONDS)
    assert patient.beats <= beats + 1  # the beat that was under way


def test_does_not_renew_before_it_is_asked_to(heart: Heart) -> None:
    idle, patient = Patient(), Patient()
    heart.start(idle)
    heart.start(patient)
    heart.add(patient)
    wait_until(lambda: patient.beats > 3)
    assert idle.beats == 0
    heart.end(patient)


def test_one_thread_renews_all_each_in_its_period(heart: Heart) -> None:
    before = {*threading.enumerate()}
    quick, slow, never = Patient(), Patient(seconds=0.2), Patient(seconds=3600)
    for each in (slow, never, quick):
        heart.start(each)
        heart.add(each)
    wait_until(lambda: slow.beats > 1)
    new = {*threading.enumerate()} - before
    assert [each for each in new if each.name == "heart of workers"] == [heart._thread]
    assert quick.beats > slow.beats > never.beats == 0
    for each in (slow, never, quick):
        heart.end(each)


def test_thread_sleeps_as_long_as_those_that_are_left_allow(heart: Heart, sleeps: Sleeps) -> None:
    quick, slow = Patient(), Patient(seconds=8)
    for each in (quick, slow):
        heart.start(each)
        heart.add(each)
    wait_until(lambda: quick.beats > 3)
    assert max(filter(None, sleeps.seconds[1:])) <= 2 * BEAT_SECONDS
    heart.end(quick)
    wait_until(lambda: (sleeps.seconds[-1] or 0) > 1)
    looks = len(sleeps.seconds)
    time.sleep(5 * BEAT_SECONDS)
    assert len(sleeps.seconds) == looks
    heart.end(slow)


def test_thread_sleeps_on_while_one_with_a_short_period_does_not_beat(
    heart: Heart, sleeps: Sleeps
) -> None:
    """A worker has started, and waits for a batch."""
    idle = Patient()
    heart.start(idle)
    heart.add(idle)
    wait_until(lambda: idle.beats)
    heart.discard(idle)
    wait_until(lambda: sleeps.seconds[-1] == module._LONGEST_SLEEP_SECONDS)
    looks = len(sleeps.seconds)
    time.sleep(5 * BEAT_SECONDS)
    assert len(sleeps.seconds) == looks
    heart.end(idle)


def test_one_that_is_due_earlier_than_the_others_wakes_the_thread(
    heart: Heart, sleeps: Sleeps
) -> None:
    slow, quick = Patient(seconds=3600), Patient()
    heart.start(slow)
    heart.add(slow)
    wait_until(lambda: sleeps.seconds == [module._LONGEST_SLEEP_SECONDS])
    began = time.monotonic()
    heart.start(quick)
    heart.add(quick)
    wait_until(lambda: quick.beats)
    assert time.monotonic() - began < module._LONGEST_SLEEP_SECONDS / 2
    for each in (slow, quick):
        heart.end(each)


@pytest.mark.parametrize("pause_seconds", [0, 0.001])
def test_batches_that_follow_each_other_wake_the_thread_once(
    heart: Heart, sleeps: Sleeps, pause_seconds: float
) -> None:
    """Also if it finds none when it looks, because the next batch has not been claimed yet."""
    worker = Patient(seconds=5)
    heart.start(worker)
    wait_until(lambda: sleeps.seconds)
    for _ in range(100):
        heart.add(worker)
        heart.discard(worker)
        time.sleep(pause_seconds)
    wait_until(lambda: len(sleeps.seconds) > 1)
    time.sleep(BEAT_SECONDS)
    assert len(sleeps.seconds) == 2
    heart.end(worker)


def test_thread_ends_with_the_last_that_has_started(
    heart: Heart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_SLEEP_SECONDS", BEAT_SECONDS)
    one, another = Patient(), Patient()
    heart.start(one)
    heart.start(another)
    thread = heart._thread
    assert thread is not None
    heart.end(one)
    del another
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()
    heart.start(one)
    heart.add(one)
    wait_until(lambda: one.beats > 1)
    heart.end(one)


def test_end_waits_for_the_renewal_that_is_under_way(heart: Heart) -> None:
    began, goes_on, order = threading.Event(), threading.Event(), list[str]()

    class Slow(Patient):
        def renew(self) -> None:
            began.set()
            goes_on.wait(10)
            order.append("renewed")

    slow = Slow()
    heart.start(slow)
    heart.add(slow)
    assert began.wait(10)
    threading.Timer(0.1, goes_on.set).start()
    heart.end(slow)
    order.append("ended")
    assert order == ["renewed", "ended"]


def test_one_that_ends_in_its_renewal_does_not_wait_for_itself(heart: Heart) -> None:
    class Ending(Patient):
        def renew(self) -> None:
            heart.end(self)
            self.beats += 1

    ending = Ending()
    heart.start(ending)
    heart.add(ending)
    wait_until(lambda: ending.beats)
    wait_until(lambda: not heart._due)
