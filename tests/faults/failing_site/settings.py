"""Settings of the project. Its log goes to the journal of the test."""

import json
import os
from datetime import timedelta
from typing import Any

SECRET_KEY = "only for tests"
USE_TZ = True
INSTALLED_APPS = ["django_jsonbuffer", "tests.faults.failing_site"]
CACHES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "jsonbuffer": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": os.environ["SITE_URL"],
        "OPTIONS": {"SOCKET_TIMEOUT": 3600},  # in the faked time, which may be fast
    },
}
_options = json.loads(os.environ["SITE_OPTIONS"])
if "processor_timeout" in _options:
    _options["processor_timeout"] = timedelta(seconds=_options["processor_timeout"])
JSONBUFFER: dict[str, Any] = {
    "CACHE": "jsonbuffer",
    "PREFIX": os.environ["SITE_PREFIX"],
    "BUCKETS": {"failing": _options},
}
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "journal": {"class": "tests.faults.failing_site.journal.Log", "level": "WARNING"},
    },
    "loggers": {"django_jsonbuffer": {"handlers": ["journal"]}},
}
