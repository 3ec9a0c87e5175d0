from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from taggit.models import Tag, TaggedItem

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import BufferMisconfigured
from tests.packages.ledger import Ledger
from tests.packages.together.models import Article

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("option", ["m2m", "fields", "exclude"])
def test_manager_of_tags_is_refused(option: str) -> None:
    options: dict[str, Any] = {option: ["tags"]}
    with pytest.raises(BufferMisconfigured, match="tags"):
        Bucket("changes").record(Article, **options)


def test_fields_of_a_tagged_model(record: Callable[..., Ledger]) -> None:
    ledger = record(Article)
    article = Article.objects.create(title="It", published="2026-02-03")
    article.tags.add("red", "green")
    article.save()
    assert ledger.told() == ["article.created"]
    article.published = date(2026, 2, 4)
    article.tags.set(["blue"])
    article.save()
    article.delete()
    assert ledger.told() == ["article.updated", "article.deleted"]


def test_tags_and_their_links(record: Callable[..., Ledger]) -> None:
    ledger = record(Tag, TaggedItem)
    article = Article.objects.create(title="It")
    article.tags.add("red", "green")
    assert sorted(ledger.told()) == ["tag.created"] * 2 + ["taggeditem.created"] * 2
    article.tags.set(["green", "blue"])
    assert ledger.told() == ["tag.created", "taggeditem.deleted", "taggeditem.created"]
    article.tags.set(["green"], clear=True)
    assert ledger.told() == ["taggeditem.deleted"] * 2 + ["taggeditem.created"]
    Tag.objects.get(name="green").delete()
    assert ledger.told() == ["taggeditem.deleted", "tag.deleted"]


def test_tag_gets_its_slug_in_save(record: Callable[..., Ledger]) -> None:
    Tag.objects.create(name="Red", slug="very-red")
    ledger = record(Tag)
    tag = Tag.objects.create(name="very red")  # the slug is taken
    assert tag.slug != "very-red"
    tag.save()
    assert ledger.told() == ["tag.created"]
