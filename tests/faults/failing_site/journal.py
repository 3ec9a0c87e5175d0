"""The journal of a test: what the processor was called with, and what was logged."""

import json
import logging
import os
import time
from typing import Any


def write(kind: str, **fields: Any) -> None:
    """Write one line, in one call, so that lines of workers do not mix."""
    fields |= {"kind": kind, "worker": os.getpid(), "seconds": time.monotonic()}
    descriptor = os.open(os.environ["SITE_JOURNAL"], os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, json.dumps(fields).encode() + b"\n")
    os.close(descriptor)


class Log(logging.Handler):
    """A handler that writes to the journal."""

    def emit(self, record: logging.LogRecord) -> None:
        write("log", level=record.levelname, text=record.getMessage())
