"""What ``drain_buckets --processes`` tells its processes, and what it says of their end."""

import time
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError

from .exit_codes import EVENTS_ARE_KEPT, MISCONFIGURED_OR_UNREACHABLE, PROCESSOR_HANGS, STOPPED
from .processes import Processes


class ChildArguments:
    """Makes the command line of a child: that of the parent, for the time that is left."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        limit = options["max_seconds"]
        self._deadline = None if limit is None else time.monotonic() + limit
        # The parent has run the checks.
        self._always = [*options["bucket"], "--skip-checks", f"--verbosity={options['verbosity']}"]
        self._always += [f"--interval={options['interval']}"]
        flags = ("watch", "traceback", "no_color", "force_color")
        self._always += [f"--{name.replace('_', '-')}" for name in flags if options.get(name)]
        if options["max_batches"] is not None:
            self._always.append(f"--max-batches={options['max_batches']}")

    def __call__(self, number: int) -> list[str]:
        arguments = [*self._always, f"--process={number}"]
        if self._deadline is not None:
            seconds = max(self._deadline - time.monotonic(), 0.001)
            arguments.append(f"--max-seconds={seconds}")
        return arguments


def is_final(options: dict[str, Any], code: int) -> bool:
    """Whether a process that ends like this has done its work, or would only fail again."""
    if options["watch"]:
        has_limit = options["max_batches"] or options["max_seconds"]
        return bool(has_limit) and code in (0, EVENTS_ARE_KEPT)
    return code in (0, MISCONFIGURED_OR_UNREACHABLE, EVENTS_ARE_KEPT)


def raise_for(processes: Processes, *, watch: bool) -> None:
    codes = processes.exit_codes
    for code in (MISCONFIGURED_OR_UNREACHABLE, PROCESSOR_HANGS):
        if code in codes:
            raise CommandError("A process could not go on: see its message.", returncode=code)
    if codes - {0, STOPPED} or (processes.deaths and not watch):
        raise CommandError(
            "Some events are kept, and come again: see the messages of the processes.",
            returncode=EVENTS_ARE_KEPT,
        )
