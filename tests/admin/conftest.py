from collections.abc import Callable
from typing import Any

import pytest
import redis
from django.contrib.auth.models import Permission, User
from django.test import Client
from redis.client import Pipeline


@pytest.fixture(autouse=True)
def _unhurried(unhurried: None) -> None:
    """No bucket is stalled only because the test is slow."""


@pytest.fixture
def staff(django_user_model: type[User]) -> User:
    """A member of staff without permissions."""
    return django_user_model.objects.create_user("staff", is_staff=True)


@pytest.fixture
def staff_client(client: Client, staff: User) -> Client:
    client.force_login(staff)
    return client


@pytest.fixture
def viewer_client(staff_client: Client, staff: User) -> Client:
    """The client of a visitor who has the permission `view_bucket` and no other."""
    staff.user_permissions.add(Permission.objects.get(codename="view_bucket"))
    return staff_client


@pytest.fixture
def grant(staff: User) -> Callable[..., None]:
    """Gives the member of staff these permissions, and no others."""

    def grant(*codenames: str) -> None:
        staff.user_permissions.set(Permission.objects.filter(codename__in=codenames))

    return grant


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that gets each command, and each pipeline, that the client waits for."""
    made: list[str] = []
    command, pipeline = redis.Redis.execute_command, Pipeline.execute

    def counted_command(self: Any, *args: Any, **options: Any) -> Any:
        made.append(args[0])
        return command(self, *args, **options)

    def counted_pipeline(self: Any, *args: Any, **options: Any) -> Any:
        made.append("pipeline")
        return pipeline(self, *args, **options)

    monkeypatch.setattr(redis.Redis, "execute_command", counted_command)
    monkeypatch.setattr(Pipeline, "execute", counted_pipeline)
    return made
