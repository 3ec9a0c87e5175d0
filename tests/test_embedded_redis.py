import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

import pytest
import redis

from example_project.embedded_redis import EmbeddedRedis, EmbeddedRedisError, redis_url
from tests.server import Redis

KILLED_PARENT = """
import subprocess, time
from example_project.embedded_redis import EmbeddedRedis

server = EmbeddedRedis().start()
bystander = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
print(server.pid, server.socket, bystander.pid, flush=True)
time.sleep(60)
"""

FORKED_PARENT = """
import os, signal, time
from example_project.embedded_redis import EmbeddedRedis

server = EmbeddedRedis().start()
fork = os.fork()
if fork == 0:
    time.sleep(60)
    os._exit(0)
server.stop()
os.kill(fork, signal.SIGKILL)
"""


def client_of(server: EmbeddedRedis) -> Redis:
    return redis.Redis.from_url(server.url)


def is_running(pid: int | None) -> bool:
    assert pid
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"this did not come true within {seconds:g} seconds"
        time.sleep(0.01)


class TestServer:
    def test_answers_at_its_url(self) -> None:
        with EmbeddedRedis() as server, client_of(server) as client:
            assert client.ping()
            assert client.info()["process_id"] == server.pid

    def test_listens_on_no_port(self) -> None:
        with EmbeddedRedis() as server, client_of(server) as client:
            assert client.config_get("port") == {"port": "0"}

    def test_keeps_no_snapshots_and_evicts_nothing(self) -> None:
        with EmbeddedRedis() as server, client_of(server) as client:
            assert client.config_get("save") == {"save": ""}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}

    def test_takes_further_arguments_of_the_server(self) -> None:
        server = EmbeddedRedis("--maxmemory", "10mb", "--appendonly", "yes")
        with server, client_of(server) as client:
            assert client.config_get("maxmemory") == {"maxmemory": "10485760"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}

    def test_several_at_once_are_separate(self) -> None:
        servers = [EmbeddedRedis() for _ in range(4)]
        try:
            with ThreadPoolExecutor(len(servers)) as pool:
                list(pool.map(EmbeddedRedis.start, servers))
            for number, server in enumerate(servers):
                with client_of(server) as client:
                    client.set("number", number)
            for number, server in enumerate(servers):
                with client_of(server) as client:
                    assert client.get("number") == str(number).encode()
                    assert client.dbsize() == 1
        finally:
            for server in servers:
                server.stop()


class TestEnd:
    def test_stop_leaves_neither_process_nor_folder(self) -> None:
        server = EmbeddedRedis().start()
        pid = server.pid
        server.stop()
        assert not is_running(pid)
        assert not Path(server.socket).parent.exists()

    def test_stop_ends_a_server_that_does_not_respond(self) -> None:
        server = EmbeddedRedis().start()
        pid = server.pid
        assert pid
        os.kill(pid, signal.SIGSTOP)
        server.stop()
        assert not is_running(pid)

    def test_stop_twice_is_harmless(self) -> None:
        server = EmbeddedRedis().start()
        server.stop()
        server.stop()

    def test_starts_again_at_the_same_url_with_the_data_of_a_given_folder(
        self, tmp_path: Path
    ) -> None:
        server = EmbeddedRedis("--appendonly", "yes", "--dir", str(tmp_path))
        with server, client_of(server) as client:
            client.set("kept", "yes")
        with server, client_of(server) as client:
            assert client.get("kept") == b"yes"

    def test_folder_goes_with_a_server_that_was_killed(self) -> None:
        with EmbeddedRedis() as server:
            assert server.pid
            os.kill(server.pid, signal.SIGKILL)
            wait_until(lambda: not Path(server.socket).parent.exists())

    def test_kill_of_the_parent_ends_the_server_though_a_sibling_lives(self) -> None:
        with subprocess.Popen([sys.executable, "-c", KILLED_PARENT], stdout=PIPE) as parent:
            assert parent.stdout
            pid, socket, bystander = parent.stdout.readline().decode().split()
            assert is_running(int(pid))
            parent.kill()
        try:
            wait_until(lambda: not is_running(int(pid)))
            wait_until(lambda: not Path(socket).parent.exists())
            assert is_running(int(bystander))
        finally:
            os.kill(int(bystander), signal.SIGKILL)

    def test_stop_does_not_wait_for_a_fork_that_holds_the_pipe(self) -> None:
        subprocess.run([sys.executable, "-c", FORKED_PARENT], check=True, timeout=30)


class TestRefusal:
    def test_missing_program(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REDIS_SERVER", "/nowhere/redis-server")
        with pytest.raises(EmbeddedRedisError, match="/nowhere/redis-server is not a program"):
            EmbeddedRedis().start()

    def test_program_that_is_no_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REDIS_SERVER", "false")
        server = EmbeddedRedis()
        with pytest.raises(EmbeddedRedisError, match="did not come up; it said: nothing"):
            server.start()
        assert not Path(server.socket).parent.exists()

    def test_program_that_cannot_be_executed(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        program = tmp_path / "redis-server"
        program.write_bytes(b"\0no program\0")
        program.chmod(0o700)
        monkeypatch.setenv("REDIS_SERVER", str(program))
        with pytest.raises(EmbeddedRedisError, match=r"(?i)did not come up; it said: .*exec"):
            EmbeddedRedis().start()

    def test_wrong_argument_is_quoted_as_the_server_said_it(self) -> None:
        server = EmbeddedRedis("--nonsense", "yes")
        with pytest.raises(EmbeddedRedisError, match="Bad directive"):
            server.start()
        assert not Path(server.socket).parent.exists()

    def test_server_that_never_answers(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        program = tmp_path / "redis-server"
        program.write_text("#!/bin/sh\necho thinking\nexec sleep 60\n")
        program.chmod(0o700)
        monkeypatch.setenv("REDIS_SERVER", str(program))
        monkeypatch.setattr("example_project.embedded_redis.START_TIMEOUT_SECONDS", 0.2)
        with pytest.raises(EmbeddedRedisError, match="it said: thinking"):
            EmbeddedRedis().start()

    def test_second_start(self) -> None:
        with EmbeddedRedis() as server, pytest.raises(EmbeddedRedisError, match="stop it first"):
            server.start()


class TestRedisUrl:
    def test_environment_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REDIS_URL", "redis://redis.example:6379/1")
        with redis_url() as url:
            assert url == "redis://redis.example:6379/1"

    def test_embedded_server_otherwise(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("REDIS_URL", raising=False)
        with redis_url() as url, redis.Redis.from_url(url) as client:
            assert client.ping()
