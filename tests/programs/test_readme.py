"""The quickstart, pasted as it stands into a new project."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests import server

README = (Path(__file__).parents[2] / "README.md").read_text()
QUICKSTART = README.partition("## Five minutes")[2].partition("\n## ")[0]
LOCATION = "redis://127.0.0.1:6379/1"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", QUICKSTART, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[tuple[str, str]]:
    """Each command of a console block, and what the README says that it prints."""
    found = []
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines(keepends=True)
        # A quotation that is open goes on in the next line.
        length = 1
        while "".join(lines[:length]).count('"') % 2:
            length += 1
        found.append(("".join(lines[:length]), "".join(lines[length:])))
    return found


@pytest.fixture
def project(tmp_path: Path, prefix: str) -> Path:
    """As after the first commands of the quickstart, and the files pasted."""
    start, *_ = blocks("console")
    assert [shlex.split(command)[:2] for command, _ in commands(start)] == [
        ["pip", "install"],
        ["django-admin", "startproject"],
        ["cd", "mysite"],
        ["python", "manage.py"],
    ]
    run("django-admin startproject mysite", tmp_path)
    folder = tmp_path / "mysite"
    run("python manage.py startapp pages", folder)

    files = re.findall(r"`((?:pages|mysite)/\w+\.py)`", QUICKSTART)
    assert files == [
        "mysite/settings.py",
        "pages/models.py",
        "pages/buckets.py",
        "pages/middleware.py",
    ]
    settings, *modules = blocks("python")
    assert LOCATION in settings
    with (folder / files[0]).open("a") as file:
        file.write(settings.replace(LOCATION, server.URL))
        file.write(f"\nJSONBUFFER['PREFIX'] = {prefix!r}\n")
    for path, module in zip(files[1:], modules, strict=True):
        (folder / path).write_text(module)
    return folder


def run(command: str, folder: Path) -> str:
    program, *arguments = shlex.split(command)
    module = {"django-admin": ["-m", "django"], "python": []}[program]
    done = subprocess.run(
        [sys.executable, *module, *arguments],
        cwd=folder,
        env={
            **{key: value for key, value in os.environ.items() if "DJANGO" not in key},
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_quickstart_does_what_it_says(project: Path) -> None:
    _, *consoles = blocks("console")
    ran = [line for block in consoles for line in commands(block)]
    assert len(ran) == 5
    for command, expected in ran:
        printed = run(command, project)
        if expected:
            assert printed == expected
    stored = run(
        "python manage.py shell --verbosity 0 -c "
        '"from pages.models import PageView; print(PageView.objects.count())"',
        project,
    )
    assert stored.strip() == "3"
    assert "no issues" in run("python manage.py check", project)
