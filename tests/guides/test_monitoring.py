"""The page about monitoring: its examples, in real processes."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from urllib.error import HTTPError, URLError

import pytest
import yaml
from django.test import Client, RequestFactory
from django.urls import path
from pytest_django import Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.contrib.prometheus.timings import HISTOGRAMS
from django_jsonbuffer.metrics import METRICS
from tests import server
from tests.contrib.prometheus.exposed import Exposed, read
from tests.guides.pages import DOCS, Block, blocks
from tests.guides.projects import ROOT, new_project, site_with_shop
from tests.signals import receivers_are_temporary
from tests.sinks.servers import free_port
from tests.test_show_buckets import bury, environment

PAGE: Final = (DOCS / "monitoring.md").read_text()
TOKEN: Final = "a token"
TIMEOUT_SECONDS: Final = 60
COUNT: Final = "jsonbuffer_processor_seconds_count"

PROJECT: Final = f"""{site_with_shop(server.APP_URL)}
In `shop/buckets.py`:

```python
import time

from django_jsonbuffer import Bucket

orders = Bucket("orders", batch_size=1)
orders.processor(lambda batch: time.sleep(0.02))
```
"""

APPEND: Final = (
    *("manage.py", "shell", "-v0", "-c"),
    "from shop.buckets import orders; [orders.append(n) for n in range(50)]",
)


def section(name: str, level: str = "##") -> str:
    return PAGE.partition(f"\n{level} {name}\n")[2].partition(f"\n{level} ")[0]


def block_with(text: str) -> Block:
    [found] = [block for block in blocks(PAGE) if text in block.code]
    return found


class TestSignals:
    def test_example(self, client_of_server: Any) -> None:
        mails: list[Any] = []
        namespace = {"orders": Bucket("orders"), "mail_admins": lambda *mail: mails.append(mail)}
        with receivers_are_temporary():
            exec(block_with("tell_support").code, namespace)
            bury(client_of_server, "mails")
            bury(client_of_server, "orders")
        text = "foreign: The value is not a JSON array of events."
        assert mails == [("1 dead letters in orders", text)]


class TestSentry:
    def test_gets_the_exception_of_the_processor(self, prefix: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "tests.guides.sentry_site"],
            cwd=ROOT,
            env=environment(prefix),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
        )
        events = json.loads(done.stdout.splitlines()[-1])
        [line] = [event for event in events if "exception" not in event]
        assert line["logger"] == "django_jsonbuffer"
        event, *others = [event for event in events if "exception" in event]
        assert {each["tags"]["bucket"] for each in others} == {"orders"}
        [exception] = event["exception"]["values"]
        assert (exception["type"], exception["value"]) == ("ValueError", "no total")
        assert exception["stacktrace"]["frames"][-1]["function"] == "store"
        assert event["tags"]["bucket"] == "orders"
        batch = event["contexts"]["batch"]
        assert (batch["delivery"], batch["outcome"]) == (1, "halved")


@contextmanager
def running(folder: Path, *command: str, **variables: str) -> Iterator[None]:
    """A process of the project, which is terminated at the end of the block."""
    process = start(folder, *command, **variables)
    try:
        yield
        process.terminate()
        process.wait(TIMEOUT_SECONDS)
    finally:
        process.kill()
        process.wait()


def start(folder: Path, *command: str, **variables: str) -> "subprocess.Popen[bytes]":
    kept = {name: text for name, text in os.environ.items() if not name.startswith("DJANGO")}
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), "METRICS_TOKEN": TOKEN, **variables},
        stdout=subprocess.DEVNULL,
    )


def scrape(port: int, until: Callable[[Exposed], bool]) -> Exposed:
    """What is exposed at the port, as soon as it is as expected."""
    request = urllib.request.Request(
        f"http://localhost:{port}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}
    )
    deadline, found = time.monotonic() + TIMEOUT_SECONDS, Exposed()
    while not until(found):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
        try:
            with urllib.request.urlopen(request) as response:
                found = read(response.read().decode())
        except HTTPError:
            raise
        except URLError:
            pass  # nobody listens yet
    return found


class TestPrometheus:
    @pytest.fixture
    def folder(self, tmp_path: Path, prefix: str) -> Path:
        """The project, with the view and the port of the page."""
        page = section("Prometheus")
        with new_project(tmp_path, prefix=prefix) as project:
            project.follow(PROJECT)
            project.follow(page.partition("### Metrics")[0])
            project.follow(page[page.index("In `shop/apps.py`") :].partition("```console")[0])
        return tmp_path / "mysite"

    def test_view_has_the_histograms_of_all_processes(self, folder: Path, tmp_path: Path) -> None:
        """Two that append, two workers, and two of gunicorn, which answer."""
        (shared := tmp_path / "metrics").mkdir()
        shares = {"PROMETHEUS_MULTIPROC_DIR": str(shared)}
        drain, port = ("manage.py", "drain_buckets", "--watch"), free_port()
        serve = ("-m", "gunicorn", "mysite.wsgi", "--workers=2", f"--bind=127.0.0.1:{port}")
        with (
            running(folder, *serve, "--no-control-socket", "--log-level=warning", **shares),
            running(folder, *drain, **shares),
            running(folder, *drain, **shares),
        ):
            scrape(port, lambda exposed: exposed.values("jsonbuffer_workers") == [2])
            appending = [start(folder, *APPEND, **shares) for _ in range(2)]
            assert [process.wait(TIMEOUT_SECONDS) for process in appending] == [0, 0]
            found = scrape(
                port,
                lambda exposed: exposed.values(COUNT, outcome="processed") == [100],
            )
        assert found.value("jsonbuffer_append_seconds_count", outcome="accepted") == 100
        seconds = found.value("jsonbuffer_processor_seconds_sum", outcome="processed")
        assert seconds >= 100 * 0.02
        assert len([*shared.iterdir()]) == 4

    def test_worker_listens_on_a_port(self, folder: Path) -> None:
        port = free_port()
        assert start(folder, *APPEND).wait(TIMEOUT_SECONDS) == 0
        drain = ("manage.py", "drain_buckets", "--watch")
        with running(folder, *drain, METRICS_PORT=str(port)):
            scrape(
                port,
                lambda exposed: exposed.values(COUNT, outcome="processed") == [50],
            )

    def test_configuration_is_valid_yaml(self) -> None:
        config = yaml.safe_load(block_with("scrape_configs").code)
        [job] = config["scrape_configs"]
        assert job["authorization"].keys() == {"credentials_file"}
        for file in config["rule_files"]:
            assert (DOCS / "monitoring" / file).exists()

    def test_table_has_each_metric(self) -> None:
        named = {*re.findall(r"`(jsonbuffer_\w+)`", section("Metrics", "###"))}
        histograms = {metric.name for each in HISTOGRAMS for metric in each.describe()}
        assert named == {"jsonbuffer_redis_up", *(each.name for each in METRICS), *histograms}


@pytest.mark.usefixtures("nothing_declared")
class TestHealth:
    @pytest.fixture
    def urlpatterns(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        module: Any = ModuleType("urls_of_the_page")
        module.urlpatterns = []
        monkeypatch.setitem(sys.modules, module.__name__, module)
        settings.ROOT_URLCONF = module.__name__
        urlpatterns: list[Any] = module.urlpatterns
        return urlpatterns

    def test_checks_of_the_package(self, client: Client, urlpatterns: list[Any]) -> None:
        namespace = {"path": path, "urlpatterns": urlpatterns}
        for text in ("import HealthCheckView", "health/workers"):
            # The check of the database leaves a connection of SQLite open in a thread.
            exec(block_with(text).code.replace("checks.Database", "checks.Cache"), namespace)
        Bucket("orders").processor(print)
        for page, checks in (("/health", 2), ("/health/workers", 1)):
            response = client.get(page, {"format": "json"})
            assert [*response.json().values()] == ["OK"] * checks

    def test_view_without_the_package(
        self, rf: RequestFactory, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
    ) -> None:
        module: Any = ModuleType("shop.buckets")
        module.orders = Bucket("orders")
        monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
        monkeypatch.setitem(sys.modules, "shop.buckets", module)
        namespace: dict[str, Any] = {}
        exec(block_with("def health(request)").code, namespace)
        view = namespace["health"]
        assert view(rf.get("/")).status_code == 200
        request.getfixturevalue("unreachable")
        response = view(rf.get("/"))
        assert (response.status_code, response.text) == (503, "Redis cannot be reached.")
