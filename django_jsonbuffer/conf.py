"""The setting ``JSONBUFFER``, and its defaults."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings

from . import isolation
from .exceptions import BufferMisconfigured
from .options import Options
from .suggestions import suggest

SETTING: Final = "JSONBUFFER"
_URI_REFERENCE: Final = re.compile(r"[A-Za-z0-9:/?#\[\]@!$&'()*+,;=._~%-]+")
"""The characters that RFC 3986, section 2, allows in a URI."""

_SAFE_PREFIX: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,100}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """The values of the setting. The names of the keys are in lower case here."""

    cache: str = "jsonbuffer"
    """Alias of a django-redis cache in ``CACHES``. The buffer needs an alias of its own, with a
    database number of its own, because ``cache.clear()`` empties the whole database."""

    prefix: str = "jsonbuffer"
    """First part of every key in Redis."""

    encoder: str = "json"
    """``"json"``, ``"orjson"``, or the dotted path of a subclass of
    :class:`~django_jsonbuffer.encoding.JSONEncoder`."""

    source: str | Callable[[], str] = field(default_factory=lambda: _default_source())
    """The ``source`` of CloudEvents: a URI reference that identifies this project. By default a
    slash and the package of ``ROOT_URLCONF``. A function is called without arguments for each
    event, for example to name a tenant."""

    log_errors: bool = True
    """Whether the log and the figures of a bucket contain the messages of exceptions that this app
    did not raise. They may quote events. Otherwise, and for a bucket with ``redact``, only the
    class and the place are named."""

    group_commit: bool = True
    """Whether appends of other threads and tasks that come during a round trip leave together in
    the next one. They are confirmed when they are in Redis, as without."""

    tests: str = "memory"
    """Where events go in tests. ``"memory"``: to a Redis in memory. ``"redis"``: to the Redis of
    the site, under a prefix that no other process has. ``"site"``: as outside of tests."""
    metrics_token: str | None = field(default=None, repr=False)
    """The token that opens the view of ``contrib.prometheus``. With none, only staff may see it."""

    buckets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Options by bucket name. They override the options of the declaration."""

    def logs_messages(self, options: Options) -> bool:
        """Whether the log of a bucket with these options may have messages of exceptions."""
        return self.log_errors and options.redact is None

    def source_now(self) -> str:
        """The source of an event that is made at this moment.

        Raises :class:`BufferMisconfigured` if the function returns something else.
        """
        if isinstance(self.source, str):
            return self.source
        source = self.source()
        _check_source(source, "must return")
        return source


_EMPTY: Final[dict[str, Any]] = {}
_last_read: tuple[object, Configuration] | None = None


def setting() -> Any:
    """The value of ``JSONBUFFER``. In tests, with the changes of the isolation."""
    value = getattr(settings, SETTING, _EMPTY)
    isolated = isolation.active(value)
    return value if isolated is None else isolated.applied_to(value)


def active_isolation() -> isolation.Isolation | None:
    """The isolation of tests that is in effect at this moment."""
    return isolation.active(getattr(settings, SETTING, _EMPTY))


def site_configuration() -> Configuration:
    """The setting without any isolation, for those who report about the site.

    Raises :class:`BufferMisconfigured` if the setting is unusable.
    """
    return _read(getattr(settings, SETTING, _EMPTY))


def configuration() -> Configuration:
    """The setting. It is read again if the setting is another object, for ``override_settings``.

    Raises :class:`BufferMisconfigured` if the setting is unusable.
    """
    global _last_read
    raw = setting()
    if _last_read is None or _last_read[0] is not raw:
        _last_read = (raw, _read(raw))
    return _last_read[1]


def _read(raw: object) -> Configuration:
    if not isinstance(raw, Mapping):
        raise BufferMisconfigured(f"{SETTING} must be a dict, not {type(raw).__name__}.")
    known = {name.upper(): name for name in Configuration.__dataclass_fields__}
    if unknown := [key for key in raw if key not in known]:
        raise BufferMisconfigured(
            f"{SETTING} has no key {', '.join(map(repr, unknown))}.{suggest(unknown, known)} "
            f"The keys are {', '.join(known)}."
        )
    _check_values(raw)
    _check_buckets(raw.get("BUCKETS", {}))
    return Configuration(**{known[key]: value for key, value in raw.items()})


def _check_values(raw: Mapping[str, Any]) -> None:
    for key in ("CACHE", "PREFIX", "ENCODER"):
        if key in raw and not (isinstance(raw[key], str) and raw[key]):
            raise BufferMisconfigured(f"{SETTING}[{key!r}] must be a string, not {raw[key]!r}.")
    if not _SAFE_PREFIX.fullmatch(raw.get("PREFIX", "jsonbuffer")):
        raise BufferMisconfigured(
            f"{SETTING}['PREFIX'] must be 1 to 100 ASCII letters, digits and _ . : / -. Braces are "
            "not allowed, because they mark the bucket's name in a key."
        )
    if (mode := raw.get("TESTS", "memory")) not in isolation.MODES:
        raise BufferMisconfigured(
            f"{SETTING}['TESTS'] must be one of {', '.join(map(repr, isolation.MODES))}, not "
            f"{mode!r}."
        )
    for key in ("LOG_ERRORS", "GROUP_COMMIT"):
        if not isinstance(value := raw.get(key, True), bool):
            raise BufferMisconfigured(f"{SETTING}[{key!r}] must be a bool, not {value!r}.")
    if not isinstance(raw.get("METRICS_TOKEN"), str | None):
        raise BufferMisconfigured(f"{SETTING}['METRICS_TOKEN'] must be a string or None.")
    if not callable(source := raw.get("SOURCE", "/")):
        _check_source(source, "must be")


def _check_source(source: object, must_be: str) -> None:
    if not (isinstance(source, str) and _URI_REFERENCE.fullmatch(source)):
        raise BufferMisconfigured(
            f"{SETTING}['SOURCE'] {must_be} a URI reference, such as '/shop' or "
            f"'https://shop.example', not {source!r:.100}."
        )


def _check_buckets(buckets: object) -> None:
    if not isinstance(buckets, Mapping) or not all(
        isinstance(options, Mapping) for options in buckets.values()
    ):
        raise BufferMisconfigured(
            f"{SETTING}['BUCKETS'] must be a dict of options by bucket name: "
            "{'orders': {'batch_size': 200}}."
        )


def _default_source() -> str:
    # ROOT_URLCONF first: the module of the settings is not known under override_settings().
    module = getattr(settings, "ROOT_URLCONF", None) or settings.SETTINGS_MODULE
    package = module.partition(".")[0] if isinstance(module, str) else ""
    return f"/{package or 'django'}"
