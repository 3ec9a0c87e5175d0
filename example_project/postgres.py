"""A private PostgreSQL server on a unix socket in a folder. It can be stopped and started."""

import os
import shutil
import subprocess
from glob import glob
from pathlib import Path
from typing import Self


class PostgreSQLMissing(Exception):
    """No PostgreSQL server is installed on this machine."""


class PostgreSQL:
    """A server that runs as long as the block, except while it is stopped."""

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        """With `fsync`, a commit waits for the disk, which is the default of PostgreSQL."""
        self.folder = folder
        self._fsync = "on" if fsync else "off"
        self._data = folder / "data"
        self._programs = _programs()

    def __enter__(self) -> Self:
        self.folder.mkdir()
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(self.folder, "postgres", "postgres")
            for parent in (self.folder.parent, *self.folder.parent.parents):
                if parent.stat().st_mode & 0o711 != 0o711 and parent != Path("/tmp"):
                    parent.chmod(0o755)
        self._run("initdb", "--auth=trust", "--username=postgres", "--no-sync", "-D", self._data)
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses='' -c fsync={self._fsync}"
        log = self.folder / "log"
        self._run("pg_ctl", "start", "--wait", "-D", self._data, "-l", log, "-o", options)

    def stop(self) -> None:
        """Stop the server at once, and cut all connections."""
        self._run("pg_ctl", "stop", "--wait", "--mode=immediate", "-D", self._data)

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(Path(self._programs) / program), *map(str, arguments)]
        if os.getuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, timeout=60)


def _programs() -> str:
    """The folder of the PostgreSQL programs. Debian keeps them outside of PATH."""
    found = sorted(glob("/usr/lib/postgresql/*/bin/pg_ctl")) or [shutil.which("pg_ctl") or ""]
    if not found[-1]:
        raise PostgreSQLMissing("No PostgreSQL is installed here. Install its server.")
    return str(Path(found[-1]).parent)
