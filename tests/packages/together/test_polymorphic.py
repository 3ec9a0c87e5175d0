from collections.abc import Callable

import pytest

from tests.packages.ledger import Ledger
from tests.packages.together.models import ArtProject, Milestone, Project, ResearchProject

pytestmark = pytest.mark.django_db(transaction=True)


def test_children_are_recorded_as_the_parent(record: Callable[..., Ledger]) -> None:
    ledger = record(Project)
    Project.objects.create(topic="a party")
    ArtProject.objects.create(topic="painting", artist="Ann")
    ResearchProject.objects.create(topic="rockets", supervisor="Bea", budget="9.5")
    assert ledger.told() == ["project.created"] * 3
    for project in Project.objects.all():
        project.save()
        project.topic = f"{project.topic}!"
        project.save()
    assert ledger.told() == ["project.updated"] * 3
    Project.objects.all().delete()
    assert ledger.told() == ["project.deleted"] * 3


def test_parent_and_child_are_recorded(record: Callable[..., Ledger]) -> None:
    ledger = record(Project, ArtProject, ResearchProject)
    project = ResearchProject.objects.create(topic="rockets", supervisor="Bea", budget="9.5")
    assert sorted(ledger.told()) == ["project.created", "researchproject.created"]
    project.save()
    assert ledger.told() == []
    project.budget = "10"
    project.save()
    assert ledger.told() == ["researchproject.updated"]
    project.topic = "engines"
    project.save(update_fields=["topic"])
    assert sorted(ledger.told()) == ["project.updated", "researchproject.updated"]
    project.delete()
    assert sorted(ledger.told()) == ["project.deleted", "researchproject.deleted"]


def test_read_through_the_parent(record: Callable[..., Ledger]) -> None:
    ArtProject.objects.create(topic="painting", artist="Ann")
    ledger = record(ArtProject)
    project = Project.objects.defer("topic").get()
    project.artist = "Bea"
    project.save()
    Project.objects.instance_of(ArtProject).get().save()
    Project.objects.non_polymorphic().get().get_real_instance().save()
    assert ledger.told() == ["artproject.updated"]


def test_row_of_a_parent_becomes_a_child(record: Callable[..., Ledger]) -> None:
    """django-polymorphic saves the child as ``loaddata`` does, and without the parent's values."""
    parent = Project.objects.create(topic="painting")
    ledger = record(Project, ArtProject, raw=True, exclude=("polymorphic_ctype",))
    ArtProject.objects.create_from_super(parent, artist="Ann")
    assert ledger.told() == ["artproject.created"]


def test_row_of_a_parent_changes_its_type(record: Callable[..., Ledger]) -> None:
    parent = Project.objects.create(topic="painting")
    ledger = record(Project)
    ArtProject.objects.create_from_super(parent, artist="Ann")
    assert ledger.told() == ["project.updated"]


def test_child_is_deleted_by_a_cascade(record: Callable[..., Ledger]) -> None:
    project = ArtProject.objects.create(topic="painting", artist="Ann")
    Milestone.objects.create(project=project, due="2026-02-03")
    ledger = record(Project, ArtProject, Milestone)
    Project.objects.non_polymorphic().get().delete()
    assert sorted(ledger.told()) == ["artproject.deleted", "milestone.deleted", "project.deleted"]


def test_child_is_deleted_and_its_parent_stays(record: Callable[..., Ledger]) -> None:
    project = ArtProject.objects.create(topic="painting", artist="Ann")
    ledger = record(Project, ArtProject, exclude=("polymorphic_ctype",))
    project.delete(keep_parents=True)
    assert ledger.told() == ["artproject.deleted"]
    Project.objects.get().delete()
    assert ledger.told() == ["project.deleted"]
