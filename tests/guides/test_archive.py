from pathlib import Path
from typing import Any

from tests import server
from tests.guides.pages import DOCS, blocks
from tests.guides.projects import new_project


def test_archive(tmp_path: Path, prefix: str) -> None:
    page = (DOCS / "guides/archive.md").read_text()
    page = page.replace("redis://127.0.0.1:6379/1", server.URL)
    page = page.replace("/home/you", str(tmp_path))
    with new_project(tmp_path, prefix=prefix) as project:
        project.follow(page)
    [variant] = project.left_out
    assert "S3Storage" in variant.code


def test_objects_are_sorted_by_their_numbers() -> None:
    page = (DOCS / "guides/archive.md").read_text()
    [code] = [block.code for block in blocks(page) if "def age" in block.code]
    names: dict[str, Any] = {}
    exec(code[code.index("def age") : code.index("def events")], names)
    objects = [f"{id}.jsonl.gz" for id in ("10-10-aa", "10-2-ff_1", "9-3-ab")]
    assert sorted(objects, key=names["age"]) == objects[::-1]
