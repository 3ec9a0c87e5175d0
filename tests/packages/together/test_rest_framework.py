from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.permissions import AllowAny
from rest_framework.serializers import ModelSerializer
from rest_framework.test import APIRequestFactory
from rest_framework.viewsets import ModelViewSet

from tests.packages.ledger import Ledger
from tests.packages.together.models import Task, Topic

pytestmark = pytest.mark.django_db(transaction=True)

VALUES: dict[str, Any] = {
    "title": " It ",
    "due": "2026-02-03T04:05:06+02:00",
    "spent": "1.5",
    "settings": {"a": [1, None]},
}


class TaskSerializer(ModelSerializer):
    class Meta:
        model = Task
        fields = "__all__"


class TaskViews(ModelViewSet):
    queryset = Task.objects.all()
    serializer_class = TaskSerializer
    authentication_classes = ()
    permission_classes = (AllowAny,)


def save(instance: Task | None = None, *, partial: bool = False, **values: Any) -> Task:
    serializer = TaskSerializer(instance, data=values, partial=partial)
    serializer.is_valid(raise_exception=True)
    saved: Task = serializer.save()
    return saved


@pytest.fixture
def ledger(record: Callable[..., Ledger]) -> Ledger:
    return record(Task)


def test_create_and_update(ledger: Ledger) -> None:
    task = save(**VALUES, owner=User.objects.create().pk)
    assert ledger.told() == ["task.created"]
    save(task, title="That", spent=2)
    save(task, partial=True, due=None, settings=[])
    assert ledger.told() == ["task.updated"] * 2


def test_unchanged_update(ledger: Ledger) -> None:
    task = save(**VALUES)
    save(task, **VALUES)
    save(Task.objects.get(), partial=True, spent="1.50")
    save(Task.objects.defer("spent").get(), partial=True)
    assert ledger.told() == ["task.created"]


def test_many_at_once(ledger: Ledger) -> None:
    serializer = TaskSerializer(data=[VALUES, {"title": "That"}], many=True)
    serializer.is_valid(raise_exception=True)
    serializer.save()
    assert ledger.told() == ["task.created"] * 2


def test_links(ledger: Ledger) -> None:
    ledger.bucket.record(Task, on=[], m2m=["topics"])
    topics = [Topic.objects.create(name=name).pk for name in "xy"]
    task = save(title="It", topics=topics)
    save(task, partial=True, topics=topics[:1])
    save(task, partial=True, topics=topics[:1])
    assert [(event["type"], event["data"].get("topics")) for event in ledger.bucket.take()] == [
        ("together.task.created", None),
        ("together.task.topics.added", topics),
        ("together.task.topics.removed", topics[1:]),
    ]


def test_views(ledger: Ledger) -> None:
    requests = APIRequestFactory()
    many = TaskViews.as_view({"post": "create"})
    one = TaskViews.as_view({"put": "update", "patch": "partial_update", "delete": "destroy"})
    task = many(requests.post("/", VALUES, format="json")).data["id"]
    assert one(requests.patch("/", {"spent": 3}, format="json"), pk=task).status_code == 200
    assert one(requests.put("/", VALUES, format="json"), pk=task).status_code == 200
    assert one(requests.put("/", {"title": ""}, format="json"), pk=task).status_code == 400
    assert one(requests.delete("/"), pk=task).status_code == 204
    assert ledger.told() == ["task.created", *["task.updated"] * 2, "task.deleted"]
