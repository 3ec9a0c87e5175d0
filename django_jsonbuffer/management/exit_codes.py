"""The exit codes of ``drain_buckets``, beside 0 and that of a wrong usage."""

from typing import Final

MISCONFIGURED_OR_UNREACHABLE: Final = 1
EVENTS_ARE_KEPT: Final = 3
PROCESSOR_HANGS: Final = 4
STOPPED: Final = 130
