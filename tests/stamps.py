"""Stamps for appends that tests send themselves."""

import threading

from django_jsonbuffer.appending.producers import Producer
from django_jsonbuffer.stamps import Stamp

_ours = threading.local()


def a_stamp() -> Stamp:
    """A stamp of a new producer."""
    return Producer().next_stamp()


def next_stamp() -> Stamp:
    """A stamp of a producer that may have appended before, as in the usual append."""
    if not hasattr(_ours, "producer"):
        _ours.producer = Producer()
    return _ours.producer.next_stamp()  # type: ignore[no-any-return]
