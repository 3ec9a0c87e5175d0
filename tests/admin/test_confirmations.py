import re
from collections.abc import Callable

import pytest
from django.test import Client

from django_jsonbuffer import Bucket
from tests.admin.pages import BUCKET, PAGE, content, said
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
        fields = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', content(asked))
        sent = {"letter": [value for name, value in fields if name == "letter"], "confirmed": "1"}
        response = admin_client.post(f"{PAGE}orders/discard/", sent, follow=True)
        assert said(response) == ["Discarded: 2 dead letters."]
        assert [letter.id for letter in orders.dead] == [second]

    def test_discard_of_all_leaves_those_that_nobody_has_seen(self, admin_client: Client) -> None:
        orders = bury(1, 2, 3)
        page = content(admin_client.get(BUCKET))
        [newest] = re.findall(r'name="newest" value="([^"]*)"', page)
        bury(4)
        sent = {"all": "1", "newest": newest}
        asked = content(admin_client.post(f"{PAGE}orders/discard/", sent))
        assert "This removes 3 dead letters for ever." in asked
        assert '<input type="hidden" name="all" value="1">' in asked
        assert f'<input type="hidden" name="newest" value="{newest}">' in asked
        sent["confirmed"] = "1"
        response = admin_client.post(f"{PAGE}orders/discard/", sent, follow=True)
        assert said(response) == ["Discarded: 3 dead letters."]
        assert [letter.event for letter in orders.dead] == [4]

    def test_discard_of_all_by_one_who_may_not_see_them(
        self, staff_client: Client, grant: Callable[..., None]
    ) -> None:
        orders = bury(1, 2)
        grant("view_bucket", "delete_events")
        page = content(staff_client.get(BUCKET))
        [newest] = re.findall(r'name="newest" value="([^"]*)"', page)
        assert newest == [letter.id for letter in orders.dead][-1]
        sent = {"all": "1", "newest": newest}
        asked = content(staff_client.post(f"{PAGE}orders/discard/", sent))
        assert "This removes 2 dead letters for ever." in asked

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
