"""A health check for django-health-check."""

import asyncio
import dataclasses
from collections.abc import Collection
from datetime import timedelta

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


@dataclasses.dataclass
class JSONBuffer(HealthCheck):  # type: ignore[misc]
    """Whether Redis accepts the appends of this site. With `states`, also how the buckets are.

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
        if not buckets:
            raise ServiceUnavailable("No bucket is declared in a buckets.py.")
        try:
            async with asyncio.timeout(self.timeout.total_seconds()):
                await catalog.probe(buckets[0])
                found = await asyncio.to_thread(read_states, buckets) if self.states else []
        except TimeoutError as error:
            raise ServiceUnavailable("Redis does not answer in time.") from error
        except JSONBufferError as error:
            raise ServiceUnavailable("Redis cannot be reached, or refuses appends.") from error
        ill = [each for each in found if each.state.value in self.states]
        if ill:
            names = ", ".join(f"{each.bucket.name} is {each.state.value}" for each in ill)
            raise ServiceUnavailable(f"{names}.")
