"""A health check for django-health-check."""

import asyncio
import dataclasses
import logging
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Final

from django_jsonbuffer import catalog
from django_jsonbuffer.exceptions import BufferMisconfigured, JSONBufferError
from django_jsonbuffer.states import State, read_states

try:
    from health_check.base import HealthCheck
    from health_check.exceptions import ServiceUnavailable
except ImportError as error:
    raise BufferMisconfigured(
        f"{__name__} needs django-health-check 4.0 or newer, which is not installed. Run: pip "
        "install 'django-jsonbuffer[health]'"
    ) from error

logger = logging.getLogger("django_jsonbuffer")

_refusing: Final[set[str]] = set()
"""The nodes of a cluster that did not accept the last probe of this process."""


@dataclasses.dataclass
class JSONBuffer(HealthCheck):  # type: ignore[misc]
    """Whether Redis accepts the appends of this site. With `states`, also how the buckets are.

    In a cluster, the site is healthy if any node with a declared bucket accepts appends, because
    the site can still serve. Nodes that do not are in the log.

    Its messages name buckets and states, and nothing of Redis. The log has the error.
    """

    states: Collection[str] = ()
    """The states in which a declared bucket is unhealthy."""

    timeout: timedelta = dataclasses.field(default=timedelta(seconds=2), repr=False)
    """How long to wait for Redis."""

    def __post_init__(self) -> None:
        if unknown := {*self.states} - {state.value for state in State}:
            raise BufferMisconfigured(
                f"A bucket has no state {', '.join(map(repr, sorted(unknown)))}. The states are "
                f"{', '.join(state.value for state in State)}."
            )

    async def run(self) -> None:
        buckets = catalog.declared_buckets()
        probed = buckets or catalog.examples_of_patterns()
        if not probed:
            raise ServiceUnavailable("No bucket is declared in a buckets.py.")
        seconds = self.timeout.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                _require_one(await catalog.probe(probed, within_seconds=seconds))
                found = await asyncio.to_thread(read_states, buckets) if self.states else []
        except TimeoutError as error:
            raise ServiceUnavailable("Redis does not answer in time.") from error
        except JSONBufferError as error:
            raise ServiceUnavailable("Redis cannot be reached, or refuses appends.") from error
        ill = [each for each in found if each.state.value in self.states]
        if ill:
            names = ", ".join(f"{each.bucket.name} {_predicate(each.state)}" for each in ill)
            raise ServiceUnavailable(f"{names}.")


def _predicate(state: State) -> str:
    """In English, like the other messages."""
    return "needs a decision" if state == State.NEEDS_DECISION else f"is {state.value}"


def _require_one(outcomes: Mapping[str, Exception | None]) -> None:
    """Raise an error if no node accepts appends. Otherwise log which nodes do not, once each."""
    errors = {node: error for node, error in outcomes.items() if error is not None}
    if len(errors) == len(outcomes):
        raise next(iter(errors.values()))
    for node, error in errors.items():
        if node not in _refusing:
            logger.warning("Node %s accepts no appends, other nodes do. %s", node, error)
    for node in _refusing - errors.keys():
        logger.warning("Node %s accepts appends again.", node)
    _refusing.clear()
    _refusing.update(errors)
