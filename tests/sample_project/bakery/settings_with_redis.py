"""Settings for test runs on a real Redis: ``manage.py test --settings=...``."""

from .settings import *  # noqa: F403
from .settings import JSONBUFFER

JSONBUFFER = {**JSONBUFFER, "TESTS": "redis"}
