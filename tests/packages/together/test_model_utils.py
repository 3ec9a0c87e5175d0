from collections.abc import Callable

import pytest
from django.db.models import F, Value
from django.db.models.functions import Concat

from tests.packages.ledger import Ledger
from tests.packages.together.models import Essay, Post

pytestmark = pytest.mark.django_db(transaction=True)


def test_status_and_its_times(record: Callable[..., Ledger]) -> None:
    ledger = record(Post)
    post = Post(title="It")
    post.save()
    post.status = Post.STATUS.published
    post.save()
    assert ledger.told() == ["post.created", "post.updated"]
    post.status = Post.STATUS.draft
    post.save(update_fields=["status"])
    post.title = "That"
    post.save(update_fields=["title"])
    assert ledger.told() == ["post.updated"] * 2


def test_unchanged_save(record: Callable[..., Ledger]) -> None:
    ledger = record(Post, exclude=("modified",))
    post = Post.objects.create(title="It")
    post.save()
    post.save(update_fields=["title"])
    Post.objects.defer("title").get().save()
    Post.published.all()
    assert ledger.told() == ["post.created"]


def test_soft_deletion_is_an_update(record: Callable[..., Ledger]) -> None:
    ledger = record(Post)
    post = Post.objects.create(title="It")
    post.delete()
    assert ledger.told() == ["post.created", "post.updated"]
    assert not Post.available_objects.exists()
    post.title = "That"  # never saved
    post.delete(soft=False)
    assert ledger.told() == ["post.deleted"]


def test_row_that_the_default_manager_hides(record: Callable[..., Ledger]) -> None:
    ledger = record(Post)
    Post.all_objects.create(title="It", is_removed=True)
    hidden = Post.all_objects.defer("title").get()
    hidden.title = Concat(F("title"), Value("!"))
    hidden.save()
    assert ledger.told() == ["post.created", "post.updated"]


def test_tracker_of_changes(record: Callable[..., Ledger]) -> None:
    ledger = record(Post)
    post = Post.objects.create(title="It")
    post.title = "That"
    assert post.tracker.changed()["title"] == "It"
    post.save()
    assert post.tracker.changed() == {}
    deferred = Post.objects.only("status").get()
    with deferred.tracker:
        deferred.title = "This"
        deferred.save()
    assert deferred.tracker.changed() == {}
    assert ledger.told() == ["post.created", *["post.updated"] * 2]


def test_text_with_an_excerpt(record: Callable[..., Ledger]) -> None:
    ledger = record(Essay)
    essay = Essay.objects.create(body="Hear!\n\n<!-- split -->\n\nMore.")
    assert essay.body.has_more
    essay.save()
    assert ledger.told() == ["essay.created"]
    essay.body.content = "Listen!"
    essay.save()
    essay.body = "Silence!"
    essay.save(update_fields=["body", "_body_excerpt"])
    Essay.objects.only("token").get().delete()
    assert ledger.told() == ["essay.updated", "essay.updated", "essay.deleted"]
