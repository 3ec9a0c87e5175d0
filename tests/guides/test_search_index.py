from pathlib import Path

from tests import server
from tests.guides.pages import DOCS
from tests.guides.projects import new_project
from tests.guides.search_engine import search_engine


def test_search_index(tmp_path: Path, prefix: str) -> None:
    page = (DOCS / "guides/search-index.md").read_text()
    page = page.replace("redis://127.0.0.1:6379/1", server.URL)
    with search_engine() as engine, new_project(tmp_path, prefix=prefix) as project:
        project.follow(page.replace("127.0.0.1:9200", engine.address))
    assert not project.left_out
