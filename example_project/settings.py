"""Settings of the example shop, for your own machine and not for a server."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "only-for-the-example-project"
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_jsonbuffer",
    "django_jsonbuffer.contrib.receipts",
    "example_project.shop",
]

MIDDLEWARE = [
    # First, so that a page view has the status and the time that the visitor saw.
    "example_project.shop.middleware.PageViewMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    # Lets the recording of orders know who changed one.
    "django_jsonbuffer.middleware.actor_middleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"
ASGI_APPLICATION = "example_project.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

CACHES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    # An alias and a database number of its own: `cache.clear()` empties the whole database.
    "jsonbuffer": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": os.environ.get("REDIS_URL") or "redis://127.0.0.1:6379/1",
        "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 2, "SOCKET_TIMEOUT": 2},
    },
}

JSONBUFFER = {"CACHE": "jsonbuffer", "SOURCE": "/shop"}

# Changes of orders are posted to the shop itself, as they would be to the site of a partner. Set
# SITE_URL if the shop has another port.
SITE_URL = os.environ.get("SITE_URL") or "http://127.0.0.1:8000"
WEBHOOK_URL = f"{SITE_URL}/webhooks/"
WEBHOOK_SECRET = "whsec_b25seSBmb3IgdGhlIGV4YW1wbGUgcHJvamVjdA=="


def database(url: str) -> dict[str, Any]:
    """Read `postgres://user:password@host:port/name` or `sqlite:///path`, relative to BASE_DIR.

    SQLite in WAL mode lets the site read while a drain writes. A transaction takes its lock at once
    and waits for it. If it upgraded its lock later, it would fail.
    """
    parts = urlsplit(url)
    name = unquote(parts.path[1:])
    if parts.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": BASE_DIR / name,
            "OPTIONS": {
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
            },
        }
    if parts.scheme in ("postgres", "postgresql"):
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": parts.hostname or "",
            "PORT": parts.port or "",
        }
    raise ImproperlyConfigured(
        f"DATABASE_URL begins with {parts.scheme!r}, not postgres or sqlite."
    )


DATABASES = {"default": database(os.environ.get("DATABASE_URL") or "sqlite:///db.sqlite3")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

USE_TZ = True
STATIC_URL = "static/"
