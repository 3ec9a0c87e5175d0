"""Settings of the benchmark and of its workers, on servers that the benchmark starts."""

import os
from pathlib import Path
from urllib.parse import urlsplit

REDIS_URL = os.environ["BENCHMARKS_REDIS_URL"]
REDIS_SOCKET = urlsplit(REDIS_URL).path
POSTGRESQL_FOLDER = os.environ["BENCHMARKS_POSTGRESQL"]

SECRET_KEY = "only-for-the-benchmarks"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django_jsonbuffer",
    "django_jsonbuffer.contrib.receipts",
    "example_project.shop",
    "auditlog",
    "django_rq",
    "huey.contrib.djhuey",
    "benchmarks",
]

ROOT_URLCONF = "benchmarks.urls"
ALLOWED_HOSTS = ["localhost"]
# The middleware of a new project that works without a table and without templates.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
    "postgresql": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "USER": "postgres",
        "HOST": POSTGRESQL_FOLDER,
    },
    "sqlite": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(POSTGRESQL_FOLDER).with_name("benchmarks.sqlite3"),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    },
}

CACHES = {
    "jsonbuffer": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS_URL},
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
}

JSONBUFFER = {"CACHE": "jsonbuffer"}

# The shop must have these settings. No benchmark drains its webhooks.
WEBHOOK_URL = "http://127.0.0.1:8000/webhooks/"
WEBHOOK_SECRET = "whsec_b25seSBmb3IgdGhlIGJlbmNobWFya3Mu"

# The other projects use the same server. They keep no results, since nobody would read them.
CELERY_BROKER_URL = f"redis+socket://{REDIS_SOCKET}?virtual_host=1"
CELERY_TASK_IGNORE_RESULT = True
RQ_QUEUES = {"default": {"URL": f"unix://{REDIS_SOCKET}?db=2"}}
RQ = {"DEFAULT_RESULT_TTL": 0}
HUEY = {
    "name": "benchmarks",
    "results": False,
    "immediate": False,
    "connection": {"url": f"unix://{REDIS_SOCKET}?db=3"},
}
