"""Projects without the package of an engine."""

import subprocess
import sys

import pytest

from tests.test_drain_buckets import environment


@pytest.mark.parametrize(("module", "package"), [("celery", "celery"), ("tasks", "django_tasks")])
def test_error_says_what_to_install(module: str, package: str) -> None:
    code = f"""
import sys
sys.modules["django.tasks"] = sys.modules[{package!r}] = None
import django_jsonbuffer.contrib.{module}
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1].endswith(f"pip install 'django-jsonbuffer[{module}]'")
