"""Settings of a site with a PostgreSQL schema for each tenant of django-tenants."""

from tests.settings import *  # noqa: F403

SHARED_APPS = ["django_tenants", "django.contrib.contenttypes", "tests.packages.tenants"]
TENANT_APPS = ["tests.packages.tenants.shop"]
INSTALLED_APPS = [*SHARED_APPS, *TENANT_APPS, "django.contrib.auth", "django_jsonbuffer"]
MIDDLEWARE = []
ALLOWED_HOSTS = ["*"]
# conftest.py starts the server and names its socket.
DATABASES = {
    "default": {
        "ENGINE": "django_tenants.postgresql_backend",
        "NAME": "postgres",
        "USER": "postgres",
    }
}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
TENANT_MODEL = "tenants.Tenant"
TENANT_DOMAIN_MODEL = "tenants.Domain"
