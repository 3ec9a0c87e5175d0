"""Tools for the tests of a project that uses this app. They need no Redis."""

from .assertions import assert_appended, assert_nothing_appended
from .cases import BucketsMixin
from .commits import commit_appends
from .draining import drain_now
from .events import appended_events, capture_events
from .faults import crash, duplicate_delivery, lost_reply, redis_away
from .idempotence import assert_idempotent
from .isolating import isolated_buckets, real_redis

__all__ = [
    "BucketsMixin",
    "appended_events",
    "assert_appended",
    "assert_idempotent",
    "assert_nothing_appended",
    "capture_events",
    "commit_appends",
    "crash",
    "drain_now",
    "duplicate_delivery",
    "isolated_buckets",
    "lost_reply",
    "real_redis",
    "redis_away",
]
