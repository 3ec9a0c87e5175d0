from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from django_jsonbuffer import Bucket
from django_jsonbuffer.appending.spill import Spill
from tests.admin.pages import PAGE, content
from tests.spilling import put

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


class TestSite:
    @pytest.mark.parametrize("path", ["/admin/", "/admin/django_jsonbuffer/", "/admin/auth/user/"])
    def test_links_to_the_list(self, viewer_client: Client, staff: User, path: str) -> None:
        staff.user_permissions.add(Permission.objects.get(codename="view_user"))
        page = viewer_client.get(path).content.decode()
        assert f'<a href="{PAGE}"' in page
        assert ">Buckets</a>" in page

    def test_links_to_nothing_without_the_permission(self, staff_client: Client) -> None:
        assert "bucket" not in staff_client.get("/admin/").content.decode().lower()

    def test_offers_to_add_and_to_delete_nothing(self, admin_client: Client) -> None:
        response = admin_client.get("/admin/django_jsonbuffer/")
        [model] = response.context["app_list"][0]["models"]
        granted = {name for name, is_granted in model["perms"].items() if is_granted}
        assert granted == {"view", "change"}

    @pytest.mark.parametrize("page", ["add/", "orders/", "orders/delete/", "orders/history/"])
    def test_has_no_page_that_would_ask_for_a_table(self, admin_client: Client, page: str) -> None:
        assert admin_client.get(PAGE + page).status_code == 404

    @pytest.mark.usefixtures("unreachable")
    @pytest.mark.parametrize("path", ["/admin/", "/admin/django_jsonbuffer/", "/admin/auth/user/"])
    def test_needs_no_redis_elsewhere(self, admin_client: Client, path: str) -> None:
        assert admin_client.get(path).status_code == 200

    def test_links_within_itself_when_there_are_several(self, admin_client: Client) -> None:
        response = admin_client.get("/second/django_jsonbuffer/bucket/")
        assert response.wsgi_request.current_app == "second"
        page = response.content.decode()
        assert 'href="/second/django_jsonbuffer/"' in page
        assert 'href="/second/django_jsonbuffer/bucket/"' in page
        assert "/admin/django_jsonbuffer/" not in page


class TestAccess:
    def test_anonymous_visitor_is_sent_to_the_login(self, client: Client) -> None:
        response = client.get(PAGE)
        assert response.status_code == 302
        assert response["Location"] == f"/admin/login/?next={PAGE}"

    def test_staff_without_the_permission_is_refused(self, staff_client: Client) -> None:
        assert staff_client.get(PAGE).status_code == 403

    def test_the_permission_to_view_is_enough(self, viewer_client: Client) -> None:
        assert viewer_client.get(PAGE).status_code == 200

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
    def test_only_reading_is_allowed(self, admin_client: Client, method: str) -> None:
        response = getattr(admin_client, method)(PAGE)
        assert response.status_code == 405
        assert response["Allow"] == "GET, HEAD"

    def test_head_is_answered(self, admin_client: Client) -> None:
        response = admin_client.head(PAGE)
        assert response.status_code == 200
        assert response.content == b""

    def test_answer_is_not_cached(self, admin_client: Client) -> None:
        assert "no-store" in admin_client.get(PAGE)["Cache-Control"]


class TestUnavailable:
    @pytest.mark.usefixtures("unreachable")
    def test_redis_that_is_away_is_said_with_status_503(self, admin_client: Client) -> None:
        response = admin_client.get(PAGE)
        assert response.status_code == 503
        page = response.content.decode()
        assert "<h1>The buckets cannot be read</h1>" in page
        assert "Redis cannot be reached" in page
        assert "Check that Redis is running" in page
        assert f'<a href="{PAGE}">Try again</a>' in page

    def test_redis_that_is_away_says_what_is_spilled(
        self, admin_client: Client, spilling: Spill, use_cache: Callable[..., str]
    ) -> None:
        Bucket("orders").processor(print)
        put(spilling, b"1", bucket=Bucket("orders").key)
        use_cache(f"unix://{spilling.path.parent}/nobody.sock?db=0")
        response = admin_client.get(PAGE)
        assert response.status_code == 503
        page = response.content.decode().replace("\xa0", " ")
        assert "orders: 1 append (5 bytes) is spilled on this machine and waits for Redis." in page

    def test_unusable_settings_are_said_with_status_503(
        self, admin_client: Client, configure: Callable[..., None]
    ) -> None:
        configure(CACHE="missing")
        response = admin_client.get(PAGE)
        assert response.status_code == 503
        assert "Correct the settings" in content(response)

    def test_message_is_escaped(self, admin_client: Client, configure: Callable[..., None]) -> None:
        configure(CACHE="<b>bold</b>")
        text = content(admin_client.get(PAGE))
        assert "&lt;b&gt;bold&lt;/b&gt;" in text
        assert "<b>" not in text

    @pytest.mark.usefixtures("unreachable")
    def test_staff_without_the_permission_sees_no_error(self, staff_client: Client) -> None:
        assert staff_client.get(PAGE).status_code == 403
