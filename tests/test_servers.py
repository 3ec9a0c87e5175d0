"""Appends in views, served by real processes of uvicorn and gunicorn."""

import asyncio
from collections import Counter

import pytest
from pytest_django import Settings

from benchmarks.load import Response, load
from benchmarks.web_servers import GUNICORN, UVICORN, WebServer, serving
from django_jsonbuffer import Bucket
from django_jsonbuffer.conf import configuration
from tests.server import Redis

SERVERS = {"append": GUNICORN, "aappend": UVICORN}
"""The web server that serves each view."""

CLIENTS = {"append": 100, "aappend": 200}
REQUESTS = 2_000
LOAD_SECONDS = 60
"""Timeout of a load, which takes a few seconds."""

served = Bucket("served")


@pytest.fixture(autouse=True)
def environment(private_server: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Web servers that the test starts use the server and the prefix of this test."""
    conf = configuration()
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.served.settings")
    monkeypatch.setenv("SERVED_REDIS_URL", settings.CACHES[conf.cache]["LOCATION"])
    monkeypatch.setenv("SERVED_PREFIX", conf.prefix)


async def request(web_server: WebServer, *paths: str, clients: int) -> list[Response]:
    async with asyncio.timeout(LOAD_SECONDS):
        return await load(web_server.socket, paths, clients=clients)


def of_numbers(view: str, count: int) -> list[str]:
    return [f"/{view}/{number}" for number in range(count)]


@pytest.mark.parametrize("hold", ["ahold", "hold"])
def test_aappend_does_not_wait_for_the_thread_of_another_request(hold: str) -> None:
    async def appended_while_held(web_server: WebServer) -> list[Response]:
        await request(web_server, "/aappend/0", clients=1)  # to connect
        holding = asyncio.create_task(request(web_server, f"/{hold}", clients=1))
        await asyncio.sleep(0.3)
        responses = await request(web_server, *of_numbers("aappend", 20), clients=1)
        assert not holding.done()
        assert [response.status for response in await holding] == [200]
        return responses

    with serving(UVICORN) as web_server:
        responses = asyncio.run(appended_while_held(web_server))
    assert [response.status for response in responses] == [200] * 20
    assert max(response.seconds for response in responses) < 0.5


def test_aappend_does_not_wait_for_the_thread_of_its_own_request() -> None:
    with serving(UVICORN) as web_server:
        paths = of_numbers("hold-and-append", 3)
        responses = asyncio.run(request(web_server, *paths, clients=3))
    assert [response.status for response in responses] == [200] * 3


@pytest.mark.parametrize("view", SERVERS)
def test_many_clients_get_no_error_and_each_event_is_stored_once(view: str) -> None:
    paths = of_numbers(view, REQUESTS)
    with serving(SERVERS[view]) as web_server:
        responses = asyncio.run(request(web_server, *paths, clients=CLIENTS[view]))
    assert Counter(response.status for response in responses) == {200: REQUESTS}
    assert sorted(served.take()) == [*range(REQUESTS)]


@pytest.mark.parametrize("view", SERVERS)
def test_events_of_answered_requests_are_stored_when_the_server_is_terminated(view: str) -> None:
    paths = of_numbers(view, 1_000_000)

    async def terminated_under_load(web_server: WebServer) -> list[Response]:
        asyncio.get_running_loop().call_later(0.7, web_server.process.signal, "TERM")
        return await request(web_server, *paths, clients=CLIENTS[view])

    with serving(SERVERS[view]) as web_server:
        responses = asyncio.run(terminated_under_load(web_server))
        web_server.process.wait(30)
    answered = {int(each.path.split("/")[-1]) for each in responses if each.status == 200}
    stored = Counter(served.take())
    assert answered
    assert answered <= stored.keys()
    assert set(stored.values()) == {1}
