"""The pages of the admin under themes that replace its templates."""

import os
import subprocess
import sys

import pytest

from django_jsonbuffer import Bucket
from tests import server
from tests.prepared import make_old
from tests.server import Redis

# In a process of its own: a theme has to be installed before the admin is.
VISIT = """
import django
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.test.utils import setup_test_environment

setup_test_environment()
call_command("migrate", run_syncdb=True, verbosity=0)
call_command("check")
call_command("makemigrations", check=True, dry_run=True, verbosity=0)
client = Client()
client.force_login(User.objects.create_superuser("admin"))
for site in ("admin", "second"):
    page = f"/{site}/django_jsonbuffer/bucket/"
    for method, path, text in (
        ("get", f"/{site}/", f'href="{page}"'),
        ("get", f"/{site}/", 'Buckets: <span class="jsonbuffer-attention">1 stalled</span>'),
        ("get", page, f'href="{page}orders/change/"'),
        ("get", f"{page}orders/change/", f'action="{page}orders/pause/"'),
        ("post", f"{page}orders/pause/", "Paused: appends continue"),
        ("post", f"{page}orders/resume/", "Resumed."),
        ("post", f"{page}orders/purge/", "This removes 1 pending event for ever"),
    ):
        response = getattr(client, method)(path, follow=True)
        assert response.status_code == 200, (path, response.status_code)
        assert text in response.content.decode(), (path, text)
"""


@pytest.mark.parametrize("theme", ["unfold"])
def test_pages_work_on_two_sites(theme: str, prefix: str, client_of_server: Redis) -> None:
    Bucket("orders").append(1)
    make_old(client_of_server, "orders")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", VISIT],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.themed_settings",
            "THEME": theme,
            "REDIS_URL": server.URL,
            "REDIS_APP_URL": server.APP_URL,
            "TEST_PREFIX": prefix,
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
