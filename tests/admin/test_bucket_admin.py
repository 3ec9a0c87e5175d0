import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from django_jsonbuffer import Bucket
from tests.admin.pages import BUCKET, DOWNLOAD, LETTERS, PAGE, WORKERS

# Events that are appended in the transaction of a test would wait for its commit.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


PATHS = (PAGE, BUCKET, LETTERS, DOWNLOAD, WORKERS)


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
    @pytest.mark.parametrize("path", PATHS)
    def test_anonymous_visitor_is_sent_to_the_login(self, client: Client, path: str) -> None:
        response = client.get(path)
        assert response.status_code == 302
        assert response["Location"] == f"/admin/login/?next={path}"

    def test_staff_without_the_permission_is_refused(self, staff_client: Client) -> None:
        for path in PATHS:
            assert staff_client.get(path).status_code == 403

    def test_the_permission_to_view_is_enough(self, viewer_client: Client) -> None:
        """For all pages that show no event."""
        Bucket("orders").append(1)
        for path in PATHS:
            shows_events = path in (LETTERS, DOWNLOAD)
            assert viewer_client.get(path).status_code == (403 if shows_events else 200)

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
    @pytest.mark.parametrize("path", [PAGE, WORKERS])
    def test_only_reading_is_allowed(self, admin_client: Client, path: str, method: str) -> None:
        response = getattr(admin_client, method)(path)
        assert response.status_code == 405
        assert response["Allow"] == "GET, HEAD"

    def test_head_is_answered(self, admin_client: Client) -> None:
        response = admin_client.head(PAGE)
        assert response.status_code == 200
        assert response.content == b""

    @pytest.mark.parametrize("path", PATHS)
    def test_answer_is_not_cached(self, admin_client: Client, path: str) -> None:
        Bucket("orders").append(1)
        assert "no-store" in admin_client.get(path)["Cache-Control"]
