"""A new project, into which a guide is pasted, and whose commands are run."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.guides.forking import TIMEOUT_SECONDS, Manager
from tests.guides.pages import Block, blocks, commands, is_as_shown
from tests.test_drain_buckets import heed_interrupts

ROOT: Final = Path(__file__).parent.parent.parent
KILLED: Final = "Killed\n"
"""What a shell says of a command that was killed. Shells say it in different words."""

_ASSIGNMENT: Final = re.compile(r"[A-Z_]+=")


class Project:
    """Does with a page what its reader does, block by block."""

    def __init__(self, folder: Path, manager: Manager, *, prefix: str) -> None:
        self._folder = folder
        self._manager = manager
        self._prefix = prefix
        self._printed = folder / "printed.txt"
        self._background: subprocess.Popen[str] | None = None
        self._output = folder / "second-terminal.txt"
        self._seen = 0
        """How much of the output the reader has seen."""
        self.left_out: list[Block] = []
        """Blocks that are neither pasted nor run: variants."""

    def follow(self, page: str) -> None:
        for block in blocks(page):
            self._follow(block)

    def _follow(self, block: Block) -> None:
        if "Ctrl-C" in block.before:
            self.stop_background()
        if block.file:
            self._paste(block, block.file)
        elif block.language == "console":
            for line, shown in commands(block):
                self._run(line, shown, block)
        elif "second terminal shows" in block.paragraph:
            self._wait_for_output(block.code)
        else:
            self.left_out.append(block)

    def _paste(self, block: Block, name: str) -> None:
        with (self._folder / name).open("a" if block.is_at_end else "w") as file:
            file.write(block.code)
            if name.endswith("settings.py") and "JSONBUFFER" in block.code:
                file.write(f"\nJSONBUFFER['PREFIX'] = {self._prefix!r}\n")

    def _run(self, line: str, shown: str, block: Block) -> None:
        if line.startswith("pip "):
            return  # installed with the tests
        if line.startswith("cd "):
            self._folder /= line.split()[1]
        elif "second terminal" in block.before:
            self._start_background(line)
            self._wait_for_output(shown)
        else:
            code, printed = self._result_of(line)
            if shown == KILLED:
                assert code == -signal.SIGKILL, printed
            elif shown:
                assert is_as_shown(printed, shown), f"{line}\n{printed}"
            else:
                assert code == 0, f"{line}\n{printed}"

    def _result_of(self, line: str) -> tuple[int, str]:
        """The exit code of a command, and what it prints."""
        words = shlex.split(line)
        environment = dict(word.split("=", 1) for word in words if _ASSIGNMENT.match(word))
        words = words[len(environment) :]
        if words[:2] == ["python", "manage.py"]:
            code = self._manager.run(
                words[2:], folder=self._folder, environment=environment, output=self._printed
            )
            return code, self._printed.read_text()
        done = subprocess.run(
            words,
            cwd=self._folder,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        return done.returncode, done.stdout

    def _start_background(self, line: str) -> None:
        self._seen = 0
        with self._output.open("w") as output:
            self._background = subprocess.Popen(
                ["/bin/sh", "-c", f"exec env {line}"],
                cwd=self._folder,
                env=_environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                preexec_fn=heed_interrupts,
            )

    def _wait_for_output(self, shown: str) -> None:
        """Wait until the second terminal shows this, after what it has shown before."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not is_as_shown(printed := self._output.read_text()[self._seen :], shown):
            assert time.monotonic() < deadline, printed
            time.sleep(0.05)
        self._seen += len(printed)

    def stop_background(self) -> None:
        """Press Ctrl-C in the second terminal."""
        if self._background is not None:
            self._background.send_signal(signal.SIGINT)
            self._background.wait(TIMEOUT_SECONDS)
            self._background = None


def site_with_shop(location: str) -> str:
    """The beginning of a guide: a site with an app, and the URL of its Redis in the settings."""
    return f"""
```console
$ django-admin startproject mysite
$ cd mysite
$ python manage.py startapp shop
```

At the end of `mysite/settings.py`:

```python
INSTALLED_APPS += ["django_jsonbuffer", "shop"]
CACHES = {{
    "default": {{"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    "jsonbuffer": {{
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": "{location}",
    }},
}}
JSONBUFFER = {{"CACHE": "jsonbuffer"}}
```
"""


@contextmanager
def new_project(folder: Path, *, prefix: str) -> Iterator[Project]:
    with Manager(_environment()) as manager:
        project = Project(folder, manager, prefix=prefix)
        try:
            yield project
        finally:
            project.stop_background()


def _environment() -> dict[str, str]:
    """That of the suite, without its settings. Python is the one that runs the suite."""
    left_out = ("DJANGO", "COLUMNS", "PYTEST")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
