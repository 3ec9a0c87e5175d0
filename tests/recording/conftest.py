import pytest
from django.contrib.auth.models import User

from django_jsonbuffer import Bucket


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("changes")


@pytest.fixture
def user() -> User:
    return User.objects.create_superuser("ann", password="secret")
