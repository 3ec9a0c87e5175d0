"""A write buffer for Django: JSON events, appended to Redis, processed in batches."""

from .appending.gathering import gathered
from .buckets import Bucket
from .cloudevents import event_attributes
from .draining.batches import Batch
from .draining.report import DrainReport
from .letter_groups import LetterGroup
from .letters import DeadLetter
from .recording.actors import acting_as
from .recording.suppression import not_recorded
from .runs import drain_all
from .store.status import BucketStatus

__all__ = [
    "Batch",
    "Bucket",
    "BucketStatus",
    "DeadLetter",
    "DrainReport",
    "LetterGroup",
    "acting_as",
    "drain_all",
    "event_attributes",
    "gathered",
    "not_recorded",
]
