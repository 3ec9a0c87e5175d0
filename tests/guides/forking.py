"""Runs `python manage.py` many times, without importing Django and redis-py each time.

A process imports them once, and forks for each command. This takes a third of the time. Run as a
module, this is that process: it reads a command in each line, and answers with its exit code.
"""

import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_IMPORTED: Final = (
    *("asyncio", "django_redis.cache", "httpx", "redis.asyncio", "sqlite3", "tqdm"),
    *("django.contrib.admin", "django.contrib.auth.hashers", "django.contrib.messages"),
    *("django.contrib.sessions.backends.db", "django.contrib.staticfiles.storage"),
    *("django.core.management.commands.makemigrations", "django.core.management.commands.migrate"),
    *("django.core.management.commands.shell", "django.db.backends.sqlite3.base"),
    *("django.test", "django.views.generic"),
)
"""Nothing of this app, which is imported as in a real process."""


TIMEOUT_SECONDS: Final = 60
"""After that time a command is killed."""


class Manager:
    """Runs `manage.py`. Ends with its block."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def run(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        output: Path,
    ) -> int:
        """The exit code, negative if a signal killed it. `output` gets what it prints."""
        command = [[*arguments], str(folder), dict(environment), str(output)]
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def _run(arguments: list[str], folder: str, environment: dict[str, str], output: str) -> None:
    signal.alarm(TIMEOUT_SECONDS)
    os.chdir(folder)
    os.environ.update(environment)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["manage.py", *arguments]
    sys.path[0] = folder
    runpy.run_path("manage.py", run_name="__main__")


def _serve() -> None:
    for name in _IMPORTED:
        import_module(name)
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            _run(*json.loads(line))
            sys.exit(0)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    _serve()
