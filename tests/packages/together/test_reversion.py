from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import reversion
from reversion.models import Revision, Version

from tests.packages.ledger import Ledger
from tests.packages.together.models import Page

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    reversion.register(Page)
    yield
    reversion.unregister(Page)


def edited() -> Any:
    """A page with two versions."""
    edited_at = datetime(2026, 2, 3, tzinfo=UTC)
    with reversion.create_revision():
        page = Page.objects.create(title="It", digest=b"\xff\0", edited=edited_at)
    with reversion.create_revision():
        page.title, page.views, page.digest = "That", "7", b""
        page.save()
        reversion.set_comment("rewritten")
    return page


def test_revisions_are_recorded_as_well(record: Callable[..., Ledger]) -> None:
    ledger = record(Page, Revision)
    edited()
    assert sorted(ledger.told()) == [
        *("page.created", "page.updated", "revision.created", "revision.created")
    ]


def test_unchanged_save(record: Callable[..., Ledger]) -> None:
    ledger = record(Page)
    page = edited()
    with reversion.create_revision():
        page.save()
    with reversion.create_revision():
        reversion.add_to_revision(page)
    assert ledger.told() == ["page.created", "page.updated"]


def test_failed_revision(record: Callable[..., Ledger]) -> None:
    ledger = record(Page)
    with pytest.raises(ZeroDivisionError), reversion.create_revision(atomic=True):
        Page.objects.create(title="It")
        raise ZeroDivisionError
    assert ledger.told() == []


def test_revert(record: Callable[..., Ledger]) -> None:
    """django-reversion saves the old values as ``loaddata`` does, so `raw` is needed."""
    ledger = record(Page, raw=True)
    page = edited()
    latest, first = Version.objects.get_for_object(page)
    assert ledger.told() == ["page.created", "page.updated"]
    first.revert()
    first.revert()
    latest.revision.revert()
    assert ledger.told() == ["page.updated"] * 2


def test_revert_of_a_deletion(record: Callable[..., Ledger]) -> None:
    ledger = record(Page, raw=True)
    edited().delete()
    Version.objects.get_deleted(Page).get().revision.revert()
    assert ledger.told() == ["page.created", "page.updated", "page.deleted", "page.created"]


def test_revert_is_not_recorded_by_default(record: Callable[..., Ledger]) -> None:
    page = edited()
    ledger = record(Page)
    Version.objects.get_for_object(page).last().revert()
    assert ledger.bucket.take() == []
    assert Page.objects.get().title == "It"
