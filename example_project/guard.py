"""Child processes that end with this process, even after kill -9."""

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Self, cast

_SCRIPT = str(Path(__file__).with_name("guard.sh"))


class GuardedProcess:
    """A command under a small shell, which ends the command as soon as this process is gone.

    It runs in a session of its own, so a Ctrl-C in the terminal reaches only the parent.
    """

    def __init__(
        self, command: Sequence[str], *, output: int | IO[bytes], folder: str = ""
    ) -> None:
        self._guard = subprocess.Popen(
            ["sh", _SCRIPT, folder, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        # Python does not pass its own descriptors to a child, so this is the only writing end.
        self._pipe = cast(IO[bytes], self._guard.stdin)

    @property
    def output(self) -> IO[bytes]:
        """The output of the command, if `output` was a pipe."""
        return cast(IO[bytes], self._guard.stdout)

    def poll(self) -> int | None:
        return self._guard.poll()

    def wait(self, timeout_seconds: float | None = None) -> int:
        return self._guard.wait(timeout_seconds)

    def signal(self, name: str) -> None:
        """Send the command a signal by name, such as "TERM". Nothing happens if it has ended."""
        with suppress(BrokenPipeError):
            os.write(self._pipe.fileno(), f"{name}\n".encode())

    def end(self) -> None:
        """Kill the command if it still runs. Afterwards it is gone, and its folder too."""
        if not self._pipe.closed:
            # Send KILL explicitly, because a fork of this process may hold the pipe open.
            self.signal("KILL")
            self._pipe.close()
        self._guard.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()
