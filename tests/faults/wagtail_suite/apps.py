import logging
from collections.abc import Callable, Iterable
from functools import cache, partial, wraps
from traceback import extract_tb, format_exc
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.db.models import signals
from django.test.signals import setting_changed

from . import journal


class WagtailSuiteConfig(AppConfig):
    name = "tests.faults.wagtail_suite"

    def ready(self) -> None:
        connect_all()


@cache
def connect_all() -> None:
    """Connect the receivers after those of the recording, which has begun before.

    Once, although ``ready`` is called again when a test overrides INSTALLED_APPS.
    """
    from . import links, saves

    # Only these classes, because Django deletes others without signals, and faster.
    models = apps.get_models()
    connect(signals.pre_save, saves.before_save, models)
    connect(signals.post_save, saves.after_save, models)
    connect(signals.pre_delete, saves.before_delete, models)
    connect(signals.post_delete, saves.after_delete, models)
    connect(signals.m2m_changed, links.on_change, links.fields)
    setting_changed.connect(partial(keep, settings.CACHES["jsonbuffer"]), weak=False)
    logging.getLogger("django_jsonbuffer").addHandler(Noting(logging.WARNING))


def keep(alias: dict[str, Any], setting: str, value: Any, **kwargs: Any) -> None:
    """A test that overrides CACHES must not take the cache of the buffer away."""
    if setting == "CACHES" and value is not None:
        value.setdefault("jsonbuffer", alias)


class Noting(logging.Handler):
    """Lost events are logged, and not raised."""

    def emit(self, record: logging.LogRecord) -> None:
        journal.find("logged", message=record.getMessage())


def connect(signal: Any, receiver: Callable[..., None], senders: Iterable[type]) -> None:
    @wraps(receiver)
    def receive(**kwargs: Any) -> None:
        # An error of the harness must not fail a test of Wagtail.
        try:
            receiver(**kwargs)
        except Exception:  # noqa: BLE001
            journal.find("harness", error=format_exc(limit=-2))

    for sender in senders:
        signal.connect(receive, sender=sender, weak=False)
    signal.send = noting_errors(signal.send)


def noting_errors(send: Callable[..., Any]) -> Callable[..., Any]:
    """Note the errors of the recording, because Wagtail may suppress an error of a save."""

    @wraps(send)
    def noting(*args: Any, **kwargs: Any) -> Any:
        try:
            return send(*args, **kwargs)
        except Exception as error:
            frames = extract_tb(error.__traceback__)
            if any("/django_jsonbuffer/" in frame.filename for frame in frames):
                journal.find("raised", error=repr(error), trace=format_exc(limit=-2))
            raise

    return noting
