"""The report of a drain."""

from dataclasses import dataclass


@dataclass(kw_only=True, slots=True)
class DrainReport:
    """What a drain has done."""

    processed: int = 0
    """Events that were processed and acknowledged."""

    batches: int = 0
    """Batches that were processed and acknowledged."""

    failed: int = 0
    """How often the processor raised an exception."""

    buried: int = 0
    """Events that became dead letters."""
