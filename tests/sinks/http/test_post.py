import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import (
    BufferMisconfigured,
    DestinationRefused,
    DestinationUnavailable,
    EventsRefused,
    InvalidEvent,
)
from django_jsonbuffer.sinks import Post
from django_jsonbuffer.sinks.isolation import MOST_IN_VAIN
from tests.draining.drains import drain_until
from tests.sinks.batches import ID, a_batch, a_change
from tests.sinks.servers import Answer, Request, Server, free_port, serve

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def a_bucket(sink: Post, **options: Any) -> Bucket:
    return Bucket("orders", processor=sink, **options)


@pytest.mark.usefixtures("nothing_declared")
class TestBody:
    def test_is_a_json_array(self, server: Server) -> None:
        Post(server.url)(a_batch({"a": 1}, [2], "drei ✓"))
        [request] = server.requests
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"] == "django-jsonbuffer"
        assert request.body == '[{"a":1},[2],"drei ✓"]'.encode()

    def test_is_a_batch_of_cloud_events_if_all_are(self, server: Server) -> None:
        Post(server.url)(a_batch(a_change(1), a_change(2)))
        Post(server.url)(a_batch(a_change(1), {"id": 2}))
        types = [request.headers["content-type"] for request in server.requests]
        assert types == ["application/cloudevents-batch+json", "application/json"]
        assert server.requests[0].events == [a_change(1), a_change(2)]

    @pytest.mark.parametrize("encoder", ["json", "orjson"])
    def test_has_the_numbers_that_were_appended(
        self, server: Server, configure: Callable[..., None], encoder: str
    ) -> None:
        configure(ENCODER=encoder)
        numbers = [2**64, -(2**70), 0.1, 1e300, 1.0, -0.0, 9007199254740993]
        bucket = a_bucket(Post(server.url))
        bucket.append(numbers)
        assert bucket.drain().processed == 1
        assert [*map(repr, server.requests[0].events[0])] == [*map(repr, numbers)]

    def test_has_one_event_in_each_line(self, server: Server) -> None:
        Post(server.url, format="ndjson")(a_batch({"a": "line\nend"}, 2))
        [request] = server.requests
        assert request.headers["content-type"] == "application/x-ndjson"
        assert request.body == b'{"a":"line\\nend"}\n2\n'

    def test_has_the_lines_of_a_bulk_api(self, server: Server) -> None:
        def lines(event: Any) -> list[Any]:
            if event.get("deleted"):
                return [{"delete": {"_id": event["id"]}}]
            return [{"index": {"_id": event["id"]}}, event]

        Post(server.url, lines=lines)(a_batch({"id": 1}, {"id": 2, "deleted": True}))
        assert server.requests[0].body.splitlines() == [
            b'{"index":{"_id":1}}',
            b'{"id":1}',
            b'{"delete":{"_id":2}}',
        ]

    def test_is_not_sent_if_there_are_no_lines(self, server: Server) -> None:
        batch = a_batch(1, 2)
        Post(server.url, lines=lambda event: [])(batch)
        assert not server.requests
        assert not batch.rejected

    def test_event_without_lines_is_processed(self, server: Server) -> None:
        batch = a_batch(1, 2, 3)
        Post(server.url, lines=lambda event: [event] * (event != 2))(batch)
        assert server.accepted == [1, 3]
        assert not batch.rejected

    def test_event_that_cannot_be_encoded_is_rejected(self, server: Server) -> None:
        batch = a_batch(1, "\ud800", 3)
        Post(server.url)(batch)
        assert server.accepted == [1, 3]
        assert [*batch.rejected] == [1]
        assert server.requests[0].id == ID
        with pytest.raises(InvalidEvent):
            Post(server.url)(a_batch("\ud800"))

    def test_event_for_which_lines_fails_is_rejected(self, server: Server) -> None:
        batch = a_batch({"id": 1}, {})
        Post(server.url, lines=lambda event: [event["id"]])(batch)
        assert server.accepted == [1]
        assert isinstance(batch.rejected[1], KeyError)

    @pytest.mark.parametrize("result", ["ab", b"ab", {"index": {}}])
    def test_is_not_made_of_the_parts_of_one_value(self, server: Server, result: Any) -> None:
        batch = a_batch(1, 2)
        with pytest.raises(BufferMisconfigured, match="lines= of Post returned a"):
            Post(server.url, lines=lambda event: result)(batch)
        assert not batch.rejected
        assert not server.requests


class TestHeaders:
    def test_id_is_that_of_the_batch_on_every_delivery(self, server: Server) -> None:
        for attempt in (1, 2):
            Post(server.url)(a_batch(1, attempt=attempt))
        assert [request.id for request in server.requests] == [ID, ID]

    def test_signature_is_accepted(self, server: Server) -> None:
        Post(server.url, secret=SECRET)(a_batch(a_change(1), 2**70, "✓"))
        [request] = server.requests
        assert Webhook(SECRET).verify(request.body, dict(request.headers)) == request.events

    def test_signatures_of_two_secrets(self, server: Server) -> None:
        other = f"whsec_{base64.b64encode(b'x' * 32).decode()}"
        Post(server.url, secret=lambda: [other, SECRET])(a_batch(1))
        [request] = server.requests
        for secret in (SECRET, other):
            Webhook(secret).verify(request.body, dict(request.headers))

    def test_without_a_secret_nothing_is_signed(self, server: Server) -> None:
        Post(server.url)(a_batch(1))
        assert "webhook-signature" not in server.requests[0].headers

    def test_of_the_project_override_those_of_the_content(self, server: Server) -> None:
        headers = {"Authorization": "Bearer b", "Content-Type": "application/vnd.x+json"}
        Post(server.url, headers=headers)(a_batch(1))
        Post(lambda: server.url, headers=lambda: headers)(a_batch(1))
        for request in server.requests:
            assert request.headers["authorization"] == "Bearer b"
            assert request.headers["content-type"] == "application/vnd.x+json"

    def test_client_of_the_project(self, server: Server) -> None:
        Post(server.url, client=lambda: httpx.Client(headers={"x-site": "shop"}))(a_batch(1))
        assert server.requests[0].headers["x-site"] == "shop"


class TestFunctions:
    @pytest.mark.parametrize("secret", [None, "", [], [None], ()])
    def test_nothing_is_sent_without_a_signature(self, server: Server, secret: Any) -> None:
        with pytest.raises(BufferMisconfigured, match="secret"):
            Post(server.url, secret=lambda: secret)(a_batch(1))
        assert not server.requests

    @pytest.mark.parametrize("headers", [{"a": 1}, {"a": "€"}, None])
    def test_headers_are_checked(self, server: Server, headers: Any) -> None:
        with pytest.raises(BufferMisconfigured, match="headers"):
            Post(server.url, headers=lambda: headers)(a_batch(1))
        assert not server.requests

    @pytest.mark.parametrize("url", [None, "shop.example", "http://shop.example:99999/"])
    def test_url_is_checked(self, url: Any) -> None:
        with pytest.raises(BufferMisconfigured, match="URL"):
            Post(lambda: url)(a_batch(1))


class TestRefusedEvents:
    def test_are_found_by_halving_and_rejected(self, server: Server) -> None:
        server.refuse(317, 900)
        batch = a_batch(*range(1000))
        Post(server.url)(batch)
        assert sorted(batch.rejected) == [317, 900]
        assert sorted(server.accepted) == [n for n in range(1000) if n not in (317, 900)]
        assert len(server.requests) <= 1 + 2 * 20

    def test_requests_of_parts_have_ids_of_their_own_on_every_delivery(
        self, server: Server
    ) -> None:
        server.refuse(2)
        ids = []
        for attempt in (1, 2):
            server.requests.clear()
            Post(server.url)(a_batch(*range(4), attempt=attempt))
            ids.append([request.id for request in server.requests])
        assert ids[0] == ids[1] == [ID, f"{ID}_0-1", f"{ID}_2-3", f"{ID}_2-2", f"{ID}_3-3"]

    def test_batch_that_is_too_large_is_halved(self, server: Server) -> None:
        server.decide = lambda request: Answer(413 if len(request.events) > 3 else 204)
        batch = a_batch(*range(10))
        Post(server.url)(batch)
        assert server.accepted == [*range(10)]
        assert not batch.rejected

    def test_are_kept_if_no_event_is_accepted(self, server: Server) -> None:
        server.decide = lambda request: Answer(422, body=b"no")
        batch = a_batch(*range(1000))
        with pytest.raises(EventsRefused, match="answered 422: 'no'"):
            Post(server.url)(batch)
        assert not batch.rejected
        assert len(server.requests) <= 10 + 2 * MOST_IN_VAIN

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_wrong_address_or_secret_takes_one_request(self, server: Server, status: int) -> None:
        server.decide = lambda request: Answer(status)
        with pytest.raises(DestinationRefused):
            Post(server.url)(a_batch(*range(1000)))
        assert len(server.requests) == 1

    def test_outage_between_two_parts_keeps_the_batch(self, server: Server) -> None:
        server.answer_in_turn(Answer(422), Answer(204), Answer(503))
        with pytest.raises(DestinationUnavailable):
            Post(server.url)(a_batch(1, 2, 3))


class TestRefusedInASuccess:
    """A bulk API that answers 200 and says which events it refuses."""

    @staticmethod
    def refused(answer: Any) -> dict[int, object]:
        return {item["at"]: item["error"] for item in answer["errors"]}

    def sink(self, server: Server, *errors: tuple[int, str]) -> Post:
        body = json.dumps({"errors": [{"at": at, "error": error} for at, error in errors]})
        server.decide = lambda request: Answer(200, body=body.encode())
        return Post(server.url, refused=self.refused)

    def test_are_rejected(self, server: Server) -> None:
        batch = a_batch("\ud800", *range(4))
        self.sink(server, (1, "mapper_parsing"), (3, "too long"))(batch)
        assert {place: str(reason) for place, reason in batch.rejected.items() if place} == {
            2: "mapper_parsing",
            4: "too long",
        }

    def test_are_kept_if_no_event_is_accepted(self, server: Server) -> None:
        with pytest.raises(EventsRefused, match="one"):
            self.sink(server, (0, "one"), (1, "two"))(a_batch(1, 2))

    @pytest.mark.parametrize(
        "result", [{-1: "no"}, {1: "no", 2: "no"}, {"0": "no"}, {0.0: "no"}, [0], None, "no"]
    )
    def test_other_result_rejects_nothing(self, server: Server, result: Any) -> None:
        batch = a_batch(1, 2)
        server.decide = lambda request: Answer(200, body=b"{}")
        with pytest.raises(DestinationRefused, match="refused= of Post returned") as raised:
            Post(server.url, refused=lambda answer: result)(batch)
        assert repr(result) in str(raised.value)
        assert not batch.rejected

    def test_function_may_say_that_it_is_an_outage(self, server: Server) -> None:
        def refused(answer: Any) -> dict[int, object]:
            raise DestinationUnavailable("shards are away")

        server.answer_in_turn(Answer(200, body=b"{}"))
        with pytest.raises(DestinationUnavailable):
            Post(server.url, refused=refused)(a_batch(1))

    def test_answer_that_is_not_json(self, server: Server) -> None:
        server.answer_in_turn(Answer(200, body=b"<html>"))
        with pytest.raises(DestinationRefused, match="not JSON"):
            Post(server.url, refused=self.refused)(a_batch(1))


@pytest.mark.usefixtures("nothing_declared")
class TestInABucket:
    """With the default options, unless a test says so. Each wait is real."""

    @pytest.mark.parametrize(
        "failure",
        [
            Answer(500),
            Answer(429),
            Answer(503, body=b"<html>"),
            Answer(200, body=b"half", cut="middle"),
            Answer(cut="before"),
        ],
        ids=["500", "429", "503", "cut-in-the-middle", "cut-before"],
    )
    def test_failure_is_survived(self, server: Server, failure: Answer) -> None:
        server.answer_in_turn(failure)
        bucket = a_bucket(Post(server.url))
        bucket.extend(range(100))
        assert bucket.drain().failed == 1
        drain_until(bucket, processed=100)
        assert server.accepted == [*range(100)]
        assert len({request.id for request in server.requests}) == 1
        assert bucket.status().dead == 0

    def test_server_that_hangs_is_survived(self, server: Server) -> None:
        server.answer_in_turn(Answer(hang_seconds=30))
        bucket = a_bucket(Post(server.url, timeout=timedelta(milliseconds=300)))
        bucket.append(1)
        assert bucket.drain().failed == 1
        drain_until(bucket, processed=1)
        assert bucket.status().dead == 0

    def test_server_that_is_away_and_comes_back(self) -> None:
        port = free_port()
        bucket = a_bucket(Post(f"http://127.0.0.1:{port}/hook"))
        bucket.extend(range(10))
        assert bucket.drain().failed >= 1
        with serve(port) as server:
            drain_until(bucket, processed=10)
            assert server.accepted == [*range(10)]
        assert bucket.status().dead == 0

    @pytest.mark.parametrize("status", [400, 422])
    def test_refused_event_is_a_dead_letter_and_nothing_else_is(
        self, server: Server, status: int
    ) -> None:
        server.refuse(33, status=status)
        bucket = a_bucket(Post(server.url), batch_size=50)
        bucket.extend(range(100))
        report = bucket.drain()
        assert (report.processed, report.buried, report.failed) == (99, 1, 0)
        assert [letter.event for letter in bucket.dead] == [33]
        [letter] = bucket.dead
        assert f"answered {status}: 'no'" in letter.error
        assert sorted(server.accepted) == [n for n in range(100) if n != 33]

    def test_wrong_secret_loses_nothing(self, server: Server) -> None:
        server.decide = lambda request: Answer(401)
        bucket = a_bucket(Post(server.url), lease=timedelta(milliseconds=200))
        bucket.extend(range(20))
        bucket.drain()
        assert (bucket.status().dead, bucket.status().pending) == (0, 20)
        server.decide = lambda request: Answer()
        deadline = time.monotonic() + 30
        while bucket.status().batches:
            assert time.monotonic() < deadline
            bucket.drain()
            time.sleep(0.05)
        assert sorted(server.accepted) == [*range(20)]
        assert bucket.status().dead == 0

    def test_retry_after_is_respected(self, server: Server) -> None:
        wait = 2  # a backoff would be one second at most
        server.answer_in_turn(Answer(429, headers={"Retry-After": str(wait)}))
        bucket = a_bucket(Post(server.url))
        bucket.extend(range(10))
        assert bucket.drain().failed == 1
        drain_until(bucket, processed=10)
        first, second = server.requests
        assert wait <= second.seconds - first.seconds <= wait + 2
        assert bucket.status().dead == 0

    def test_all_batches_wait(self, server: Server) -> None:
        server.answer_in_turn(Answer(429, headers={"Retry-After": "30"}))
        bucket = a_bucket(Post(server.url), batch_size=5)
        bucket.extend(range(10))
        began = time.monotonic()
        assert bucket.drain().failed == 1
        assert time.monotonic() - began < 5
        assert len(server.requests) == 1

    def test_server_that_limits_the_rate_for_long_buries_nothing(self, server: Server) -> None:
        """Others succeed all the time, and one event is asked to wait more often than its attempts
        last."""
        asked: list[Request] = []

        def decide(request: Request) -> Answer:
            if request.events == [0] and len(asked) < 3:
                asked.append(request)
                return Answer(429, headers={"Retry-After": "1"})
            return Answer()

        server.decide = decide
        bucket = a_bucket(
            Post(server.url), batch_size=1, max_attempts=2, lease=timedelta(milliseconds=50)
        )
        bucket.append(0)
        deadline = time.monotonic() + 60
        for number in range(1, 10_000):
            bucket.append(number)
            bucket.drain()
            if 0 in server.accepted:
                break
            assert time.monotonic() < deadline
        assert bucket.status().dead == 0
        assert len(asked) == 3


def test_import_does_not_import_httpx() -> None:
    code = "import sys, django_jsonbuffer.sinks; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
