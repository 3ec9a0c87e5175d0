from pathlib import Path

from tests import server
from tests.guides.pages import DOCS
from tests.guides.projects import new_project


def test_audit_log(tmp_path: Path, prefix: str) -> None:
    page = (DOCS / "guides/audit-log.md").read_text()
    page = page.replace("redis://127.0.0.1:6379/1", server.URL)
    with new_project(tmp_path, prefix=prefix) as project:
        project.follow(page)
    assert not project.left_out
