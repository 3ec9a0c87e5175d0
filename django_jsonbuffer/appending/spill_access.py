"""Who can read and write the files of the spill: only the user that runs the site."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from django_jsonbuffer.exceptions import SpillUnavailable

FILE: Final = "jsonbuffer.sqlite3"
LOCK_FILE: Final = "jsonbuffer-forwarding.sqlite3"

_PRIVATE: Final = 0o600


def make_private(path: Path) -> None:
    """Create the file if it is missing, and let nobody else read or write it: it holds events.

    Somebody may have created it before, to read the events. Raises :class:`SpillUnavailable` if it
    is not a regular file, or belongs to another user. SQLite gives its mode to -wal and -shm.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    # An existing file is not opened, because closing it would release this process's locks.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _PRIVATE))
    for file in _with_logs(path):
        if fault := _fault_of(file):
            raise SpillUnavailable(
                f"{file} {fault}, so it is not used. Nothing was written. If the site ran as "
                "another user before, give this user the file with chown. Otherwise find out who "
                "made the file, and move it away together with its -wal and -shm files."
            )
        with suppress(FileNotFoundError):
            if stat.S_IMODE(os.lstat(file).st_mode) & ~_PRIVATE:
                os.chmod(file, _PRIVATE)


def is_writable(folder: str | os.PathLike[str]) -> bool:
    """Whether events can be spilled to the folder. A missing folder counts if it can be made."""
    path = Path(folder)
    if not path.exists():
        return os.access(path.parent, os.W_OK | os.X_OK)
    files = [file for name in (FILE, LOCK_FILE) for file in _with_logs(path / name)]
    return (
        path.is_dir()
        and os.access(path, os.W_OK | os.X_OK)
        and not any(_fault_of(file) for file in files)
        and all(os.access(file, os.R_OK | os.W_OK) for file in files if file.exists())
    )


def _with_logs(path: Path) -> Iterator[Path]:
    """The file, and the files that SQLite puts beside it."""
    return (path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm", "-journal"))


def _fault_of(file: Path) -> str:
    """Why the file must not be used. Empty if it may be, or if it is missing."""
    try:
        found = os.lstat(file)
    except FileNotFoundError:
        return ""
    if not stat.S_ISREG(found.st_mode):
        return "is not a regular file"
    return "" if _is_owned(found) else f"belongs to another user (uid {found.st_uid})"


def _is_owned(found: os.stat_result) -> bool:
    """Whether a file is of the user of this process. Root has no more rights than others here."""
    # Windows has no such ids, and no such modes.
    return not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
