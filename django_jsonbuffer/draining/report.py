"""The report of a drain."""

from dataclasses import dataclass


@dataclass(kw_only=True, slots=True)
class DrainReport:
    """What a drain has done."""

    processed: int = 0
    """Events that were processed and acknowledged."""

    batches: int = 0
    """Batches that were acknowledged: processed, or with a receipt."""

    repeated: int = 0
    """Events that came again and had a receipt. They were acknowledged, and not processed again."""

    failed: int = 0
    """How often the processor raised an exception."""

    buried: int = 0
    """Events that became dead letters."""
