"""The settings of Wagtail's suite. With REDIS_URL, every model is recorded, every event checked.

The apps that record come last, so their receivers run after those of Wagtail. That is the hard
case, because the receivers of Wagtail may change the row once more.
"""

import os
from importlib import import_module

from .journal import FOLDER

of_wagtail = import_module("wagtail.test.settings")
globals().update({name: getattr(of_wagtail, name) for name in dir(of_wagtail) if name.isupper()})

MEDIA_ROOT = os.path.join(os.environ[FOLDER], "media")
STATIC_ROOT = os.path.join(os.environ[FOLDER], "static")
TEST_RUNNER = "tests.faults.wagtail_suite.runner.Runner"

if url := os.environ.get("REDIS_URL"):
    INSTALLED_APPS = [
        *globals()["INSTALLED_APPS"],
        "django_jsonbuffer",
        "tests.faults.wagtail_suite",
    ]
    CACHES = {
        **globals()["CACHES"],
        "jsonbuffer": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url},
    }
    # The run takes the events at its end.
    SILENCED_SYSTEM_CHECKS = ["django_jsonbuffer.W001"]
    JSONBUFFER = {
        "CACHE": "jsonbuffer",
        "ENCODER": "tests.faults.wagtail_suite.noted.NotingEncoder",
        "TESTS": "site",
    }
