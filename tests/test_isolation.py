"""Which buckets a process uses: those of the site, or those of its tests."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import django
import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import utils

from django_jsonbuffer import Bucket, isolation
from django_jsonbuffer.conf import configuration, site_configuration
from django_jsonbuffer.django_internals import test_environment
from django_jsonbuffer.exceptions import BufferMisconfigured
from tests.server import Redis
from tests.threads import at_once


class TestSetting:
    def test_is_in_memory_by_default(
        self, configure: Callable[..., None], client_of_server: Redis
    ) -> None:
        configure(TESTS="memory")
        orders = Bucket("orders")
        orders.append(1)
        assert orders.peek() == [1]
        assert client_of_server.get(orders.key) is None
        configure(TESTS="site")
        assert orders.peek() == []

    def test_redis_has_another_prefix(
        self, configure: Callable[..., None], client_of_server: Redis, prefix: str
    ) -> None:
        configure(TESTS="redis")
        orders = Bucket("orders")
        orders.append(1)
        assert orders.key != f"{prefix}:{{orders}}"
        assert client_of_server.get(orders.key) == b"[1]"
        isolation._end_of_process()
        assert client_of_server.get(orders.key) is None

    def test_that_is_wrong(self, configure: Callable[..., None]) -> None:
        configure(TESTS="mem")
        with pytest.raises(BufferMisconfigured, match=r"\['TESTS'\] must be one of 'memory', 're"):
            Bucket("orders").append(1)

    def test_of_the_site_stays_known(self, configure: Callable[..., None]) -> None:
        configure(TESTS="memory")
        assert site_configuration().cache == "jsonbuffer"
        assert configuration().cache != "jsonbuffer"

    def test_checks_are_about_the_site(self, configure: Callable[..., None]) -> None:
        configure(TESTS="memory", ENCODER="missing")
        with pytest.raises(SystemCheckError, match="'missing'"):
            call_command("check", tags=["caches"])

    def test_needs_no_cache(self, configure: Callable[..., None]) -> None:
        configure(TESTS="memory", CACHE="missing")
        call_command("check", tags=["caches"])
        Bucket("orders").append(1)
        configure(TESTS="site")
        with pytest.raises(SystemCheckError, match="no alias 'missing'"):
            call_command("check", tags=["caches"])

    def test_is_of_the_first_of_several_threads(self, configure: Callable[..., None]) -> None:
        configure(TESTS="memory")
        isolation._end_of_process()
        at_once(partial(Bucket("orders").append, number) for number in range(20))
        assert sorted(Bucket("orders").peek(100)) == [*range(20)]

    def test_of_another_program_is_logged(
        self,
        configure: Callable[..., None],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        configure(TESTS="memory")
        isolation._end_of_process()
        monkeypatch.setattr(isolation, "is_test_run", lambda: False)
        Bucket("orders").append(1)
        assert "because setup_test_environment() was called" in caplog.text


PROGRAMS = [
    "manage.py",
    "/opt/site/manage.py",
    "/bin/django-admin",
    f"{django.__path__[0]}/__main__.py",
]


class TestIsTestEnvironment:
    @pytest.fixture(autouse=True)
    def no_pytest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(sys.modules, "django_jsonbuffer_pytest", raising=False)
        monkeypatch.setattr(test_environment, "_IS_TEST_RUN", False)

    def test_after_set_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert test_environment.is_test_environment()
        monkeypatch.delattr(utils._TestState, "saved_data")
        assert not test_environment.is_test_environment()

    def test_of_a_process_that_serves_a_site(self) -> None:
        assert self.answer_of("manage.py", "runserver") == "False"

    @pytest.mark.parametrize("program", PROGRAMS)
    def test_of_the_command_from_its_start(self, program: str) -> None:
        assert self.answer_of(program, "test") == "True"

    @pytest.mark.parametrize("program", ["/bin/pytest", "/lib/pytest/__main__.py"])
    def test_of_pytest_and_what_multiprocessing_spawns_from_it(self, program: str) -> None:
        assert self.answer_of(program, "tests") == "True"

    @pytest.mark.parametrize("program", ["sync.py", "/lib/server/__main__.py", "-c", ""])
    def test_of_another_program_with_this_argument(self, program: str) -> None:
        assert self.answer_of(program, "test") == "False"

    def answer_of(self, *argv: str) -> str:
        code = (
            f"import sys; sys.argv = {argv!r}; sys.argv = [*sys.argv];"
            "from django_jsonbuffer.django_internals.test_environment import is_test_environment;"
            "print(is_test_environment())"
        )
        return subprocess.check_output([sys.executable, "-c", code], text=True).strip()


class TestFork:
    @pytest.mark.parametrize("mode", ["memory", "redis"])
    def test_child_does_not_share_the_buckets_of_the_process(
        self, mode: str, configure: Callable[..., None], tmp_path: Path
    ) -> None:
        configure(TESTS=mode)
        orders = Bucket("orders")
        orders.append("parent")
        if (child := os.fork()) == 0:
            orders.append("child")
            (tmp_path / "child").write_text(str(orders.peek()))
            os._exit(0)
        os.waitpid(child, 0)
        assert orders.peek() == ["parent"]
        seen = ["parent", "child"] if mode == "memory" else ["child"]
        assert (tmp_path / "child").read_text() == str(seen)
