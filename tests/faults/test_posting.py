"""Post, and an HTTP server that is away or fails: for an hour in a faked time, or for seconds."""

from collections import Counter

import pytest

from tests.faults.outages import HOUR, LEASE_SECONDS, most_calls
from tests.faults.scale import report, scale
from tests.faults.sites import Site, Start
from tests.sinks.servers import Answer, Decide, Request, Server, free_port, serve

RATE = scale(full=240, short=1)
SECONDS_AWAY = scale(full=HOUR, short=3)
EVENTS = scale(full=10_000, short=2_000)
BAD = 777


def refusing_one(request: Request) -> Answer:
    return Answer(422) if BAD in request.events else Answer()


def check(running: Site, *servers: Server) -> None:
    """Each event has arrived, the refused one is a dead letter, and nothing else is."""
    arrived = Counter(event for server in servers for event in server.accepted)
    assert sorted(arrived) == [number for number in range(EVENTS) if number != BAD]
    assert running.dead() == [BAD]


@pytest.mark.parametrize("workers", scale(full=[1, 4], short=[2]))
class TestOutage:
    def test_server_is_away(self, start: Start, workers: int) -> None:
        port = free_port()
        with start(rate=RATE, post=f"http://127.0.0.1:{port}/hook") as running:
            running.bucket.extend(range(EVENTS))
            running.start_many(workers)
            running.sleep(SECONDS_AWAY)
            lines = len(running.logs())
            assert running.bucket.status().dead == 0
            assert lines <= 100
            with serve(port) as server:
                server.decide = refusing_one
                seconds = running.wait_for(EVENTS - 1)
                running.wait_until_empty()
                check(running, server)
        assert seconds <= 3 * LEASE_SECONDS
        report(
            f"Post to a server that is away for {SECONDS_AWAY} s",
            workers=workers,
            log_lines=lines,
            dead=1,
            all_others_after=f"{seconds:.0f} s",
        )

    @pytest.mark.parametrize(
        "failure",
        scale(
            full=[Answer(500), Answer(429), Answer(401), Answer(200, body=b"half", cut="middle")],
            short=[Answer(500)],
        ),
        ids=lambda failure: f"{failure.status}{failure.cut}",
    )
    def test_server_fails(self, start: Start, workers: int, failure: Answer) -> None:
        self._fail(start, workers, lambda request: failure, str(failure.status) + failure.cut)

    def test_server_asks_to_wait(self, start: Start, workers: int) -> None:
        """A worker sends one request, and then none until the time is over."""
        asked_seconds = scale(full=HOUR // 4, short=2)
        answer = Answer(429, headers={"Retry-After": str(asked_seconds)})
        requests = self._fail(start, workers, lambda request: answer, "429 with Retry-After")
        assert requests <= workers * (SECONDS_AWAY / asked_seconds + 1)

    def _fail(self, start: Start, workers: int, decide: Decide, name: str) -> int:
        """Returns the number of requests in the outage."""
        with serve() as server, start(rate=RATE, post=server.url) as running:
            server.decide = decide
            running.bucket.extend(range(EVENTS))
            running.start_many(workers)
            running.sleep(SECONDS_AWAY)
            requests, lines = len(server.requests), len(running.logs())
            assert running.bucket.status().dead == 0
            assert requests <= most_calls(SECONDS_AWAY, workers=workers)
            assert lines <= 100
            server.decide = refusing_one
            seconds = running.wait_for(EVENTS - 1)
            running.wait_until_empty()
            check(running, server)
        assert seconds <= 3 * LEASE_SECONDS + scale(full=HOUR // 4, short=2)
        report(
            f"Post to a server that fails for {SECONDS_AWAY} s, {name}",
            workers=workers,
            requests=requests,
            log_lines=lines,
            dead=1,
            all_others_after=f"{seconds:.0f} s",
        )
        return requests


class TestFlakyServer:
    def test_fails_every_other_time(self, start: Start) -> None:
        """In turn it fails, cuts the connection, and asks to wait. The refused event may be halved
        away from all others. Then it is a dead letter once others have succeeded often enough.
        """
        failures = [
            Answer(503),
            Answer(200, body=b"half", cut="middle"),
            Answer(cut="before"),
            Answer(429, headers={"Retry-After": "1"}),
        ]
        accepts_bad = scale(full=False, short=True)

        def decide(request: Request) -> Answer:
            number = len(server.requests)
            if number % 2:
                return failures[number // 2 % len(failures)]
            return Answer() if accepts_bad else refusing_one(request)

        with serve() as server, start(rate=scale(full=30, short=1), post=server.url) as running:
            server.decide = decide
            running.start_many(2)
            for first in range(0, EVENTS, EVENTS // 10):
                running.bucket.extend(range(first, first + EVENTS // 10))
            running.wait_for(EVENTS - (not accepts_bad), seconds=300)
            if accepts_bad:
                assert set(server.accepted) == {*range(EVENTS)}
                assert running.dead() == []
            else:
                running.let_others_come(EVENTS)
                assert {*range(EVENTS)} - set(server.accepted) == {BAD}
                assert running.dead() == [BAD]
        report("Post to a server that fails every other time", requests=len(server.requests))
