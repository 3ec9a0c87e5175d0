import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.db.models import F

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import BufferMisconfigured
from tests.library.models import Author, Book, Membership, Reader, Status, Tag
from tests.recorded import data, recorded

pytestmark = pytest.mark.django_db(transaction=True)

OLD, NEW = "4111-1111", "5500-0004"
HIDDEN = {"old": "***", "new": "***"}


def last_digits(value: str) -> str:
    return f"…{value[-2:]}"


def by_name(name: str, value: Any) -> Any:
    return last_digits(value) if name == "card" else value


@pytest.fixture
def changed() -> Callable[[], None]:
    """Creates a member, and changes the card and the level."""

    def changed() -> None:
        member = Membership.objects.create(number="1", card=OLD)
        member.card, member.level = NEW, Status.PUBLISHED
        member.save()

    return changed


class TestMask:
    @pytest.mark.parametrize(
        ("mask", "shown"),
        [
            (["card"], ["***", "***", "***"]),
            ({"card": last_digits}, ["…11", "…11", "…04"]),
            (by_name, ["…11", "…11", "…04"]),
        ],
    )
    def test_hides_a_value_in_data_and_changes(
        self, bucket: Bucket, changed: Callable[[], None], mask: Any, shown: list[str]
    ) -> None:
        bucket.record(Membership, fields=["card", "level"], mask=mask, changes=True)
        changed()
        created, updated = data(bucket)
        both = updated["changes"]["card"]
        assert [created["card"], both["old"], both["new"]] == shown
        assert updated["card"] == both["new"]
        assert updated["changes"]["level"] == {"old": "draft", "new": "published"}

    def test_hides_null_too(self, bucket: Bucket) -> None:
        bucket.record(Membership, fields=["reader"], mask=["reader"])
        Membership.objects.create(number="1")
        assert data(bucket) == [{"reader_id": "***"}]

    def test_function_is_not_called_for_null(self, bucket: Bucket) -> None:
        bucket.record(Membership, fields=["reader"], mask={"reader_id": str.upper})
        bucket.record(Book, fields=["rating"], mask=lambda name, value: value + 1)
        Membership.objects.create(number="1")
        Book.objects.create()
        assert data(bucket) == [{"reader_id": None}, {"rating": None}]

    def test_of_a_foreign_key_by_either_name(self, bucket: Bucket) -> None:
        reader = Reader.objects.create()
        for name in ("reader", "reader_id"):
            bucket.record(Membership, fields=["reader"], mask=[name])
            Membership.objects.create(number=name, reader=reader)
            bucket.unrecord(Membership)
        assert data(bucket) == [{"reader_id": "***"}] * 2

    def test_holds_for_deletions_expressions_and_bulk(self, bucket: Bucket) -> None:
        bucket.record(Membership, mask=["card"], changes=True)
        member = Membership.objects.create(number="1", card=OLD)
        member.card = F("number")
        member.save()
        bucket.record_bulk([member], "updated")
        member.delete()
        events = data(bucket)
        assert [event["card"] for event in events] == ["***"] * 4
        assert OLD not in json.dumps(events)

    def test_of_links(self, bucket: Bucket) -> None:
        bucket.record(Book, on=[], m2m=["tags"], mask=["tags"])
        Book.objects.create().tags.create(name="x")
        assert data(bucket) == [{"tags": "***"}]

    @pytest.mark.parametrize(
        ("mask", "message"),
        [
            ("card", "mask='card'"),
            (["cards"], "cards"),
            (["id"], "subject"),
            ({"card": "***"}, "mask must have a function"),
            (True, "takes a list"),
        ],
    )
    def test_mistake(self, bucket: Bucket, mask: Any, message: str) -> None:
        with pytest.raises(BufferMisconfigured, match=message):
            bucket.record(Membership, mask=mask)

    def test_function_that_changes_its_value(self, bucket: Bucket) -> None:
        def without_card(value: dict[str, str]) -> dict[str, str]:
            value.pop("card", None)
            return value

        bucket.record(Book, fields=["extras"], mask={"extras": without_card})
        book = Book.objects.create(extras={"card": OLD, "n": "1"})
        assert book.extras == {"card": OLD, "n": "1"}
        assert data(bucket) == [{"extras": {"n": "1"}}]

    def test_function_gets_either_name_of_a_foreign_key(self, bucket: Bucket) -> None:
        reader = Reader.objects.create()
        for secret in ("reader", "reader_id"):
            bucket.record(
                Membership,
                fields=["reader"],
                labels=True,
                mask=lambda name, value: "***" if name == secret else value,  # noqa: B023
            )
            Membership.objects.create(number=secret, reader=reader)
            bucket.unrecord(Membership)
        assert data(bucket) == [{"reader_id": "***", "labels": {"reader_id": "***"}}] * 2

    def test_that_fails_loses_the_event(
        self, bucket: Bucket, changed: Callable[[], None], caplog: pytest.LogCaptureFixture
    ) -> None:
        bucket.record(Membership, mask={"card": lambda value: 1 // 0})
        changed()
        assert data(bucket) == []
        assert caplog.text.count("1 events are lost") == 2
        assert OLD not in caplog.text


class TestPayload:
    def test_hides_the_changes(self, bucket: Bucket, changed: Callable[[], None]) -> None:
        bucket.record(
            Membership, payload=lambda member: {"card": last_digits(member.card)}, changes=True
        )
        changed()
        created, updated = data(bucket)
        assert created == {"card": "…11"}
        assert updated["card"] == "…04"
        assert {name: updated["changes"][name] for name in ("card", "level")} == {
            "card": HIDDEN,
            "level": HIDDEN,
        }

    def test_with_a_mask_shows_the_other_changes(
        self, bucket: Bucket, changed: Callable[[], None]
    ) -> None:
        bucket.record(
            Membership,
            fields=["card", "level"],
            payload=lambda member: {"number": member.number, "card": member.card},
            mask=["card"],
            changes=True,
        )
        changed()
        assert data(bucket) == [
            {"number": "1", "card": "***"},
            {
                "number": "1",
                "card": "***",
                "changes": {"card": HIDDEN, "level": {"old": "draft", "new": "published"}},
            },
        ]

    def test_decides_about_the_changes(self, bucket: Bucket, changed: Callable[[], None]) -> None:
        def payload(member: Membership, changes: dict[str, Any]) -> Any:
            return {"number": member.number, "changed": sorted(changes)}

        bucket.record(Membership, fields=["card", "level"], payload=payload, changes=True)
        changed()
        Membership.objects.get().save()
        assert data(bucket) == [
            {"number": "1", "changed": []},
            {"number": "1", "changed": ["card", "level"]},
        ]

    def test_gets_old_and_new_values(self, bucket: Bucket, changed: Callable[[], None]) -> None:
        bucket.record(
            Membership,
            on=["updated"],
            fields=["card"],
            payload=lambda member, changes: changes,
            changes=True,
        )
        changed()
        assert data(bucket) == [{"card": {"old": OLD, "new": NEW}}]

    def test_with_a_mask_gets_masked_changes(
        self, bucket: Bucket, changed: Callable[[], None]
    ) -> None:
        bucket.record(
            Membership,
            on=["updated"],
            fields=["card", "level"],
            payload=lambda member, changes: {"was": changes},
            mask=["card"],
            changes=True,
        )
        bucket.record(
            Book, on=[], m2m=["tags"], payload=lambda book, changes: changes, mask=["tags"]
        )
        changed()
        Book.objects.create().tags.create(name="x")
        assert data(bucket) == [
            {"was": {"card": HIDDEN, "level": {"old": "draft", "new": "published"}}},
            {"tags": "***"},
        ]

    def test_parameter_that_cannot_be_named(self, bucket: Bucket) -> None:
        def payload(member: Membership, changes: Any, /) -> None: ...

        with pytest.raises(BufferMisconfigured, match="by name"):
            bucket.record(Membership, payload=payload)

    def test_is_part_of_the_data_of_links(self, bucket: Bucket) -> None:
        bucket.record(Book, on=[], m2m=["tags"], payload=lambda book: {"title": book.title})
        tag = Tag.objects.create(name="x")
        Book.objects.create(title="It").tags.add(tag)
        assert data(bucket) == [{"title": "It", "tags": [tag.pk]}]

    def test_decides_about_links(self, bucket: Bucket) -> None:
        bucket.record(Book, on=[], m2m=["tags"], payload=lambda book, changes: [changes])
        tag = Tag.objects.create(name="x")
        tag.books.add(Book.objects.create(title="It"))
        tag.books.clear()
        assert data(bucket) == [
            [{"tags": {"added": [tag.pk]}}],
            [{"tags": {"removed": [tag.pk]}}],
        ]

    def test_that_is_a_dataclass_is_masked(self, bucket: Bucket) -> None:
        @dataclass
        class Member:
            card: str

        bucket.record(Membership, payload=lambda member: Member(member.card), mask=["card"])
        Membership.objects.create(number="1", card=OLD)
        assert data(bucket) == [{"card": "***"}]

    def test_function_without_a_signature(self, bucket: Bucket) -> None:
        bucket.record(Tag, payload=type)
        with pytest.raises(BufferMisconfigured):
            bucket.record(Tag, payload="name")  # type: ignore[arg-type]


class TestLabels:
    @pytest.fixture
    def reader(self) -> Reader:
        return Reader.objects.create(name="Ann")

    def test_stand_beside_the_values(self, bucket: Bucket, reader: Reader) -> None:
        bucket.record(Membership, fields=["number", "level", "reader"], labels=True)
        Membership.objects.create(number="1", reader=reader)
        assert data(bucket) == [
            {
                "number": "1",
                "level": "draft",
                "reader_id": str(reader.pk),
                "labels": {"level": "Draft", "reader_id": f"Reader object ({reader.pk})"},
            }
        ]

    def test_of_old_and_new_values(self, bucket: Bucket, reader: Reader) -> None:
        bucket.record(
            Membership,
            on=["updated"],
            fields=["level", "reader"],
            labels=["reader", "level"],
            changes=True,
        )
        member = Membership.objects.create(number="1", reader=reader)
        member.level, member.reader = Status.PUBLISHED, None
        member.save()
        [event] = data(bucket)
        assert event["labels"] == {"reader_id": None, "level": "Published"}
        assert event["changes"] == {
            "level": {
                "old": "draft",
                "new": "published",
                "old_label": "Draft",
                "new_label": "Published",
            },
            "reader_id": {
                "old": str(reader.pk),
                "new": None,
                "old_label": f"Reader object ({reader.pk})",
                "new_label": None,
            },
        }

    def test_of_a_masked_value_is_hidden(self, bucket: Bucket, reader: Reader) -> None:
        bucket.record(
            Membership, fields=["level", "reader"], labels=True, mask=["reader"], changes=True
        )
        member = Membership.objects.create(number="1", reader=reader)
        member.reader = Reader.objects.create()
        member.save()
        created, updated = data(bucket)
        assert created["labels"] == {"level": "Draft", "reader_id": "***"}
        assert updated["changes"]["reader_id"] == {
            **HIDDEN,
            "old_label": "***",
            "new_label": "***",
        }

    def test_of_a_relation_that_was_not_saved(self, bucket: Bucket, reader: Reader) -> None:
        member = Membership.objects.create(number="1", reader=reader)
        bucket.record(Membership, fields=["reader"], labels=True)
        member.reader = Reader.objects.create()
        member.save(update_fields=["card"])
        member.delete()
        assert [event["labels"] for event in data(bucket)] == [
            {"reader_id": f"Reader object ({reader.pk})"}
        ] * 2

    def test_of_a_value_that_is_not_among_the_choices(self, bucket: Bucket) -> None:
        bucket.record(Membership, fields=["level"], labels=True)
        Membership.objects.create(number="1", level="odd")
        assert data(bucket) == [{"level": "odd", "labels": {"level": None}}]

    def test_costs_no_query_for_an_object_at_hand(
        self, bucket: Bucket, reader: Reader, django_assert_num_queries: Callable[[int], Any]
    ) -> None:
        bucket.record(Membership, labels=True)
        with django_assert_num_queries(1):
            Membership.objects.create(number="1", reader=reader)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"labels": ["card"]}, "card"),
            ({"labels": True, "payload": lambda member: {}}, "labels and payload"),
        ],
    )
    def test_mistake(self, bucket: Bucket, options: dict[str, Any], message: str) -> None:
        with pytest.raises(BufferMisconfigured, match=message):
            bucket.record(Membership, **options)


class TestAutoNow:
    def test_alone_is_no_change(self, bucket: Bucket) -> None:
        bucket.record(Membership, on=["updated"], changes=True)
        member = Membership.objects.create(number="1")
        member.save()
        assert recorded(bucket) == []
        member.card = NEW
        member.save()
        assert sorted(data(bucket)[0]["changes"]) == ["card", "seen_at"]

    def test_counts_if_asked_for(self, bucket: Bucket) -> None:
        bucket.record(Membership, on=["updated"], changes=True, count_auto_now=True)
        Membership.objects.create(number="1").save()
        assert [[*event["changes"]] for event in data(bucket)] == [["seen_at"]]

    def test_counts_without_changes(self, bucket: Bucket) -> None:
        bucket.record(Membership, on=["updated"])
        Membership.objects.create(number="1").save()
        assert len(recorded(bucket)) == 1


class TestJSON:
    @pytest.mark.parametrize(("old", "new"), [([1], [True]), ({"a": 1}, {"a": 1.0})])
    def test_change_that_python_takes_for_equal(self, bucket: Bucket, old: Any, new: Any) -> None:
        bucket.record(Book, on=["updated"], fields=["extras"], changes=True)
        book = Book.objects.create(extras=old)
        book.extras = new
        book.save()
        [event] = data(bucket)
        assert json.dumps(event["changes"]["extras"]) == json.dumps({"old": old, "new": new})

    def test_order_of_keys_is_no_change(self, bucket: Bucket) -> None:
        bucket.record(Book, on=["updated"], fields=["extras"], changes=True)
        book = Book.objects.create(extras={"a": 1, "b": 2})
        book.extras = {"b": 2, "a": 1}
        book.save()
        assert data(bucket) == []


class TestNothingIsLeft:
    def test_fields_that_exclude_leaves_out(self, bucket: Bucket) -> None:
        bucket.record(Author, fields=["name", "born"], exclude=["born"], mask=["born"])
        Author.objects.create(name="Ann")
        assert data(bucket) == [{"name": "Ann"}]
