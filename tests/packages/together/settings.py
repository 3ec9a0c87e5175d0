"""Settings of the packages that can be installed together."""

from tests.settings import *  # noqa: F403

LANGUAGES = [("de", "German"), ("en", "English"), ("fr", "French")]
LANGUAGE_CODE = "en"
MODELTRANSLATION_FALLBACK_LANGUAGES = ("en",)
INSTALLED_APPS = [
    "modeltranslation",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django_jsonbuffer",
    "djmoney",
    "import_export",
    "polymorphic",
    "rest_framework",
    "reversion",
    "simple_history",
    "taggit",
    "tests.packages.together",
]
MIDDLEWARE = []
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
        "TEST": {"MIGRATE": False},
    }
}
