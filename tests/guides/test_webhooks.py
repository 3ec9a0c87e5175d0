from pathlib import Path

from tests import server
from tests.guides.pages import DOCS
from tests.guides.projects import new_project
from tests.sinks.servers import free_port


def test_webhooks(tmp_path: Path, prefix: str) -> None:
    page = (DOCS / "guides/webhooks.md").read_text()
    page = page.replace("redis://127.0.0.1:6379/1", server.URL)
    page = page.replace("9000", str(free_port()))
    with new_project(tmp_path, prefix=prefix) as project:
        project.follow(page)
    assert not project.left_out
