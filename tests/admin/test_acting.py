from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from django_jsonbuffer import Bucket
from django_jsonbuffer.admin.actions import ACTIONS, PERMISSIONS, Outcome
from tests.admin.pages import (
    BUCKET,
    CODENAMES,
    DOWNLOAD,
    LETTERS,
    PAGE,
    WORKERS,
    buttons,
    content,
    part,
)
from tests.prepared import bury, release_failed

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


class TestActionView:
    @pytest.mark.parametrize("action", PERMISSIONS)
    def test_are_posts_with_a_token(
        self, admin_client: Client, admin_user: User, action: str
    ) -> None:
        bury(1)
        path = f"{PAGE}orders/{action}/"
        before = Bucket("orders").status()
        assert admin_client.get(path)["Location"] == BUCKET  # as after a login
        assert admin_client.put(path).status_code == 405
        assert Bucket("orders").status().paused is None
        assert Bucket("orders").status().dead == before.dead
        assert LogEntry.objects.count() == 0
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(admin_user)
        assert strict.post(path, {"confirmed": "1", "all": "1"}).status_code == 403

    @pytest.mark.parametrize("action", PERMISSIONS)
    @pytest.mark.usefixtures("unreachable")
    def test_of_a_redis_that_is_away_are_said_with_status_503(
        self, admin_client: Client, action: str
    ) -> None:
        assert admin_client.post(f"{PAGE}orders/{action}/").status_code == 503
        assert LogEntry.objects.count() == 0

    @pytest.mark.parametrize("action", PERMISSIONS)
    def test_of_what_is_no_bucket_are_not_found(self, admin_client: Client, action: str) -> None:
        assert admin_client.post(f"{PAGE}orders/{action}/").status_code == 404

    def test_that_end_unexpectedly_stay_in_the_log_as_begun(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody knows how far they came."""
        Bucket("orders").append(1)

        def fail(*args: object) -> Outcome:
            raise ZeroDivisionError

        monkeypatch.setitem(ACTIONS, "pause", fail)
        with pytest.raises(ZeroDivisionError):
            admin_client.post(f"{PAGE}orders/pause/")
        [entry] = LogEntry.objects.all()
        assert entry.get_change_message() == "Begun: pause."

    @pytest.mark.parametrize("action", ["replay", "discard"])
    def test_of_what_is_no_id_is_a_bad_request(self, admin_client: Client, action: str) -> None:
        bury(1)
        for sent in ({"all": "1", "newest": "x"}, {"group": "no good", "newest": ""}):
            response = admin_client.post(f"{PAGE}orders/{action}/", sent)
            assert response.status_code == 400


class TestPermissions:
    @pytest.mark.parametrize("missing", CODENAMES)
    @pytest.mark.parametrize(("action", "needed"), PERMISSIONS.items())
    def test_of_its_own_is_needed_for_each_action(
        self,
        staff_client: Client,
        grant: Callable[..., None],
        action: str,
        needed: str,
        missing: str,
    ) -> None:
        orders = bury(1)
        orders.append(2)
        before = orders.status()
        grant(*(codename for codename in CODENAMES if codename != missing))
        sent = {"confirmed": "1", "letter": [letter.id for letter in orders.dead]}
        response = staff_client.post(f"{PAGE}orders/{action}/", sent)
        # In the admin, the permission to change includes the permission to view.
        is_refused = missing == needed
        assert response.status_code == (403 if is_refused else 302)
        after = orders.status()
        if is_refused:
            assert (after.pending, after.dead, after.paused) == (before.pending, 1, None)
            assert LogEntry.objects.count() == 0

    @pytest.mark.parametrize(("action", "needed"), PERMISSIONS.items())
    def test_is_needed_for_the_question_too(
        self, staff_client: Client, grant: Callable[..., None], action: str, needed: str
    ) -> None:
        orders = bury(1)
        grant(*(codename for codename in CODENAMES if codename != needed))
        sent = {"all": "1", "newest": orders.dead.newest()}
        assert staff_client.post(f"{PAGE}orders/{action}/", sent).status_code == 403
        assert staff_client.get(f"{PAGE}orders/{action}/").status_code == 403

    def test_to_see_the_bucket_is_needed_for_any(
        self, staff_client: Client, grant: Callable[..., None]
    ) -> None:
        bury(1)
        grant("view_events", "drain_bucket", "delete_events")
        for path in (PAGE, BUCKET, LETTERS, DOWNLOAD, WORKERS):
            assert staff_client.get(path).status_code == 403
        for action in ("drain", "purge", "discard"):
            assert staff_client.post(f"{PAGE}orders/{action}/").status_code == 403

    def test_offer_what_they_allow(self, staff_client: Client, grant: Callable[..., None]) -> None:
        orders = bury("secret")
        orders.append("secret")
        orders.append("secret")
        release_failed("orders", error="KeyError", backoff=timedelta(seconds=50))
        orders.append("secret")
        offers: dict[str, tuple[list[str], list[str], list[str]]] = {
            "drain_bucket": (["Drain now"], [], []),
            "change_bucket": (
                ["Pause"],
                ["Replay all 1…", "Replay… no good"],
                ["Replay selected…"],
            ),
            "delete_events": (
                ["Purge…"],
                ["Discard all 1…", "Discard… no good"],
                ["Discard selected…"],
            ),
            "view_events": ([], [], []),
        }
        for codename, (actions, of_groups, of_letters) in offers.items():
            grant("view_bucket", "view_events", codename)
            page = staff_client.get(BUCKET)
            assert buttons(part(page, "bucket-actions").partition("<nav")[0]) == actions
            assert buttons(part(page, "bucket-dead")) == of_groups
            tries = [text for text in buttons(part(page, "bucket-failing")) if "Try now" in text]
            assert len(tries) == (codename == "change_bucket")
            assert "secret" in content(page)
            letters = staff_client.get(LETTERS)
            assert buttons(content(letters)) == of_letters
            has_boxes = 'type="checkbox"' in content(letters)
            assert has_boxes == (codename in ("change_bucket", "delete_events"))
            assert "secret" in content(letters)

    def test_to_see_sizes_shows_no_event(
        self, staff_client: Client, grant: Callable[..., None]
    ) -> None:
        bury("secret", reason="secret")
        Bucket("orders").append("secret")
        grant("view_bucket", "change_bucket", "delete_events", "drain_bucket")
        page = content(staff_client.get(BUCKET))
        assert "secret" not in page
        assert page.count("You do not have the permission to view events.") == 2
        assert "Replay all 1…" in buttons(page)
        assert LETTERS not in page
        for path in (LETTERS, DOWNLOAD):
            response = staff_client.get(path)
            assert response.status_code == 403
            assert b"secret" not in response.content
