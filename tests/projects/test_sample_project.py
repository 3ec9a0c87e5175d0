"""A project that uses the tools for tests: its own tests, run as its developers run them.

By default, some of the combinations of runners and servers; with ``FAULTS=full``, all of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import redis

from example_project.embedded_redis import EmbeddedRedis
from tests.faults.scale import IS_FULL, report
from tests.projects.sample_site import RUNNERS, fill_site, make_project, run_tests
from tests.server import Redis

FEWEST_TESTS: Final = 50
NOWHERE: Final = "unix:///nobody/is/here.sock"

QUICK: Final = {
    "stopped": ["django"],
    "full": ["django, parallel", "pytest"],
    "real": ["django, parallel", "pytest -n 2"],
}
"""The runners of ``make test``, by what the Redis of the site is."""


def runners(server: str) -> list[str]:
    return [*RUNNERS] if IS_FULL else QUICK[server]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("site") / "bakery")


@pytest.fixture(scope="module")
def site(project: Path) -> Iterator[EmbeddedRedis]:
    """The Redis of the site, with events of all kinds."""
    with EmbeddedRedis() as server, redis.Redis.from_url(server.url) as client:
        fill_site(project, server.url, client)
        yield server


def contents(client: Redis) -> dict[bytes, bytes]:
    return {key: client.dump(key) for key in client.scan_iter(count=1000)}


def files(project: Path) -> dict[str, bytes]:
    """The spilled events and the database of the site."""
    found = [project / "bakery.sqlite3", *(project / "spill").iterdir()]
    assert len(found) > 1
    return {path.name: path.read_bytes() for path in found}


@contextmanager
def untouched(site: EmbeddedRedis, project: Path) -> Iterator[Redis]:
    """The events of the site are the same before and after the block."""
    with redis.Redis.from_url(site.url) as client:
        before, files_before = contents(client), files(project)
        yield client
        assert contents(client) == before
        assert files(project) == files_before


@contextmanager
def not_one_command(client: Redis) -> Iterator[None]:
    """Nobody connects to the server in the block, or sends a command to it."""
    with client.monitor() as monitor:
        commands = (command["command"] for command in monitor.listen())
        client.echo("begin")  # by a second connection
        assert "ECHO begin" in commands
        connections = client.info("stats")["total_connections_received"]
        yield
        client.echo("end")
        assert [*iter(commands.__next__, "ECHO end")] == ["INFO stats"]
        assert client.info("stats")["total_connections_received"] == connections


@pytest.mark.parametrize("runner", runners("stopped"))
def test_passes_while_redis_is_stopped(runner: str, project: Path) -> None:
    assert run_tests(runner, project, NOWHERE).tests >= FEWEST_TESTS


def test_reports_the_time_of_fifty_tests(project: Path) -> None:
    passed = run_tests("pytest", project, NOWHERE, "-p", "clock")
    assert passed.cpu_seconds
    seconds = round(passed.cpu_seconds / passed.tests * FEWEST_TESTS, 2)
    report("50 tests of a project, in memory", cpu_seconds=seconds)


@pytest.mark.parametrize("runner", runners("full"))
def test_sends_nothing_to_the_site(runner: str, project: Path, site: EmbeddedRedis) -> None:
    with untouched(site, project) as client, not_one_command(client):
        run_tests(runner, project, site.url)


@pytest.mark.parametrize("runner", runners("real"))
def test_passes_on_a_real_redis(runner: str, project: Path, site: EmbeddedRedis) -> None:
    with untouched(site, project):
        settings = "bakery.settings_with_redis"
        more = {"DJANGO_SETTINGS_MODULE": settings, "TEST_WITH_REDIS": "yes"}
        run_tests(runner, project, site.url, **more)


def test_some_tests_on_a_real_redis(project: Path, site: EmbeddedRedis) -> None:
    """All others are in memory."""
    with untouched(site, project):
        run_tests("pytest", project, site.url, TEST_WITH_REDIS="yes")
