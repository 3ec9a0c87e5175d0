"""The page about engines: a project with each of them, and its real worker processes."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from django_jsonbuffer import Bucket
from tests import server
from tests.guides.pages import DOCS, blocks, commands
from tests.test_drain_buckets import wait_for

PAGE: Final = (DOCS / "engines.md").read_text()

SETTINGS: Final = """
SECRET_KEY = "only for tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    *("django.contrib.auth", "django.contrib.contenttypes", "django_jsonbuffer", "shop"),
]
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "jsonbuffer": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": %(url)r,
        "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 10, "SOCKET_TIMEOUT": 30},
    },
}
JSONBUFFER = {"PREFIX": %(prefix)r}
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
CELERY_BROKER_URL = %(broker)r
CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": %(prefix)r + ":celery:"}
"""

MANAGE: Final = """
import sys
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
"""

BUCKETS: Final = """
from django_jsonbuffer import Bucket

orders = Bucket("orders")

@orders.processor
def store(batch):
    pass
"""


class Site:
    """A project into which a section of the page is pasted, and whose processes are run."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        values = {"prefix": prefix, "url": server.APP_URL}
        values["broker"] = server.URL.replace("unix:", "redis+socket:").replace(
            "?db=", "?virtual_host="
        )
        for name, text in {
            "manage.py": MANAGE,
            "mysite/__init__.py": "",
            "mysite/settings.py": SETTINGS % values,
            "shop/__init__.py": "",
            "shop/buckets.py": BUCKETS,
        }.items():
            self.paste(name, text)

    def paste(self, name: str, text: str) -> None:
        path = self._folder / name
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.write(text)

    def run(self, line: str) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])}
        environment["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
        words = [sys.executable, *shlex.split(line)[1:]]
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(
                words,
                env=environment,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def end(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        print((self._folder / "log").read_text()[-20_000:])


@pytest.fixture
def site(tmp_path: Path, prefix: str) -> Iterator[Site]:
    site = Site(tmp_path, prefix)
    yield site
    site.end()


@pytest.mark.parametrize("engine", ["Celery", "Django's tasks", "RQ", "Huey"])
def test_engine_drains(site: Site, engine: str, prefix: str) -> None:
    bucket = Bucket("orders")
    bucket.extend(range(10))
    section = PAGE.partition(f"\n## {engine}\n")[2].partition("\n## ")[0]
    # The databases of a server that other tests use have names of their own.
    section = section.replace("redis://127.0.0.1:6379/2", server.URL)
    section = section.replace('"default"', f'"{prefix}"') if engine == "RQ" else section
    section = section.replace('"url":', f'"name": "{prefix}", "url":')
    # Nobody waits for the next turn of a schedule.
    section = section.replace("beat_schedule()", "beat_schedule(every_seconds=0.5)")
    section = section.replace("interval=10", "interval=1")
    for block in blocks(section):
        if block.language == "python":
            assert block.file
            site.paste(block.file, block.code)
        else:
            for line, _ in commands(block):
                follow(site, line.replace("rqworker default", f"rqworker {prefix}"))
    wait_for(lambda: bucket.status().processed == 10)


def follow(site: Site, line: str) -> None:
    if line.startswith("pip "):
        return  # installed with the tests
    process = site.run(line)
    if re.search("migrate|shell", line):
        assert process.wait(60) == 0


@pytest.mark.django_db(transaction=True)
def test_any_other_engine() -> None:
    page = PAGE.partition("\n## Any other engine\n")[2]
    bucket = Bucket("orders")
    bucket.processor(lambda batch: None)
    bucket.append(1)
    namespace: Mapping[str, object] = {}
    exec(next(blocks(page)).code, namespace)  # type: ignore[arg-type]
    assert bucket.status().processed == 1
