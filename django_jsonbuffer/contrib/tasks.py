"""Drains as tasks of Django 6.0, or of its backport. Needs the extra ``tasks`` on Django 5.2."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured

from django_jsonbuffer.runs import MAX_SECONDS, drain_all, read_served

if TYPE_CHECKING:
    from django.tasks import task
else:
    try:
        from django.tasks import task
    except ImportError:
        try:
            from django_tasks import task
        except ImportError as error:
            raise ImproperlyConfigured(
                "django_jsonbuffer.contrib.tasks needs Django 6.0 or django-tasks. Run: "
                "pip install 'django-jsonbuffer[tasks]'"
            ) from error


@task
def drain_bucket(
    name: str, max_seconds: float = MAX_SECONDS, skip_busy: bool = True
) -> dict[str, int]:
    """Drain one bucket, unless another worker drains it. Returns its report."""
    return asdict(drain_all(name, max_seconds=max_seconds, skip_busy=skip_busy)[name])


@task
def drain_buckets(max_seconds: float = MAX_SECONDS, skip_busy: bool = True) -> None:
    """Enqueue a task for each bucket that has a processor.

    If the names of the others cannot be read, raises :class:`BufferUnavailable` after that.
    """
    buckets, gap = read_served()
    for bucket in buckets:
        drain_bucket.enqueue(bucket.name, max_seconds, skip_busy)
    if gap is not None:
        raise gap
