import gc
import threading
import time
from collections.abc import Callable, Iterator

import pytest

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


@pytest.fixture
def heart() -> Iterator[Heart]:
    heart = Heart()
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


def test_thread_ends_with_the_last_that_has_started(heart: Heart) -> None:
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
