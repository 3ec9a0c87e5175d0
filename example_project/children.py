"""Commands of the project in processes of their own, which end with this process."""

import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import NoReturn, Self

from example_project.guard import GuardedProcess

MANAGE = str(Path(__file__).resolve().parent.parent / "manage.py")


class ChildFailed(Exception):
    """A command has failed, or has ended too early. The message has the last lines it wrote."""


class Child:
    """A `manage.py` command beside the demo. Its output is shown only if it fails."""

    def __init__(self, *command: str) -> None:
        self._name = f"manage.py {' '.join(command)}"
        self._last_lines: deque[bytes] = deque(maxlen=40)
        self._process = GuardedProcess([sys.executable, MANAGE, *command], output=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        self._last_lines.extend(self._process.output)

    def require_alive(self) -> None:
        status = self._process.poll()
        if status is not None:
            self._fail(f"ended by itself with exit status {status}")

    def wait(self) -> None:
        """Return when the command has ended successfully."""
        try:
            status = self._process.wait(timeout_seconds=60)
        except subprocess.TimeoutExpired:
            self._fail("did not end within a minute")
        if status:
            self._fail(f"ended with exit status {status}")

    def end(self) -> None:
        self._process.end()
        self._reader.join()

    def terminate(self) -> None:
        self._process.signal("TERM")
        self.wait()

    def _fail(self, what: str) -> NoReturn:
        self.end()
        said = b"".join(self._last_lines).decode(errors="replace").strip()
        raise ChildFailed(f"{self._name} {what}; it said:\n{said or '(nothing)'}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()
        self._process.output.close()
