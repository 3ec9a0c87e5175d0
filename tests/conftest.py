import gc
import os
import secrets
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis
from django.contrib.auth.signals import user_logged_in
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save
from pytest_django import Settings

from django_jsonbuffer import isolation
from django_jsonbuffer.appending import losses
from django_jsonbuffer.appending.spill import Spill, _spills, spill
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.declarations import Declarations, declared
from django_jsonbuffer.isolation import Isolation
from django_jsonbuffer.memory_redis.connection import client_of
from django_jsonbuffer.recording import registry
from django_jsonbuffer.store import redis_cluster
from django_jsonbuffer.store.breakers import breakers
from example_project.embedded_redis import EmbeddedRedis
from tests import server
from tests.clock import Clock, server_with_clock
from tests.cluster import cluster
from tests.faults.restarts import RestartingServer
from tests.faults.scale import scale
from tests.server import Redis
from tests.test_embedded_redis import wait_until

# No deadline for an example: it waits for a server, on a machine that may be busy. Examples are the
# same in each run, except in `make test-faults`.
hypothesis.settings.register_profile(
    "suite", deadline=None, derandomize=scale(full=False, short=True)
)
hypothesis.settings.load_profile("suite")


_OPTIONS = {"SOCKET_CONNECT_TIMEOUT": 10, "SOCKET_TIMEOUT": 30}

_REAL_SERVERS = {"clock", "private_server", "restarting", "unreachable", "use_cache"}


def pytest_configure(config: pytest.Config) -> None:
    for mark in (server.both_servers, server.real_server, server.one_server):
        config.addinivalue_line("markers", f"{mark.name}: see tests/server.py")


def pytest_xdist_auto_num_workers() -> int:
    """More than there are cores, since many tests wait for a server, a lease or a program."""
    return max(2, (os.cpu_count() or 1) * 3 // 2)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marks = {mark.name for mark in metafunc.definition.iter_markers()}
    is_real = "real_server" in marks or _REAL_SERVERS & {*metafunc.fixturenames}
    # A run with another real server need not test the one in memory again.
    if "both_servers" in marks and not is_real and "REDIS_SERVER" not in os.environ:
        metafunc.parametrize("server_kind", ["redis", "memory"], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if server.SUITE_AS == "cluster":
        items[:] = [item for item in items if item.get_closest_marker("one_server") is None]


def pytest_collection_finish() -> None:
    """Let the garbage collector leave thousands of collected tests alone, since many tests wait for
    a full collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def server_kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """``redis``, or ``memory`` for the second run of a test with the mark ``both_servers``."""
    kind: str = getattr(request, "param", "redis")
    if kind == "memory":
        isolation.current = Isolation("memory")
    yield kind
    if kind == "memory" and isolation.current is not None:
        isolation.current.end()
        isolation.current = None


@pytest.fixture
def client_of_server(server_kind: str) -> Iterator[Redis]:
    """A plain client of the server that the buffer uses."""
    if memory := isolation.server_of(configuration().cache):
        yield client_of(memory)
        return
    with server.connected() as plain:
        yield plain


@pytest.fixture(autouse=True)
def prefix(settings: Settings, server_kind: str) -> Iterator[str]:
    """A prefix of keys for each test alone. Processors of other tests are removed."""
    prefix = f"test-{secrets.token_hex(8)}"
    settings.JSONBUFFER = {"CACHE": "jsonbuffer", "PREFIX": prefix, "TESTS": "site"}
    processors = dict(declared.processors)
    yield prefix
    losses.unreported.clear()
    declared.processors = processors
    if server_kind == "memory":
        return
    with server.connected() as plain:
        if keys := list(plain.scan_iter(match=f"{prefix}:*", count=1000)):
            plain.delete(*keys)


@pytest.fixture(autouse=True)
def no_recording_is_left() -> Iterator[None]:
    """Disconnect the recordings and hooks that the test has connected."""
    signals = [m2m_changed, post_delete, post_save, pre_delete, pre_save, user_logged_in]
    connected = [(signal, [*signal.receivers]) for signal in signals]
    recordings = [*registry.recordings]
    yield
    registry.recordings[:] = recordings
    for signal, its_receivers in connected:
        signal.receivers = its_receivers
        signal.sender_receivers_cache.clear()


@pytest.fixture
def nothing_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove all declarations and processors, so that only the test's own buckets are left."""
    for name, value in vars(Declarations()).items():
        monkeypatch.setattr(declared, name, value)


@pytest.fixture
def configure(settings: Settings) -> Callable[..., None]:
    """Changes the given keys of JSONBUFFER, and keeps the others."""

    def configure(**changes: Any) -> None:
        settings.JSONBUFFER = {**settings.JSONBUFFER, **changes}

    return configure


@pytest.fixture
def unhurried(configure: Callable[..., None]) -> None:
    """Lets events wait for five minutes, so that no bucket is stalled if a test is slow."""
    configure(BUCKETS={"*": {"linger": timedelta(minutes=5)}})


@pytest.fixture
def use_cache(settings: Settings, configure: Callable[..., None]) -> Callable[..., str]:
    """Makes the buffer use another cache, with this `LOCATION` and further keys of CACHES."""

    def use_cache(location: str | list[str], **config: Any) -> str:
        alias = f"cache-{secrets.token_hex(4)}"
        is_of_suite = str(location).startswith(server.APP_URL)
        options = server.APP_OPTIONS if is_of_suite else _OPTIONS
        settings.CACHES = {
            **settings.CACHES,
            alias: {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": location,
                "OPTIONS": options,
                **config,
            },
        }
        configure(CACHE=alias)
        return alias

    return use_cache


@pytest.fixture
def private_server(use_cache: Callable[..., str]) -> Iterator[Redis]:
    """A client of a server that only this test uses. The buffer uses it too."""
    embedded, app_url = server.start()
    try:
        with redis.Redis.from_url(embedded.url) as plain:
            use_cache(app_url)
            yield plain
    finally:
        embedded.stop()


@pytest.fixture(scope="session")
def nodes() -> Iterator[list[EmbeddedRedis]]:
    """The primaries of one cluster for many tests, since it takes two seconds to start.

    They neither kill nodes nor move slots. A node may hang for half a minute.
    """
    args = ("--cluster-require-full-coverage", "no", "--cluster-node-timeout", "30000")
    with cluster(*args, nodes=3) as nodes:
        yield nodes


@pytest.fixture
def nodes_come_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No thread looks long for another owner of slots, because nodes only hang. Afterwards the
    process knows of no outage."""
    monkeypatch.setattr(redis_cluster, "_PAUSES_SECONDS", (0,))
    yield
    wait_until(lambda: not redis_cluster._lost)
    breakers.clear()


@pytest.fixture
def spilling(tmp_path: Path, configure: Callable[..., None]) -> Iterator[Spill]:
    """The spill of the bucket `orders`."""
    configure(BUCKETS={"orders": {"spill_dir": tmp_path}})
    opened = spill(tmp_path)
    yield opened
    opened.close()
    _spills.clear()


@pytest.fixture
def clock(use_cache: Callable[..., str]) -> Iterator[Clock]:
    """The clock of a server that only this test uses. The buffer uses the server too."""
    with server_with_clock() as (embedded, clock):
        use_cache(embedded.url)
        yield clock


@pytest.fixture
def unreachable(use_cache: Callable[..., str], tmp_path: Path) -> str:
    """The URL of a server that does not exist. The buffer uses this URL."""
    url = f"unix://{tmp_path}/nobody.sock?db=0"
    use_cache(url)
    return url


@pytest.fixture
def restarting(tmp_path: Path, use_cache: Callable[..., str]) -> Iterator[RestartingServer]:
    """A server that can lose its last writes. The buffer uses it."""
    with RestartingServer(tmp_path / "redis") as server:
        use_cache(server.url)
        yield server
