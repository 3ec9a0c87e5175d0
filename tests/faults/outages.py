"""How often a processor may be called in an outage."""

from typing import Final

from django_jsonbuffer.draining.outages import PROBES, ROW_TO_PROBE

HOUR: Final = 3600
LEASE_SECONDS: Final = 60


def most_calls(seconds: float, *, workers: int) -> int:
    """Most calls in an outage: the probes, then one after each backoff. A backoff has a jitter of a
    half. Each worker may have a batch in its hands when the outage is found.
    """
    calls, backoff = ROW_TO_PROBE + PROBES + workers, 1
    while seconds > 0:
        seconds -= backoff / 2
        backoff = min(2 * backoff, LEASE_SECONDS)
        calls += 1
    return calls
