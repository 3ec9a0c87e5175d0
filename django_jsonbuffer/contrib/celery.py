"""Drains as tasks of Celery. Needs the extra ``celery``.

Import this module in the module of the Celery app: then its workers know the tasks.
"""

from dataclasses import asdict
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from django_jsonbuffer.runs import MAX_SECONDS, drain_all, read_served

try:
    from celery import shared_task
except ImportError as error:
    raise ImproperlyConfigured(
        "django_jsonbuffer.contrib.celery needs Celery. Run: "
        "pip install 'django-jsonbuffer[celery]'"
    ) from error

_DRAIN_BUCKETS: Final = "django_jsonbuffer.drain_buckets"

_OPTIONS: Final[dict[str, Any]] = {
    "ignore_result": True,
    # A soft limit of the project would raise its error within the processor, as if the processor
    # had failed. 0 and None do not turn it off.
    "soft_time_limit": 24 * 60 * 60,
}


@shared_task(name="django_jsonbuffer.drain_bucket", **_OPTIONS)
def drain_bucket(
    name: str, max_seconds: float = MAX_SECONDS, skip_busy: bool = True
) -> dict[str, int]:
    """Drain one bucket, unless another worker drains it. Returns its report."""
    return asdict(drain_all(name, max_seconds=max_seconds, skip_busy=skip_busy)[name])


@shared_task(name=_DRAIN_BUCKETS, **_OPTIONS)
def drain_buckets(max_seconds: float = MAX_SECONDS, skip_busy: bool = True) -> None:
    """Send a task for each bucket that has a processor.

    If the names of the others cannot be read, raises :class:`BufferUnavailable` after that.
    """
    buckets, gap = read_served()
    for bucket in buckets:
        # A task that waits so long in the queue is of no use: others wait behind it.
        drain_bucket.apply_async([bucket.name, max_seconds, skip_busy], expires=max_seconds)
    if gap is not None:
        raise gap


def beat_schedule(*, every_seconds: float = 10, **arguments: Any) -> dict[str, Any]:
    """A schedule for Celery's beat that drains all buckets. `arguments` are of `drain_buckets`."""
    return {
        _DRAIN_BUCKETS: {
            "task": _DRAIN_BUCKETS,
            "schedule": every_seconds,
            "kwargs": arguments,
            "options": {"expires": every_seconds},
        }
    }
