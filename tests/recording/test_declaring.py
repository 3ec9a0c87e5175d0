import json
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db.models import Model
from django.db.models.signals import (
    post_save,
)
from pytest_django import Settings

from django_jsonbuffer import Bucket
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.recording import registry
from django_jsonbuffer.recording.events import ACTIONS
from tests.library.models import (
    Author,
    Book,
    Reader,
    Record,
    Tag,
    Ticket,
)
from tests.recorded import data, pk, told

pytestmark = pytest.mark.django_db(transaction=True)


class TestOn:
    def test_everything_by_default(self, bucket: Bucket) -> None:
        bucket.record(Author)
        author = Author.objects.create(name="Ann")
        author.save()
        key = pk(author)
        author.delete()
        assert told(bucket) == [
            ("author.created", key),
            ("author.updated", key),
            ("author.deleted", key),
        ]

    @pytest.mark.parametrize("action", ACTIONS)
    @pytest.mark.parametrize("changes", [False, True])
    def test_one_action(self, bucket: Bucket, action: str, changes: bool) -> None:
        bucket.record(Author, on=[action], changes=changes)
        author = Author.objects.create(name="Ann")
        author.name = "Bea"
        author.save()
        author.delete()
        assert [kind for kind, _ in told(bucket)] == [f"author.{action}"]

    def test_text_is_one_action(self, bucket: Bucket) -> None:
        bucket.record(Author, on="deleted")
        author = Author.objects.create(name="Ann")
        key = pk(author)
        author.delete()
        assert told(bucket) == [("author.deleted", key)]

    def test_update_or_create_and_bulk_of_signals(self, bucket: Bucket) -> None:
        bucket.record(Author)
        first, _ = Author.objects.get_or_create(name="Ann")
        Author.objects.update_or_create(name="Ann", defaults={"name": "Bea"})
        Author.objects.filter(pk=first.pk).delete()
        assert [kind for kind, _ in told(bucket)] == [
            *["author.created", "author.updated", "author.deleted"]
        ]

    def test_two_recordings_of_one_bucket_share_the_actions(self, bucket: Bucket) -> None:
        bucket.record(Author, on=["created"], fields=["name"])
        bucket.record(Author, on=["deleted"], fields=["born"])
        Author.objects.create(name="Ann").delete()
        assert data(bucket) == [{"name": "Ann"}, {"born": None}]

    def test_two_buckets_each_get_theirs(self, bucket: Bucket) -> None:
        bucket.record(Author, fields=["name"])
        Bucket("others").record(Author, fields=["born"])
        Author.objects.create(name="Ann")
        assert data(bucket) == [{"name": "Ann"}]
        assert data(Bucket("others")) == [{"born": None}]


class TestFields:
    def test_all_by_default(self, bucket: Bucket) -> None:
        bucket.record(Book, on=["created"])
        Book.objects.create()
        assert [*data(bucket)[0]] == [field.attname for field in Book._meta.concrete_fields]

    def test_named_ones_in_their_order_and_by_attname(self, bucket: Bucket) -> None:
        bucket.record(Book, fields=["title", "author", "sequel_of_id"])
        author = Author.objects.create(name="Ann")
        Book.objects.create(title="It", author=author)
        event = data(bucket)[0]
        assert [*event.items()] == [
            ("title", "It"),
            ("author_id", author.pk),
            ("sequel_of_id", None),
        ]

    def test_excluded_ones(self, bucket: Bucket) -> None:
        bucket.record(Author, exclude=["born"])
        author = Author.objects.create(name="Ann")
        assert data(bucket) == [{"id": author.pk, "name": "Ann"}]

    def test_excluded_of_the_named(self, bucket: Bucket) -> None:
        bucket.record(Author, fields=["name", "born"], exclude=["born"])
        Author.objects.create(name="Ann")
        assert data(bucket) == [{"name": "Ann"}]

    def test_none(self, bucket: Bucket) -> None:
        bucket.record(Author, fields=[])
        author = Author.objects.create(name="Ann")
        author.save(update_fields=["name"])
        author.delete()
        assert data(bucket) == [{}, {}, {}]

    @pytest.mark.parametrize("model", [Reader, User])
    def test_password_is_left_out(self, bucket: Bucket, model: type[Model]) -> None:
        bucket.record(model, changes=True)
        instance = model(password="first")
        instance.save()
        instance.password = "second"  # type: ignore[attr-defined]
        instance.save()
        instance.delete()
        events = data(bucket)
        assert len(events) == 2, "what is not chosen has not changed"
        assert "password" not in json.dumps(events)

    def test_password_when_named(self, bucket: Bucket) -> None:
        bucket.record(Reader, fields=["password"])
        Reader.objects.create(password="x")
        assert data(bucket) == [{"password": "x"}]

    def test_generators_of_names(self, bucket: Bucket) -> None:
        bucket.record(Author, on=(a for a in ["created"]), fields={"name": 1}.keys())  # type: ignore[arg-type]
        Author.objects.create(name="Ann")
        assert data(bucket) == [{"name": "Ann"}]


class TestLabel:
    def test_is_as_good_as_the_model(self, bucket: Bucket) -> None:
        bucket.record("library.Author", fields=["name"])
        Author.objects.create(name="Ann")
        assert data(bucket) == [{"name": "Ann"}]

    @pytest.mark.parametrize("model", ["library.Author", Author])
    def test_before_the_models_are_loaded(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, model: Any
    ) -> None:
        monkeypatch.setattr(apps, "models_ready", False)
        bucket.record(model, fields=["name"])
        bucket.record("library.Tag", fields=["name"])
        monkeypatch.setattr(apps, "models_ready", True)
        assert not post_save.has_listeners(Author)
        registry.record_waiting()
        registry.record_waiting()
        Author.objects.create(name="Ann")
        Tag.objects.create(name="x")
        assert data(bucket) == [{"name": "Ann"}, {"name": "x"}]

    def test_mistake_before_the_models_are_loaded(
        self, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(apps, "models_ready", False)
        bucket.record("library.Nothing")
        monkeypatch.setattr(apps, "models_ready", True)
        with pytest.raises(BufferMisconfigured, match=r"library\.Nothing"):
            registry.record_waiting()


class TestMistakes:
    @pytest.mark.parametrize(
        ("model", "options", "what"),
        [
            (Author, {"on": ["made"]}, "'made'.*created, updated, deleted"),
            (Author, {"on": "made"}, "'made'"),
            (Author, {"fields": ["nmae"]}, "nmae.*name"),
            (Author, {"fields": "name"}, "fields='name'.*list"),
            (Author, {"exclude": "name"}, "exclude='name'.*list"),
            (Author, {"exclude": ["nmae"]}, "nmae"),
            (Author, {"fields": ["friends"]}, "friends"),
            (Author, {"fields": ["books"]}, "books"),
            (Author, {"fields": ["pk"]}, "pk"),
            (Author, {"m2m": ["name"]}, "name.*friends"),
            (Author, {"m2m": "friends"}, "m2m='friends'"),
            (Author, {"m2m": ["books"]}, "books"),
            (Tag, {"m2m": ["books"]}, "out of: none"),
            (Record, {}, "abstract"),
            ("library.Nothing", {}, r"library\.Nothing"),
            ("Author", {}, "'Author'"),
            ("nowhere.Author", {}, "nowhere"),
            ("library.a.b", {}, "library"),
            (Author(), {}, "model"),
            (object, {}, "model"),
            (None, {}, "model"),
            (Ticket, {"changes": True}, "field 'changes'.*Exclude"),
            (Author, {"when": "name"}, "when"),
            (Author, {"payload": "name"}, "payload"),
        ],
    )
    def test_is_one_clear_error(
        self, bucket: Bucket, model: Any, options: dict[str, Any], what: str
    ) -> None:
        recordings = [*registry.recordings]
        with pytest.raises(BufferMisconfigured, match=what) as caught:
            bucket.record(model, **options)
        assert str(caught.value).endswith((".", "nothing: there are none."))
        assert registry.recordings == recordings

    def test_of_a_model_that_is_swapped(self, bucket: Bucket, settings: Settings) -> None:
        settings.AUTH_USER_MODEL = "library.Reader"
        with pytest.raises(BufferMisconfigured, match=r"swapped for library\.Reader"):
            bucket.record("auth.User")

    def test_recorded_twice(self, bucket: Bucket) -> None:
        bucket.record(Author, on=["created", "updated"], m2m=["friends"])
        with pytest.raises(BufferMisconfigured, match=r"library\.Author twice: updated"):
            Bucket("changes").record("library.Author", on=["updated", "deleted"])
        with pytest.raises(BufferMisconfigured, match=r"library\.Author twice: friends"):
            bucket.record(Author, on=[], m2m=["friends"])
        Author.objects.create(name="Ann")
        assert len(told(bucket)) == 1

    def test_unknown_option(self, bucket: Bucket) -> None:
        with pytest.raises(TypeError):
            bucket.record(Author, filds=["name"])  # type: ignore[call-arg]

    def test_field_named_changes_without_them(self, bucket: Bucket) -> None:
        bucket.record(Ticket)
        Ticket.objects.create(code="x", changes=3)
        assert data(bucket) == [{"code": "x", "changes": 3}]
