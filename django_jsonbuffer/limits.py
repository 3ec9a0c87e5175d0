"""What an append has to respect."""

from dataclasses import dataclass
from typing import Final

MAX_APPEND_BYTES: Final = 256 * 1024 * 1024
"""Most bytes of the events of one call to Redis, with a comma for each event. A string in Redis has
at most 512 MiB. This is half of it, so that the events fit into an open batch beside others."""

MAX_APPEND_BATCHES: Final = 10_000
"""Most batches that the events of one call to Redis may fill, so that no call blocks Redis for
long."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The options that an append has to respect. Their meaning: :class:`~.options.Options`."""

    batch_size: int | None
    batch_bytes: int
    max_pending: int | None = None
    max_pending_bytes: int | None = None
    overflow: str = "raise"
    has_receipts: bool = False
    durability: str | None = None
