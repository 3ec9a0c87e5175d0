"""Stamps for appends that tests send themselves."""

from django_jsonbuffer.appending.producers import Producer
from django_jsonbuffer.stamps import Stamp


def a_stamp() -> Stamp:
    """A stamp that no append had before."""
    return Producer().next_stamp()
