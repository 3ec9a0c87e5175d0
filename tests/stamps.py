"""Appends that are sent by hand."""

from django_jsonbuffer.producers import Producer, Stamp


def a_stamp() -> Stamp:
    """That no append had before."""
    return Producer().next_stamp()
