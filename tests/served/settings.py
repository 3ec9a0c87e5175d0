"""Settings of a project for web servers. Its views append to a bucket of the test."""

import os

SECRET_KEY = "only for tests"
USE_TZ = True
ALLOWED_HOSTS = ["localhost"]
ROOT_URLCONF = "tests.served.urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django_jsonbuffer"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CACHES = {
    "jsonbuffer": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": os.environ["SERVED_REDIS_URL"],
    },
}
JSONBUFFER = {"CACHE": "jsonbuffer", "PREFIX": os.environ["SERVED_PREFIX"]}
