import re
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from django_jsonbuffer import Batch, Bucket, operations
from django_jsonbuffer.admin import bulk, drains
from django_jsonbuffer.admin.actions import ACTIONS, PERMISSIONS
from django_jsonbuffer.admin.bulk import BulkResult, carry_out, named_buckets
from django_jsonbuffer.admin.bulk_actions import BULK_ACTIONS
from django_jsonbuffer.admin.selection import Selection
from django_jsonbuffer.conf import configuration
from django_jsonbuffer.exceptions import BufferUnavailable
from tests.admin.pages import BULK, CODENAMES, PAGE, buttons, content, fields, rows, said
from tests.prepared import bury
from tests.server import Redis
from tests.threads import at_once

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]

DONE: Final = {
    "pause": "Paused: {}.",
    "resume": "Resumed: {}.",
    "drain": "Drained: {}. Events: {}.",
    "replay": "Replayed the dead letters of {}. Dead letters: {}.",
    "purge": "Purged: {}. Events: {}.",
}
"""What the message says of a number of buckets and of events."""

each_action = pytest.mark.parametrize("action", BULK_ACTIONS)


def prepare(action: str, *names: str, events: Sequence[Any] = (1,)) -> list[Bucket]:
    """Let the action apply to these buckets, and touch these events of each."""
    found = [Bucket(name) for name in names]
    for bucket in found:
        bucket.extend(events)
        if action == "resume":
            bucket.pause()
        elif action == "drain":
            bucket.processor(lambda batch: None)
        elif action == "replay":
            bucket.processor(reject_all)
            bucket.drain()
    return found


def reject_all(batch: Batch) -> None:
    for event in batch:
        batch.reject(event, "no good")


def applies(action: str, bucket: Bucket) -> bool:
    """Whether the action was not done with a bucket that was prepared for it."""
    status = bucket.status()
    return {
        "pause": status.paused is None,
        "resume": status.paused is not None,
        "drain": status.pending > 0,
        "replay": status.dead > 0,
        "purge": status.pending > 0,
    }[action]


def ask(client: Client, action: str, *names: str, query: str = "", **sent: str) -> Any:
    """Press the button of the list. Returns the question."""
    return client.post(BULK + query, {"action": action, "bucket": names, **sent})


def answer(client: Client, asked: Any, *, query: str = "") -> Any:
    """Press the button of a question."""
    return client.post(BULK + query, fields(asked), follow=True)


LATEST = f"{2**63}-1"
"""An id that is behind all dead letters."""


def confirmed(action: str, *names: str) -> dict[str, str]:
    """The form of a question, with these names."""
    form = {"action": action, "names": " ".join(names), "confirmed": "1"}
    return {**form, "newest": LATEST} if action == "replay" else form


def logged() -> dict[str, str]:
    """The message of each entry of the admin's log, by bucket."""
    return {str(entry.object_id): entry.get_change_message() for entry in LogEntry.objects.all()}


class TestSelection:
    @each_action
    def test_of_boxes_is_asked_about_and_done(self, admin_client: Client, action: str) -> None:
        a, b, other = prepare(action, "a", "b", "other", events=[1, 2])
        asked = ask(admin_client, action, "a", "b")
        assert asked.status_code == 200
        found = fields(asked)
        assert bool(found.pop("newest", None)) == (action == "replay")
        assert found == {"action": [action], "names": ["a b"], "confirmed": ["1"]}
        assert {name: cells[1] for name, cells in rows(asked).items()} == {"a": "2", "b": "2"}
        assert ": 4." in content(asked)
        assert [applies(action, bucket) for bucket in (a, b, other)] == [True] * 3
        assert logged() == {}
        response = answer(admin_client, asked)
        assert response.redirect_chain == [(PAGE, 302)]
        assert said(response) == [DONE[action].format("2 buckets", 4)]
        assert [applies(action, bucket) for bucket in (a, b, other)] == [False, False, True]
        assert {*logged()} == {"a", "b"}

    @each_action
    def test_of_all_that_match_is_that_of_the_url(self, admin_client: Client, action: str) -> None:
        """On all pages, whatever is checked."""
        names = [f"order-{number:03}" for number in range(101)]
        prepare(action, *names, "mail")
        asked = ask(admin_client, action, "mail", query="?q=ORDER&p=2", across="1")
        assert fields(asked)["names"] == [" ".join(names)]
        assert "mail" not in content(asked)

    def test_of_all_that_match_may_be_those_in_a_state(self, admin_client: Client) -> None:
        prepare("resume", "a", "b")
        prepare("pause", "c")
        asked = ask(admin_client, "purge", query="?state=paused", across="1")
        assert fields(asked)["names"] == ["a b"]

    def test_is_of_known_buckets(self, admin_client: Client) -> None:
        prepare("pause", "orders")
        asked = ask(admin_client, "pause", "orders", "nobody", "<b>", "a b", "orders")
        assert fields(asked)["names"] == ["orders"]
        assert "Left out" not in content(asked)

    @each_action
    def test_of_nothing_says_so(self, admin_client: Client, action: str) -> None:
        prepare(action, "orders")
        for query, sent in (("", {}), ("?q=nobody", {"across": "1"})):
            response = admin_client.post(BULK + query, {"action": action, **sent}, follow=True)
            assert response.redirect_chain == [(PAGE + query, 302)]
            assert said(response) == ["Nothing was done: select buckets first."]

    def test_is_offered_by_what_the_visitor_may(
        self, staff_client: Client, grant: Callable[..., None]
    ) -> None:
        prepare("pause", "orders")
        for codenames, offered in (
            ([], []),
            (["view_events"], []),
            (["drain_bucket"], ["Drain…"]),
            (["change_bucket"], ["Pause…", "Resume…", "Replay…"]),
            (["delete_events"], ["Purge…"]),
        ):
            grant("view_bucket", *codenames)
            page = content(staff_client.get(PAGE))
            assert buttons(page) == offered
            assert ('type="checkbox"' in page) == bool(offered)
            assert ('name="bucket" value="orders"' in page) == bool(offered)

    def test_is_sent_with_the_query_of_the_list(self, admin_client: Client) -> None:
        prepare("pause", *(f"bucket-{number:03}" for number in range(101)))
        query = {"q": "bucket", "state": "flowing", "sort": "-pending", "p": "2", "other": "x"}
        page = content(admin_client.get(PAGE, query))
        [action] = re.findall(r'<form method="post" action="([^"]*)"', page)
        assert action == f"{BULK}?q=bucket&amp;state=flowing&amp;sort=-pending&amp;p=2"
        assert "all 101 buckets that match" in page

    def test_is_not_offered_where_nothing_is_listed(self, admin_client: Client) -> None:
        assert buttons(content(admin_client.get(PAGE))) == []


class TestQuestion:
    @pytest.mark.parametrize(
        ("action", "title", "sentence"),
        [
            ("pause", "Pause 1 bucket?", "no worker drains these buckets. Pending events: 3."),
            ("resume", "Resume 1 bucket?", "Workers drain these buckets again. Pending events: 3."),
            ("drain", "Drain 1 bucket?", "This site processes the pending events now"),
            ("replay", "Replay the dead letters of 1 bucket?", "Dead letters: 3."),
            ("purge", "Purge 1 bucket?", "This removes their pending events for ever"),
        ],
    )
    def test_says_what_will_happen(
        self, admin_client: Client, action: str, title: str, sentence: str
    ) -> None:
        prepare(action, "orders", events=[1, 2, 3])
        asked = ask(admin_client, action, "orders")
        assert f"<h1>{title}</h1>" in asked.content.decode()
        assert sentence in content(asked)
        assert buttons(content(asked)) == [title.removesuffix("?")]
        warns = "button deletelink-like" in content(asked)
        assert warns == (action == "purge")

    @pytest.mark.parametrize(
        ("language", "title"),
        [("es", "¿Pausar 1 bucket?"), ("fr", "Mettre en pause 1 bucket\xa0?")],
    )
    def test_has_the_question_marks_of_the_language(
        self, admin_client: Client, language: str, title: str
    ) -> None:
        prepare("pause", "orders")
        with translation.override(language):
            asked = ask(admin_client, "pause", "orders")
        assert f"<h1>{title}</h1>" in asked.content.decode()
        assert buttons(content(asked)) == [title.strip("¿?\xa0")]

    @pytest.mark.parametrize(
        ("action", "reason"),
        [
            ("pause", "because they are paused already: 1."),
            ("resume", "because they are not paused: 1."),
            ("drain", "or this site declares no processor for them: 3."),
            ("replay", "because they have no dead letters: 1."),
            ("purge", "because they have nothing pending: 1."),
        ],
    )
    def test_leaves_out_what_the_action_does_not_apply_to(
        self, admin_client: Client, action: str, reason: str
    ) -> None:
        prepare(action, "orders")
        left_out = ["other"]
        other = {"pause": "resume", "purge": "replay"}.get(action, "pause")
        prepare(other, "other")
        if action == "drain":
            paused, empty = prepare("drain", "paused", "empty")
            paused.pause()
            empty.take()
            left_out += ["paused", "empty"]
        asked = ask(admin_client, action, "orders", *left_out)
        assert list(rows(asked)) == ["orders"]
        assert fields(asked)["names"] == ["orders"]
        assert reason in content(asked)
        response = admin_client.post(BULK, {"action": action, "bucket": left_out}, follow=True)
        assert said(response) == [
            "Nothing was done: the action applies to none of the selected buckets."
        ]

    def test_leaves_out_what_cannot_be_read(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        prepare("pause", "broken", "orders")
        occupy(client_of_server, "broken")
        asked = ask(admin_client, "pause", "broken", "orders")
        assert fields(asked)["names"] == ["orders"]
        assert "Left out, because they cannot be read: 1." in content(asked)
        assert "Left out, because they are paused already" not in content(asked)

    def test_shows_the_first_twenty(self, admin_client: Client) -> None:
        prepare("pause", *(f"bucket-{number}" for number in range(22)))
        asked = ask(admin_client, "pause", across="1")
        assert len(rows(asked)) == 20
        assert "and 2 more buckets" in content(asked)
        assert len(fields(asked)["names"][0].split()) == 22

    def test_leads_back_to_the_same_list(self, admin_client: Client) -> None:
        prepare("pause", "orders")
        asked = ask(admin_client, "pause", "orders", query="?q=o&p=2")
        back = f'<a class="button" href="{PAGE}?q=o&amp;p=2">No, take me back</a>'
        assert back in content(asked)

    @each_action
    @pytest.mark.usefixtures("unreachable")
    def test_cannot_be_asked_while_redis_is_away(self, admin_client: Client, action: str) -> None:
        for sent in ({"bucket": "orders"}, {"across": "1"}, confirmed(action, "orders")):
            response = admin_client.post(BULK, {"action": action, **sent})
            assert response.status_code == 503
            assert "Redis cannot be reached" in content(response)
        assert logged() == {}


class TestAction:
    def test_keeps_the_query_of_the_list(self, admin_client: Client) -> None:
        prepare("pause", "orders")
        query = "?q=o&state=flowing&sort=-pending&p=1"
        asked = ask(admin_client, "pause", "orders", query=query)
        response = answer(admin_client, asked, query=query)
        assert response.redirect_chain == [(PAGE + query, 302)]

    def test_touches_none_that_appears_after_the_question(self, admin_client: Client) -> None:
        prepare("purge", "a")
        asked = ask(admin_client, "purge", across="1")
        [later] = prepare("purge", "later")
        response = answer(admin_client, asked)
        assert said(response) == ["Purged: 1 bucket. Events: 1."]
        assert applies("purge", later)
        assert {*logged()} == {"a"}

    @each_action
    def test_does_nothing_with_names_of_no_bucket(
        self, admin_client: Client, action: str, client_of_server: Redis, prefix: str
    ) -> None:
        """Anybody can send a form with any names."""
        before = {*client_of_server.scan_iter(match=f"{prefix}:*")}
        sent = confirmed(action, "nobody", "a}{b", "<b>", "x" * 101)
        response = admin_client.post(BULK, sent, follow=True)
        [message] = said(response)
        assert "0 buckets." in message
        assert logged() == {}
        assert {*client_of_server.scan_iter(match=f"{prefix}:*")} == before

    def test_does_nothing_twice_with_a_name_that_is_given_twice(self, admin_client: Client) -> None:
        prepare("pause", "orders")
        response = admin_client.post(BULK, confirmed("pause", "orders", "orders"), follow=True)
        assert said(response) == ["Paused: 1 bucket."]

    @pytest.mark.parametrize("action", ["pause", "resume", "replay", "purge"])
    def test_that_others_have_done_meanwhile_is_not_logged(
        self, admin_client: Client, action: str
    ) -> None:
        a, b = prepare(action, "a", "b")
        asked = ask(admin_client, action, "a", "b")
        answer(admin_client, ask(admin_client, action, "a"))
        LogEntry.objects.all().delete()
        response = answer(admin_client, asked)
        [message] = said(response)
        assert message.startswith(DONE[action].format("1 bucket", 1))
        assert message.endswith(" Nothing to do: 1.")
        assert {*logged()} == {"b"}
        assert not applies(action, a)
        assert not applies(action, b)

    def test_logs_what_it_did_with_each(self, admin_client: Client, admin_user: User) -> None:
        prepare("drain", "a", events=[1, 2])
        prepare("drain", "b", events=[1])
        answer(admin_client, ask(admin_client, "drain", "a", "b"))
        assert logged() == {"a": "Drained: 2 events.", "b": "Drained: 1 event."}
        assert {entry.user for entry in LogEntry.objects.all()} == {admin_user}
        entry = LogEntry.objects.get(object_id="a")
        assert entry.get_admin_url() == f"{PAGE}a/change/"

    def test_is_logged_before_it_is_done(self, admin_client: Client) -> None:
        """So it is known who did it, whatever ends the request."""
        seen: list[dict[str, str]] = []
        prepare("drain", "a", "b")
        Bucket("a").processor(lambda batch: seen.append(logged()))
        answer(admin_client, ask(admin_client, "drain", "a", "b"))
        assert seen == [{"a": "Begun: drain."}]

    def test_that_ends_unexpectedly_logs_what_it_has_done(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepare("purge", "a", "b", "c")
        before_each(monkeypatch, "purge", b=lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            answer(admin_client, ask(admin_client, "purge", "a", "b", "c"))
        assert logged() == {
            "a": "Purged: 1 pending event.",
            "b": "Begun: purge.",
        }

    def test_reports_failures_of_processors(self, admin_client: Client) -> None:
        a, b = prepare("drain", "a", "b")
        b.processor(lambda batch: 1 / 0)
        response = answer(admin_client, ask(admin_client, "drain", "a", "b"))
        assert said(response) == [
            "Drained: 2 buckets. Events: 1. With trouble: 1. b: Drained: 0 events. 1 failure: see "
            "the log. 1 event is pending."
        ]
        [message] = response.context["messages"]
        assert message.level_tag == "warning"
        assert not applies("drain", a)

    def test_goes_on_after_a_bucket_that_is_broken(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        prepare("purge", "a", "broken", "c")
        asked = ask(admin_client, "purge", "a", "broken", "c")
        occupy(client_of_server, "broken")
        response = answer(admin_client, asked)
        [message] = said(response)
        start = "Purged: 2 buckets. Events: 2. With trouble: 1. broken: A key for bucket 'broken'"
        assert message.startswith(start)
        assert logged().keys() == {"a", "broken", "c"}
        assert logged()["broken"].startswith("Ended halfway: purge. A key for bucket 'broken'")

    def test_names_the_first_three_with_trouble(
        self, admin_client: Client, client_of_server: Redis
    ) -> None:
        names = [f"broken-{number}" for number in range(5)]
        prepare("purge", *names)
        asked = ask(admin_client, "purge", *names)
        for name in names:
            occupy(client_of_server, name)
        [message] = said(answer(admin_client, asked))
        assert "With trouble: 5." in message
        assert re.findall(r"broken-\d: ", message) == ["broken-0: ", "broken-1: ", "broken-2: "]

    def test_that_is_none_does_nothing(self, admin_client: Client) -> None:
        """Also one that exists on the page of a bucket alone."""
        [orders] = prepare("replay", "orders")
        for action in ("discard", "retry", "nothing", ""):
            for sent in (confirmed(action, "orders"), {"action": action, "bucket": "orders"}):
                response = admin_client.post(f"{BULK}?q=o", sent)
                assert response["Location"] == f"{PAGE}?q=o"
        assert applies("replay", orders)
        assert logged() == {}

    def test_is_a_post_with_a_token(self, admin_client: Client, admin_user: User) -> None:
        [orders] = prepare("pause", "orders")
        response = admin_client.get(BULK, confirmed("pause", "orders"))
        assert response.status_code == 302  # as after a login
        assert admin_client.put(BULK).status_code == 405
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(admin_user)
        assert strict.post(BULK, confirmed("pause", "orders")).status_code == 403
        assert applies("pause", orders)

    def test_stays_on_its_site(self, admin_client: Client) -> None:
        prepare("pause", "orders")
        path = BULK.replace("/admin/", "/second/")
        asked = admin_client.post(path, {"action": "pause", "bucket": "orders"})
        assert "/admin/django_jsonbuffer/" not in asked.content.decode()
        response = admin_client.post(path, fields(asked))
        assert response["Location"] == PAGE.replace("/admin/", "/second/")


class TestPermissions:
    @pytest.mark.parametrize("missing", CODENAMES)
    @each_action
    def test_of_its_own_is_needed_for_each_action(
        self, staff_client: Client, grant: Callable[..., None], action: str, missing: str
    ) -> None:
        [orders] = prepare(action, "orders")
        # In the admin, the permission to change includes the permission to view.
        is_refused = missing == PERMISSIONS[action]
        grant(*(codename for codename in CODENAMES if codename != missing))
        for sent, status in (
            ({"action": action, "bucket": "orders"}, 200),
            ({"action": action, "across": "1"}, 200),
            (confirmed(action, "orders"), 302),
        ):
            assert applies(action, orders)
            response = staff_client.post(BULK, sent)
            assert response.status_code == (403 if is_refused else status)
        assert applies(action, orders) == is_refused
        assert bool(logged()) == (not is_refused)

    def test_to_see_buckets_is_needed_for_any(
        self, staff_client: Client, grant: Callable[..., None]
    ) -> None:
        buckets = {action: prepare(action, action)[0] for action in ("drain", "purge")}
        grant("view_events", "drain_bucket", "delete_events")
        for action, bucket in buckets.items():
            assert staff_client.post(BULK, confirmed(action, action)).status_code == 403
            assert applies(action, bucket)
        assert staff_client.get(BULK).status_code == 403
        assert staff_client.post(BULK).status_code == 403


class TestEarlyEnd:
    def test_without_redis_says_and_logs_what_was_done(
        self, admin_client: Client, private_server: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepare("purge", "a", "b", "c", "d")
        asked = ask(admin_client, "purge", "a", "b", "c", "d")
        before_each(monkeypatch, "purge", b=partial(private_server.shutdown, nosave=True))
        response = answer(admin_client, asked)
        assert response.status_code == 503  # the list, which cannot be read either
        [message] = said(response)
        did = "Purged: 1 bucket. Events: 1. Not finished: 1. Not begun: 2."
        assert message.startswith(f"{did} Redis cannot be reached")
        [shown] = response.context["messages"]
        assert shown.level_tag == "error"
        found = logged()
        assert found.keys() == {"a", "b"}
        assert found["a"] == "Purged: 1 pending event."
        assert found["b"].startswith("Ended halfway: purge. Redis cannot be reached")

    def test_at_the_last_of_them_is_said_too(
        self, admin_client: Client, private_server: Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepare("purge", "a", "b")
        asked = ask(admin_client, "purge", "a", "b")
        before_each(monkeypatch, "purge", b=partial(private_server.shutdown, nosave=True))
        [message] = said(answer(admin_client, asked))
        assert message.startswith("Purged: 1 bucket. Events: 1. Not finished: 1. Redis cannot")

    @pytest.mark.parametrize("action", ["pause", "resume"])
    def test_of_many_at_once_is_said_too(
        self,
        admin_client: Client,
        private_server: Redis,
        monkeypatch: pytest.MonkeyPatch,
        action: str,
    ) -> None:
        """Nobody knows which of them were paused when Redis went away."""
        monkeypatch.setattr(bulk, "_PAUSED_AT_ONCE", 2)
        prepare(action, "a", "b", "c", "d", "e", "f")
        asked = ask(admin_client, action, "a", "b", "c", "d", "e", "f")
        set_paused = operations.set_paused

        def end(buckets: list[Bucket], **options: bool) -> Any:
            if buckets[0].name == "c":
                private_server.shutdown(nosave=True)
            return set_paused(buckets, **options)

        monkeypatch.setattr(operations, "set_paused", end)
        [message] = said(answer(admin_client, asked))
        assert "d: 2 buckets. Not finished: 2. Not begun: 2. Redis cannot be reached" in message
        found = logged()
        assert found.keys() == {"a", "b", "c", "d"}
        for name in ("c", "d"):
            assert found[name].startswith(f"Ended halfway: {action}. Redis cannot be reached")

    @each_action
    def test_for_want_of_time_asks_to_go_on_with_the_rest(
        self, admin_client: Client, action: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        a, b = prepare(action, "a", "b")
        query = "?q=&sort=name"
        asked = ask(admin_client, action, "a", "b", query=query)
        with monkeypatch.context() as patch:
            patch.setattr(bulk, "SECONDS", 0)
            asked = answer(admin_client, asked, query=query)
        assert asked.status_code == 200
        done = DONE[action].format("0 buckets", 0).partition(".")[0]
        assert said(asked) == [f"{done}. Not begun: 2."]
        found = fields(asked)
        assert bool(found.pop("newest", None)) == (action == "replay")
        assert found == {"action": [action], "names": ["a b"], "confirmed": ["1"]}
        assert f'href="{PAGE}?q=&amp;sort=name">No, take me back</a>' in content(asked)
        assert logged() == {}
        assert applies(action, a)
        response = answer(admin_client, asked)
        assert said(response) == [DONE[action].format("2 buckets", 2)]
        assert not applies(action, b)

    def test_for_want_of_time_leaves_out_what_was_done(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepare("purge", "a", "b", "c", "d")
        asked = ask(admin_client, "purge", "a", "b", "c", "d")
        later = SimpleNamespace(monotonic=lambda: 10.0**12)
        ends = partial(monkeypatch.setattr, bulk, "time", later)
        before_each(monkeypatch, "purge", b=ends)
        asked = answer(admin_client, asked)
        assert said(asked) == ["Purged: 2 buckets. Events: 2. Not begun: 2."]
        assert fields(asked)["names"] == ["c d"]
        assert logged().keys() == {"a", "b"}

    def test_for_want_of_time_asks_to_go_on_with_what_it_has_begun(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = ("a", "b", "c", "d")
        got: list[int] = []
        for name in names:
            bucket = Bucket(name, batch_size=1)
            bucket.extend([1, 2, 3])
            bucket.processor(got.extend)
        asked = ask(admin_client, "drain", *names)
        slow = SimpleNamespace(monotonic=iter([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 20.0, 20.0]).__next__)
        with monkeypatch.context() as patch:
            patch.setattr(bulk, "time", slow)
            patch.setattr(drains, "time", slow)
            asked = answer(admin_client, asked)
        assert got == [1, 2, 3, 1]
        assert said(asked) == ["Drained: 2 buckets. Events: 4. Not finished: 1. Not begun: 2."]
        assert fields(asked)["names"] == ["b c d"]
        assert logged()["b"] == "Drained: 1 event. 2 events are pending."
        response = answer(admin_client, asked)
        assert said(response) == ["Drained: 3 buckets. Events: 8."]

    def test_does_not_ask_about_what_others_have_done(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk, "SECONDS", 0)
        [orders] = prepare("pause", "orders")
        asked = ask(admin_client, "pause", "orders")
        orders.pause()
        response = answer(admin_client, asked)
        assert response.redirect_chain == [(PAGE, 302)]
        assert said(response) == ["Paused: 0 buckets. Not begun: 1."]


class Notes:
    """An action log that only remembers. Threads of a test cannot share its database."""

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}

    def begin(self, *names: str) -> None:
        self.results.update(dict.fromkeys(names))

    def note(self, name: str, result: Any) -> None:
        self.results[name] = result


class TestAtOnce:
    @each_action
    def test_twice_does_everything_once(self, action: str) -> None:
        """Each event is processed, replayed or purged once, and each change is made by one."""
        names = [f"bucket-{number}" for number in range(20)]
        got: list[Any] = []
        prepare(action, *names, events=[1, 2, 3])
        if action == "drain":
            for name in names:
                Bucket(name).processor(got.extend)
        results: list[BulkResult] = []

        def act() -> None:
            log: Any = Notes()
            results.append(carry_out(action, named_buckets(names), Selection(up_to=LATEST), log))
            assert log.results.keys() == {*names}

        at_once([act, act])
        first, second = results
        assert first.troubles == second.troubles == []
        assert first.left == second.left == []
        assert not any(applies(action, Bucket(name)) for name in names)
        if action in ("pause", "resume"):
            assert first.done + second.done == 20
        else:
            assert first.count + second.count == 60
        if action == "drain":
            assert sorted(got) == sorted([1, 2, 3] * 20)
        if action == "replay":
            assert [Bucket(name).status().pending for name in names] == [3] * 20

    def test_a_second_request_in_the_middle_of_the_first(self, admin_client: Client) -> None:
        """Each says and logs what it did itself."""
        second: list[Any] = []
        prepare("drain", "a", "b", events=[1, 2])
        asked = ask(admin_client, "drain", "a", "b")
        Bucket("a").processor(lambda batch: second.append(answer(admin_client, asked)))
        first = answer(admin_client, asked)
        # A worker holds the batch of the first bucket, so only the second bucket is left.
        assert said(second[0]) == ["Drained: 1 bucket. Events: 2. Nothing to do: 1."]
        assert said(first) == ["Drained: 1 bucket. Events: 2. Nothing to do: 1."]
        assert [Bucket(name).status().processed for name in "ab"] == [2, 2]
        entries = LogEntry.objects.order_by("pk")
        logged = [(entry.object_id, entry.get_change_message()) for entry in entries]
        assert logged == [("a", "Drained: 2 events."), ("b", "Drained: 2 events.")]


class TestThousandBuckets:
    """What depends on their number is bounded."""

    @pytest.fixture
    def names(self, private_server: Redis) -> list[str]:
        names = [f"bucket-{number:03}" for number in range(1000)]
        private_server.sadd(f"{configuration().prefix}:buckets", *names)
        return names

    def test_are_asked_about_in_few_round_trips(
        self, admin_client: Client, names: list[str], round_trips: list[str]
    ) -> None:
        ask(admin_client, "pause", "bucket-000")  # which loads the script
        round_trips.clear()
        with CaptureQueriesContext(connection) as queries:
            asked = ask(admin_client, "pause", across="1")
        # The session and the user.
        assert len(queries) == 2
        # The names, and the figures of each 500 buckets.
        assert round_trips == ["pipeline"] * 3
        assert fields(asked)["names"] == [" ".join(names)]
        assert len(asked.content) < 50_000

    @pytest.mark.parametrize("action", ["pause", "resume"])
    def test_are_paused_in_few_round_trips_and_a_query_each(
        self, admin_client: Client, names: list[str], round_trips: list[str], action: str
    ) -> None:
        if action == "resume":
            admin_client.post(BULK, confirmed("pause", *names))
            LogEntry.objects.all().delete()
        admin_client.post(BULK, confirmed(action, "bucket-000"))  # which loads the script
        (Bucket("bucket-000").resume if action == "pause" else Bucket("bucket-000").pause)()
        LogEntry.objects.all().delete()
        round_trips.clear()
        with CaptureQueriesContext(connection) as queries:
            response = admin_client.post(BULK, confirmed(action, *names))
        assert response.status_code == 302
        # The names of all; and 500 buckets each, with the question which have shards.
        assert round_trips == ["pipeline"] * 5
        inserts = [query for query in queries if query["sql"].startswith("INSERT")]
        # An entry of the log for each bucket.
        assert len([query for query in inserts if "django_admin_log" in query["sql"]]) == 1000
        # Session, user and message; the type of content; the results of at most 500 entries each.
        assert len(queries) - 1000 <= 20
        assert LogEntry.objects.filter(change_message__startswith="Begun").count() == 0
        assert LogEntry.objects.count() == 1000


def occupy(plain: Redis, name: str) -> None:
    """Put a value of another type in the place of the open batch."""
    plain.delete(Bucket(name).key)
    plain.lpush(Bucket(name).key, "foreign")


def before_each(
    monkeypatch: pytest.MonkeyPatch, action: str, **calls: Callable[[], object]
) -> None:
    """Let something happen before the action is done with the bucket of this name."""
    act = ACTIONS[action]

    def wrapped(bucket: Bucket, *args: Any) -> Any:
        if call := calls.get(bucket.name):
            call()
        return act(bucket, *args)

    monkeypatch.setitem(ACTIONS, action, wrapped)


def test_dead_letters_that_come_after_the_question_stay(admin_client: Client) -> None:
    bury(1, 2)
    asked = ask(admin_client, "replay", "orders")
    assert "Dead letters: 2." in content(asked)
    bury(3)
    assert said(answer(admin_client, asked)) == [
        "Replayed the dead letters of 1 bucket. Dead letters: 2."
    ]
    assert [letter.event for letter in Bucket("orders").dead] == [3]


def test_redis_that_goes_away_before_the_question_is_said(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> str:
        raise BufferUnavailable("Redis cannot be reached.")

    bury(1)
    monkeypatch.setattr(operations, "latest_letter_id", fail)
    assert ask(admin_client, "replay", "orders").status_code == 503
