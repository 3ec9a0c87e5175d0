"""A private MariaDB server on a unix socket in a folder."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Self


class MariaDBMissing(Exception):
    """No MariaDB server is installed on this machine."""


class MariaDB:
    """A server that runs as long as the block."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "socket"
        self._folder = folder
        self._data = folder / "data"
        self._user = "mysql" if os.getuid() == 0 else ""  # MariaDB refuses to run as root

    def __enter__(self) -> Self:
        self._folder.mkdir()
        if self._user:
            shutil.chown(self._folder, self._user, self._user)
            for parent in (self._folder.parent, *self._folder.parent.parents):
                if parent.stat().st_mode & 0o711 != 0o711 and parent != Path("/tmp"):
                    parent.chmod(0o755)
        command = self._command(
            "mariadb-install-db", "--skip-test-db", "--auth-root-authentication-method=normal"
        )
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)
        with (self._folder / "log").open("w") as log:
            self._server = subprocess.Popen(
                self._command(
                    *("mariadbd", f"--socket={self.socket}", "--skip-networking"),
                    *(f"--pid-file={self._folder}/pid", "--innodb-flush-log-at-trx-commit=0"),
                    *("--character-set-server=utf8mb4", "--innodb-buffer-pool-size=64M"),
                ),
                stderr=log,
            )
        self._wait()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.terminate()
        self._server.wait(60)

    def _command(self, program: str, *options: str) -> list[str]:
        found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
        if not found:
            raise MariaDBMissing(f"No {program} is installed here. Install the server of MariaDB.")
        user = [f"--user={self._user}"] if self._user else []
        return [found, "--no-defaults", f"--datadir={self._data}", *user, *options]

    def _wait(self) -> None:
        import MySQLdb

        for _ in range(600):
            try:
                with MySQLdb.connect(unix_socket=str(self.socket), user="root") as connection:
                    connection.cursor().execute("CREATE DATABASE differential")
                return
            except MySQLdb.OperationalError:
                if self._server.poll() is not None:
                    break
            time.sleep(0.1)
        raise MariaDBMissing(
            f"MariaDB does not start: {(self._folder / 'log').read_text()[-2000:]}"
        )
