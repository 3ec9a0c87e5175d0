"""A write buffer for Django: JSON events, appended to Redis, processed in batches."""

from .buckets import Bucket
from .commits import gathered
from .dead_letters import DeadLetter
from .draining import Batch, DrainReport
from .store import BucketStatus

__all__ = ["Batch", "Bucket", "BucketStatus", "DeadLetter", "DrainReport", "gathered"]
