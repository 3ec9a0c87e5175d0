import importlib
import subprocess
import sys

import pytest

from django_jsonbuffer.contrib import prometheus
from django_jsonbuffer.exceptions import BufferMisconfigured
from tests.test_show_buckets import environment

IMPORTED = """
import sys
import django
django.setup()
from django_jsonbuffer import Bucket
Bucket("orders").append(1)
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_without_the_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(BufferMisconfigured, match=r"pip install 'django-jsonbuffer\[prometheus\]'"):
        importlib.reload(prometheus)


def test_package_is_not_imported_without_the_app(prefix: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED],
        env=environment(prefix),
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(done.stdout.split())
    assert "django_jsonbuffer" in imported
    assert not {"prometheus_client", "health_check", "sentry_sdk"} & imported
