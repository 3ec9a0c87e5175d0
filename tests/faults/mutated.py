"""A plugin of pytest that lets the suite run with one file of the scripts changed.

``MUTATED_FILE`` names the file, and ``MUTATED_SOURCE`` the one with the changed text.
"""

import inspect
import os
from functools import cache, wraps
from pathlib import Path


def pytest_configure() -> None:
    inject(os.environ["MUTATED_FILE"], Path(os.environ["MUTATED_SOURCE"]).read_text())


def inject(file: str, source: str) -> None:
    """Let this process run the scripts with that text in that file.

    Scripts are read at import, and other modules may hold them, so each is built again in place.
    """
    from django_jsonbuffer.store import script_files, scripts

    read = inspect.unwrap(script_files.read_file)

    @cache
    @wraps(read)
    def read_mutated(asked: str) -> str:
        return source if asked == file else read(asked)

    script_files.read_file = read_mutated
    for script in vars(scripts).values():
        if isinstance(script, scripts.Script):
            scripts.Script.__init__(script, script.name, *script.replies, check=script.check)
