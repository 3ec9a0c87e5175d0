"""A write buffer for Django: JSON events, appended to Redis, processed in batches."""

from .buckets import Bucket
from .commits import gathered
from .draining import Batch, DrainReport
from .store import BucketStatus

__all__ = ["Batch", "Bucket", "BucketStatus", "DrainReport", "gathered"]
