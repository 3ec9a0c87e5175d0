"""Settings of the suite for worker processes, with a shared database and a bucket's options."""

import json
import os
from datetime import timedelta

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, JSONBUFFER

if (place := os.environ["FAULTS_DB"]).endswith(".sqlite3"):
    DATABASES["default"]["NAME"] = place
else:
    DATABASES["default"] = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "USER": "postgres",
        "HOST": place,
    }

_options = json.loads(os.environ["FAULTS_OPTIONS"])
_options["lease"] = timedelta(seconds=_options["lease"])
JSONBUFFER["BUCKETS"] = {"faulty": _options}
