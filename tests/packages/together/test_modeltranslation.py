from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db.models import F
from django.utils.translation import override

from tests.packages.ledger import Ledger
from tests.packages.together.models import News, Topic

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ledger(record: Callable[..., Ledger]) -> Ledger:
    return record(News)


def test_value_in_the_active_language(ledger: Ledger) -> None:
    with override("de"):
        news = News.objects.create(title="Neues", body="viel", picture="a.png")
        assert ledger.told() == ["news.created"]
        news.title = "Altes"
        news.save()
    assert ledger.told() == ["news.updated"]


def test_value_of_another_language(ledger: Ledger) -> None:
    """The column without a language gets the value of the language that is active in the save."""
    news = News.objects.create(title_en="News", title_de="Neues")
    assert ledger.told() == ["news.created"]
    news.title_en = "Old"
    news.save()
    assert ledger.told() == ["news.updated"]
    with override("de"):
        news.save()
    assert ledger.told() == ["news.updated"]


def test_fallback_to_another_language(ledger: Ledger) -> None:
    with override("fr"):
        news = News.objects.create(title_en="News", body_en="much")
        assert ledger.told() == ["news.created"]
        news.title_fr = "Nouvelles"
        news.save()
    assert ledger.told() == ["news.updated"]


def test_unchanged_save(ledger: Ledger) -> None:
    news = News.objects.create(title_en="News", title_de="Neues", picture_de="a.png")
    for read in (news, News.objects.get(), News.objects.defer("title").get()):
        read.save()
    assert ledger.told() == ["news.created"]


@pytest.mark.parametrize("language", ["de", "en"])
def test_update_fields(ledger: Ledger, language: str) -> None:
    news = News.objects.create(title_en="News", title_de="Neues")
    with override(language):
        news.title, news.views = "Other", 7
        news.save(update_fields=["views"])
        assert ledger.told() == ["news.created", "news.updated"]
        news.save(update_fields=["title"])
        assert ledger.told() == ["news.updated"]


def test_foreign_key_per_language(ledger: Ledger) -> None:
    ann, bea = (User.objects.create(username=name) for name in ("ann", "bea"))
    news = News.objects.create(title="News", author_de=ann, author_en=bea)
    assert ledger.told() == ["news.created"]
    news.author = ann
    news.save()
    assert ledger.told() == ["news.updated"]
    ann.delete()
    assert ledger.told() == ["news.deleted"]


def test_expression_and_deferred_fields(ledger: Ledger) -> None:
    News.objects.create(title_en="News", title_de="Neues")
    news = News.objects.only("views").get()
    news.views = F("views") + 1
    news.save()
    news = News.objects.only("title").get()
    news.title = "Old"
    news.save()
    News.objects.all().delete()
    assert ledger.told() == ["news.created", "news.updated", "news.updated", "news.deleted"]


def test_queryset_that_populates_all_languages(ledger: Ledger) -> None:
    News.objects.populate("all").create(title="News")
    News.objects.rewrite(False).get_or_create(title="News", defaults={"views": 1})
    assert ledger.told() == ["news.created"]


def test_links_per_language(ledger: Ledger) -> None:
    ledger.bucket.record(News, on=[], m2m=["topics_de", "topics_en"])
    news = News.objects.create(title="News")
    topics = [Topic.objects.create(name=name) for name in "xy"]
    assert ledger.told() == ["news.created"]
    with override("de"):
        news.topics.set(topics)
        news.topics_en.add(topics[0])
    news.topics_de.remove(topics[1])
    assert [(event["type"], event["data"]) for event in ledger.bucket.take()] == [
        ("together.news.topics_de.added", {"topics_de": [topic.pk for topic in topics]}),
        ("together.news.topics_en.added", {"topics_en": [topics[0].pk]}),
        ("together.news.topics_de.removed", {"topics_de": [topics[1].pk]}),
    ]


@pytest.mark.parametrize("language", ["de", "en"])
def test_links_of_the_field_without_a_language(ledger: Ledger, language: str) -> None:
    """Its own table stays empty. The descriptor stands for the field of the active language."""
    news = News.objects.create(title="News")
    ledger.bucket.record(News, on=[], m2m=["topics"])
    with override(language):
        news.topics.add(Topic.objects.create(name="x"))
        news.topics_en.add(Topic.objects.create(name="y"))
        news.topics_de.clear()
    assert ledger.told() == ["news.created"]
