"""A write buffer for Django: JSON events, appended to Redis, processed in batches."""

from .appending.gathering import gathered
from .buckets import Bucket
from .dead_letters import DeadLetter
from .draining.batches import Batch
from .draining.failures import DrainReport
from .store.status import BucketStatus

__all__ = ["Batch", "Bucket", "BucketStatus", "DeadLetter", "DrainReport", "gathered"]
