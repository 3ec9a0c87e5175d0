from collections.abc import Callable

import pytest
from django.test import Client

from django_jsonbuffer import Bucket
from tests.admin.pages import BUCKET, PAGE, content, crumbs, fields, group_key, newest_on, said
from tests.prepared import bury

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


class TestConfirmations:
    def test_discard_asks_before(self, admin_client: Client) -> None:
        orders = bury(1, 2, 3)
        first, second, third = [letter.id for letter in orders.dead]
        asked = admin_client.post(f"{PAGE}orders/discard/", {"letter": [first, third]})
        assert asked.status_code == 200
        assert "This removes 2 dead letters for ever." in content(asked)
        assert orders.status().dead == 3
        response = admin_client.post(f"{PAGE}orders/discard/", fields(asked), follow=True)
        assert said(response) == ["Discarded: 2 dead letters."]
        assert [letter.id for letter in orders.dead] == [second]

    def test_discard_of_all_leaves_those_that_nobody_has_seen(self, admin_client: Client) -> None:
        orders = bury(1, 2, 3)
        newest = newest_on(admin_client.get(BUCKET))
        bury(4)
        asked = admin_client.post(f"{PAGE}orders/discard/", {"all": "1", "newest": newest})
        assert "This removes 3 dead letters for ever." in content(asked)
        assert "Dead letters that came after you opened the page stay." in content(asked)
        assert fields(asked) == {"all": ["1"], "newest": [newest], "confirmed": ["1"]}
        response = admin_client.post(f"{PAGE}orders/discard/", fields(asked), follow=True)
        assert said(response) == ["Discarded: 3 dead letters."]
        assert [letter.event for letter in orders.dead] == [4]

    def test_discard_of_all_by_one_who_may_not_see_them(
        self, staff_client: Client, grant: Callable[..., None]
    ) -> None:
        orders = bury(1, 2)
        grant("view_bucket", "delete_events")
        newest = newest_on(staff_client.get(BUCKET))
        assert newest == [letter.id for letter in orders.dead][-1]
        sent = {"all": "1", "newest": newest}
        asked = content(staff_client.post(f"{PAGE}orders/discard/", sent))
        assert "This removes 2 dead letters for ever." in asked

    def test_replay_asks_before(self, admin_client: Client) -> None:
        orders = bury(1, 2, 3)
        ids = [letter.id for letter in orders.dead]
        asked = admin_client.post(f"{PAGE}orders/replay/", {"letter": [ids[2], ids[0]]})
        assert "<h1>Replay dead letters of orders?</h1>" in asked.content.decode()
        sentence = "The events of 2 dead letters go behind all pending events and are processed"
        assert sentence in content(asked)
        assert orders.status().dead == 3
        response = admin_client.post(f"{PAGE}orders/replay/", fields(asked), follow=True)
        assert said(response) == ["Replayed: 2 dead letters."]
        assert orders.take() == [3, 1]

    def test_replay_of_all_leaves_those_that_nobody_has_seen(self, admin_client: Client) -> None:
        orders = bury(1)
        newest = newest_on(admin_client.get(BUCKET))
        bury(2)
        asked = admin_client.post(f"{PAGE}orders/replay/", {"all": "1", "newest": newest})
        assert "The event of 1 dead letter goes behind all pending events" in content(asked)
        response = admin_client.post(f"{PAGE}orders/replay/", fields(asked), follow=True)
        assert said(response) == ["Replayed: 1 dead letter."]
        assert [letter.event for letter in orders.dead] == [2]

    def test_of_a_group_does_not_count_later_ones(self, admin_client: Client) -> None:
        bury(1, 2, reason=ValueError("no good"))
        bury(3, reason=KeyError("else"))
        page = admin_client.get(BUCKET)
        bury(4, reason=ValueError("no good"))
        sent = {"group": group_key(page, "ValueError: no good"), "newest": newest_on(page)}
        asked = content(admin_client.post(f"{PAGE}orders/discard/", sent))
        assert "This removes 2 dead letters for ever." in asked
        assert "All have the error: ValueError: no good" in asked

    @pytest.mark.parametrize("action", ["replay", "discard"])
    def test_lead_back(self, admin_client: Client, action: str) -> None:
        orders = bury(1)
        asked = admin_client.post(f"{PAGE}orders/{action}/", {"letter": orders.dead.newest()})
        assert f'<a class="button" href="{BUCKET}">No, take me back</a>' in content(asked)
        assert crumbs(asked.content.decode()) == (
            ["/admin/", "/admin/django_jsonbuffer/", PAGE, BUCKET],
            f"Home JSON buffer Buckets orders {action.capitalize()} dead letters of orders?",
        )

    @pytest.mark.parametrize(("action", "is_destructive"), [("replay", False), ("discard", True)])
    def test_have_a_button_that_warns_if_events_are_removed(
        self, admin_client: Client, action: str, is_destructive: bool
    ) -> None:
        orders = bury(1)
        sent = {"letter": orders.dead.newest()}
        page = content(admin_client.post(f"{PAGE}orders/{action}/", sent))
        kind = "deletelink-like" if is_destructive else "default"
        assert f'class="button {kind}">{action.capitalize()}</button>' in page

    def test_show_a_group_that_is_markup_as_text(self, admin_client: Client) -> None:
        bury(1, reason="<b>x</b>")
        page = admin_client.get(BUCKET)
        sent = {"group": group_key(page, "<b>x</b>"), "newest": newest_on(page)}
        asked = content(admin_client.post(f"{PAGE}orders/discard/", sent))
        assert "<b>x" not in asked
        assert "All have the error: &lt;b&gt;x&lt;/b&gt;" in asked

    @pytest.mark.parametrize("is_redacted", [False, True])
    def test_of_a_group_quote_no_message_that_the_visitor_may_not_see(
        self,
        admin_client: Client,
        staff_client: Client,
        grant: Callable[..., None],
        configure: Callable[..., None],
        is_redacted: bool,
    ) -> None:
        bury(1, reason=ValueError("card of Ann"))
        page = admin_client.get(BUCKET)
        sent = {"group": group_key(page, "ValueError: card of Ann"), "newest": newest_on(page)}
        grant("view_bucket", "change_bucket", *(["view_events"] if is_redacted else []))
        if is_redacted:
            configure(BUCKETS={"orders": {"redact": lambda event: event}})
        asked = staff_client.post(f"{PAGE}orders/replay/", sent).content.decode()
        assert "All have the error: ValueError<" in asked
        assert "Ann" not in asked

    def test_purge_asks_before(self, admin_client: Client) -> None:
        orders = Bucket("orders")
        orders.extend([1, 2, 3])
        asked = admin_client.post(f"{PAGE}orders/purge/")
        assert "<h1>Purge orders?</h1>" in asked.content.decode()
        assert (
            "This removes 3 pending events for ever, and all events that are appended"
            in content(asked)
        )
        assert orders.status().pending == 3
        response = admin_client.post(f"{PAGE}orders/purge/", {"confirmed": "1"}, follow=True)
        assert said(response) == ["Purged: 3 pending events."]
        assert orders.status().pending == 0


def test_question_about_a_selection_counts_those_that_there_are(admin_client: Client) -> None:
    orders = bury(1, 2)
    gone, left = (letter.id for letter in orders.dead)
    orders.dead.discard(gone)
    sent = {"letter": [gone, left, left, "nonsense"]}
    page = content(admin_client.post(f"{PAGE}orders/discard/", sent))
    assert "This removes 1 dead letter for ever." in page
