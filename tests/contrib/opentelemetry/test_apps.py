"""The app installs the tracer, and says what it needs."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import modify_settings

from django_jsonbuffer import Bucket, tracing
from django_jsonbuffer.contrib.opentelemetry.spans import Spans

APP = "django_jsonbuffer.contrib.opentelemetry"


@pytest.fixture(autouse=True)
def no_tracer_is_left() -> Iterator[None]:
    yield
    tracing.tracer = None


def installed() -> object:
    return tracing.tracer


def test_app_installs_the_tracer() -> None:
    assert installed() is None
    with modify_settings(INSTALLED_APPS={"append": APP}):
        assert isinstance(installed(), Spans)
        bucket = Bucket("orders", processor=lambda batch: None)
        bucket.append(1)
        assert bucket.drain().processed == 1


def test_app_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    monkeypatch.delitem(sys.modules, f"{APP}.spans")
    with (
        pytest.raises(ImproperlyConfigured, match=r"pip install 'django-jsonbuffer\[opentelem"),
        modify_settings(INSTALLED_APPS={"append": APP}),
    ):
        pass


def test_nothing_else_imports_opentelemetry() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import django; django.setup(); import django_jsonbuffer.draining.drain"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
