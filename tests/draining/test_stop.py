import threading
import time

from django_jsonbuffer.draining.stop import Stop


def test_wakes_that_nobody_waits_for_do_not_pile_up() -> None:
    stop = Stop()
    for _ in range(1000):
        stop.wake()
    stop.wait(60)
    began = time.monotonic()
    stop.wait(0.05)
    assert time.monotonic() - began >= 0.05
    assert not stop.is_set


def test_stop_ends_a_wait() -> None:
    stop = Stop()
    threading.Timer(0.05, stop.set).start()
    stop.wait(60)
    assert stop.is_set
