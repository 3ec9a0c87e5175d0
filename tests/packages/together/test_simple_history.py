from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from simple_history.utils import bulk_create_with_history, update_change_reason

from tests.packages.ledger import Ledger
from tests.packages.together.models import Poll, Topic

pytestmark = pytest.mark.django_db(transaction=True)

History: Any = Poll.history.model
OPENED = datetime(2026, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def ledger(record: Callable[..., Ledger]) -> Ledger:
    return record(Poll, History)


def poll(**values: Any) -> Any:
    return Poll.objects.create(question="Who?", attachment="a.txt", opened_at=OPENED, **values)


def test_each_save_adds_a_row_of_history(ledger: Ledger) -> None:
    changed = poll()
    changed.weight = "2.5"
    changed.save()
    changed.delete()
    actions = [("created", "created"), ("created", "updated"), ("created", "deleted")]
    assert sorted(ledger.told()) == sorted(
        name
        for history, action in actions
        for name in (f"historicalpoll.{history}", f"poll.{action}")
    )


def test_unchanged_save(record: Callable[..., Ledger]) -> None:
    ledger = record(Poll, exclude=("saved_at",))
    poll().save()
    Poll.objects.defer("question").get().save()
    assert ledger.told() == ["poll.created"]


def test_history_of_a_deferred_field(ledger: Ledger) -> None:
    poll()
    changed = Poll.objects.only("weight").get()
    changed.weight = 2
    changed.save()
    Poll.objects.defer("question").get().delete()
    assert len(ledger.told()) == 6


def test_revert_to_an_older_row(ledger: Ledger) -> None:
    changed = poll()
    changed.question, changed.weight = "What?", float("nan")
    changed.save()
    History.objects.earliest().instance.save()
    assert Poll.objects.get().question == "Who?"
    changed.delete()
    History.objects.earliest().instance.save()
    assert len(ledger.told()) == 10


def test_change_reason_and_user(ledger: Ledger) -> None:
    author = User.objects.create(username="ann")
    changed = poll(author=author)
    changed._history_user = author
    changed._change_reason = "typo"
    changed.save()
    update_change_reason(changed, "a typo")
    assert sorted(ledger.told()) == [
        *["historicalpoll.created"] * 2,
        "historicalpoll.updated",
        "poll.created",
        "poll.updated",
    ]


def test_links_are_copied_into_the_history(ledger: Ledger) -> None:
    changed = poll()
    changed.topics.set([Topic.objects.create(name="x")])
    changed.topics.clear()
    assert sorted(ledger.told()) == [*["historicalpoll.created"] * 3, "poll.created"]


def test_save_without_history(ledger: Ledger) -> None:
    changed = poll()
    changed.question = "What?"
    changed.save_without_historical_record()
    assert sorted(ledger.told()) == ["historicalpoll.created", "poll.created", "poll.updated"]


def test_bulk_create_with_history_sends_no_signal(ledger: Ledger) -> None:
    polls = bulk_create_with_history([Poll(question="Who?", opened_at=OPENED)], Poll)
    ledger.bucket.record_bulk(polls, "created")
    ledger.bucket.record_bulk(History.objects.all(), "created")
    assert ledger.told() == ["poll.created", "historicalpoll.created"]
