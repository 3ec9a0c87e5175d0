import gc
import gzip
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from django_jsonbuffer.exceptions import (
    BufferMisconfigured,
    DestinationRefused,
    DestinationUnavailable,
    EventsRefused,
)
from django_jsonbuffer.sinks.http import endpoints
from django_jsonbuffer.sinks.http.endpoints import Endpoint
from tests.sinks.servers import Answer, Server, free_port

SHORT = timedelta(milliseconds=300)


def an_endpoint(
    *,
    timeout: timedelta = timedelta(seconds=10),
    make_client: Callable[[], httpx.Client] | None = None,
) -> Endpoint:
    return Endpoint(timeout=timeout, make_client=make_client)


def post(endpoint: Endpoint, url: str) -> bytes:
    headers = {"content-type": "application/json", "webhook-id": "1-1"}
    return endpoint.post(url, body=b"[1]", headers=headers)


class TestAnswers:
    @pytest.mark.parametrize("status", [200, 201, 202, 204, 207])
    def test_2xx_is_a_success(self, server: Server, status: int) -> None:
        body = b"" if status == 204 else b"thanks"
        server.answer_in_turn(Answer(status, body=body))
        assert post(an_endpoint(), server.url) == body

    @pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 599])
    def test_outage(self, server: Server, status: int) -> None:
        server.answer_in_turn(Answer(status, body=b"not  now\n"))
        with pytest.raises(DestinationUnavailable, match=f"answered {status}: 'not now'") as raised:
            post(an_endpoint(), server.url)
        assert raised.value.retry_after is None

    @pytest.mark.parametrize("status", [401, 403, 404, 405, 407, 410])
    def test_code_about_the_address_is_not_about_the_events(
        self, server: Server, status: int
    ) -> None:
        server.answer_in_turn(Answer(status))
        with pytest.raises(DestinationRefused, match=f"answered {status}") as raised:
            post(an_endpoint(), server.url)
        assert not isinstance(raised.value, EventsRefused)

    @pytest.mark.parametrize("status", [400, 402, 409, 413, 415, 418, 422, 431])
    def test_other_4xx_is_about_the_events(self, server: Server, status: int) -> None:
        server.answer_in_turn(Answer(status))
        with pytest.raises(EventsRefused, match=f"answered {status}"):
            post(an_endpoint(), server.url)

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirect_is_not_followed(self, server: Server, status: int) -> None:
        server.answer_in_turn(Answer(status, headers={"location": "/elsewhere"}))
        with pytest.raises(DestinationRefused, match="redirect"):
            post(an_endpoint(), server.url)
        assert len(server.requests) == 1

    def test_is_decompressed(self, server: Server) -> None:
        server.answer_in_turn(
            Answer(200, body=gzip.compress(b"{}"), headers={"content-encoding": "gzip"})
        )
        assert post(an_endpoint(), server.url) == b"{}"

    def test_is_quoted_in_part(self, server: Server) -> None:
        server.answer_in_turn(Answer(500, body=b"x" * 100_000))
        with pytest.raises(DestinationUnavailable) as raised:
            post(an_endpoint(), server.url)
        assert len(str(raised.value)) < 300


class TestFailures:
    def test_closed_port(self) -> None:
        url = f"http://127.0.0.1:{free_port()}/hook"
        with pytest.raises(DestinationUnavailable, match="ConnectError"):
            post(an_endpoint(), url)

    @pytest.mark.parametrize("where", ["before", "middle"])
    def test_cut_connection(self, server: Server, where: str) -> None:
        server.answer_in_turn(Answer(200, body=b"half of it", cut=where))
        with pytest.raises(DestinationUnavailable, match="RemoteProtocolError"):
            post(an_endpoint(), server.url)

    def test_server_that_hangs(self, server: Server) -> None:
        server.answer_in_turn(Answer(hang_seconds=30))
        with pytest.raises(DestinationUnavailable, match="ReadTimeout"):
            post(an_endpoint(timeout=SHORT), server.url)

    def test_server_that_answers_byte_by_byte(self, server: Server) -> None:
        server.answer_in_turn(Answer(200, body=b"x" * 10_000, drip_seconds=0.05))
        with pytest.raises(DestinationUnavailable, match="took too long"):
            post(an_endpoint(timeout=SHORT), server.url)

    def test_rest_of_a_long_answer_is_not_read(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(endpoints, "MOST_BYTES_OF_ANSWER", 1_000_000)
        server.answer_in_turn(Answer(200, body=b"x" * 50_000_000))
        assert 1_000_000 < len(post(an_endpoint(), server.url)) < 10_000_000

    def test_answer_that_is_not_what_it_says(self, server: Server) -> None:
        server.answer_in_turn(Answer(200, body=b"{}", headers={"content-encoding": "gzip"}))
        with pytest.raises(DestinationUnavailable, match="DecodingError"):
            post(an_endpoint(), server.url)

    @pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "hook", "http://[::1/", "http://a:b/"])
    def test_url_that_cannot_be_used(self, url: str) -> None:
        with pytest.raises(BufferMisconfigured, match=r"UnsupportedProtocol|InvalidURL"):
            post(an_endpoint(), url)

    def test_header_that_cannot_be_sent_is_not_quoted(self, server: Server) -> None:
        with pytest.raises(BufferMisconfigured, match="header") as raised:
            an_endpoint().post(server.url, body=b"", headers={"authorization": "secret\n1"})
        assert "secret" not in str(raised.value)
        assert raised.value.__suppress_context__

    def test_errors_name_the_host_alone(self, server: Server) -> None:
        server.answer_in_turn(Answer(503), Answer(400), Answer(404))
        url = f"{server.url}?token=t0ken".replace("//", "//user:password@")
        for _ in range(3):
            with pytest.raises((DestinationUnavailable, DestinationRefused)) as raised:
                post(an_endpoint(), url)
            text = str(raised.value)
            assert text.startswith(f"http://127.0.0.1:{server.server_port} answered")
            assert not any(private in text for private in ("t0ken", "password", "hook"))


class TestRetryAfter:
    @pytest.mark.parametrize("status", [429, 503])
    def test_sends_nothing_before_the_time(self, server: Server, status: int) -> None:
        server.answer_in_turn(Answer(status, headers={"Retry-After": "60"}))
        endpoint = an_endpoint()
        with pytest.raises(DestinationUnavailable) as raised:
            post(endpoint, server.url)
        assert raised.value.retry_after == timedelta(seconds=60)
        with pytest.raises(DestinationUnavailable, match="no request was sent") as raised:
            post(endpoint, server.url)
        left = raised.value.retry_after
        assert left is not None
        assert timedelta(seconds=50) < left < timedelta(seconds=60)
        assert len(server.requests) == 1

    def test_sends_again_after_the_time(self, server: Server) -> None:
        server.answer_in_turn(Answer(429, headers={"Retry-After": "1"}))
        endpoint = an_endpoint()
        with pytest.raises(DestinationUnavailable):
            post(endpoint, server.url)
        time.sleep(1)
        post(endpoint, server.url)
        first, second = server.requests
        assert second.seconds - first.seconds >= 1


class TestClients:
    def test_connection_is_kept(self, server: Server) -> None:
        endpoint = an_endpoint()
        for _ in range(5):
            post(endpoint, server.url)
        assert server.connections == 1

    def test_connection_is_made_again_after_the_server_has_closed_it(self, server: Server) -> None:
        endpoint = an_endpoint()
        server.answer_in_turn(Answer(200, cut="middle"))
        with pytest.raises(DestinationUnavailable):
            post(endpoint, server.url)
        post(endpoint, server.url)
        assert server.accepted == [1]

    def test_threads_share_one(self, server: Server) -> None:
        made = []

        def make_client() -> httpx.Client:
            made.append(httpx.Client())
            return made[-1]

        endpoint = an_endpoint(make_client=make_client)
        post(endpoint, server.url)
        threads = [threading.Thread(target=post, args=[endpoint, server.url]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.accepted) == 9
        assert len(made) == 1

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_forked_child_makes_its_own_and_leaves_that_of_the_parent_alone(
        self, server: Server
    ) -> None:
        endpoint = an_endpoint()
        post(endpoint, server.url)
        child = os.fork()
        if child == 0:
            try:
                post(endpoint, server.url)
                del endpoint
                gc.collect()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        post(endpoint, server.url)
        assert len(server.accepted) == 3
        assert server.connections == 2

    def test_is_closed_with_the_endpoint(self, server: Server) -> None:
        client = httpx.Client()
        endpoint = an_endpoint(make_client=lambda: client)
        post(endpoint, server.url)
        del endpoint
        gc.collect()
        assert client.is_closed
